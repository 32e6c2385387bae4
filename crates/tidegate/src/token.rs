//! `tidegate token`: makes a token, for trying things out and for scripts.
//!
//! A real application signs tokens in its own backend; docs/auth.md shows how.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Map, Value, json};
use tidegate_server::{
    auth::{Algorithm, AuthConfig, Key, RIGHTS, Verdict, Verifier},
    config::{Config, parse_duration, resolve},
};

use crate::configure::{complain, print, report};

#[derive(Args)]
#[command(after_help = "Examples:
  tidegate token --secret env:TIDEGATE_SECRET --sub ann --grant 'chat:*=join,publish' --grant 'user:ann=all'
  tidegate token --config tidegate.toml --sub ann --grant '*=join' --expires 5m --info '{\"color\":\"teal\"}'
  tidegate token --private-key file:issuer.key --algorithm ES256 --kid 2026-a --sub ann")]
pub struct Arguments {
    /// Sign with this secret: `env:NAME`, `file:PATH`, or itself (others on this machine may then see it).
    #[arg(long, value_name = "SECRET", group = "signer")]
    secret: Option<String>,
    /// Sign with a secret of this configuration: the first, or the one named by `--kid`.
    #[arg(long, value_name = "FILE", group = "signer")]
    config: Option<PathBuf>,
    /// Sign with this private key, PEM: `file:PATH` or `env:NAME`.
    #[arg(long, value_name = "KEY", group = "signer", requires = "algorithm")]
    private_key: Option<String>,
    /// The algorithm, with `--secret` (HS256 if absent) or `--private-key`.
    #[arg(long, conflicts_with = "config", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// The key's name.
    #[arg(long)]
    kid: Option<String>,
    /// Who: the user's name.
    #[arg(long, value_name = "USER")]
    sub: String,
    /// What it lets do, `PATTERN=RIGHT,RIGHT`: join, publish, presence, history, or all. May be repeated.
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<Grant>,
    /// When it ends, from now: `10m`, `1h`, `7d`, or `never`.
    #[arg(long, default_value = "1h", value_parser = lifetime)]
    expires: Lifetime,
    /// JSON that others see beside the user's name.
    #[arg(long, value_name = "JSON", value_parser = |text: &str| serde_json::from_str::<Value>(text))]
    info: Option<Value>,
    /// `iss`; with `--config` the configured one if absent.
    #[arg(long)]
    issuer: Option<String>,
    /// `aud`; with `--config` the configured one if absent.
    #[arg(long)]
    audience: Option<String>,
}

/// `chat:*=join,publish`.
#[derive(Debug, Clone)]
struct Grant {
    pattern: String,
    rights: Vec<String>,
}

impl FromStr for Grant {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = RIGHTS.iter().map(|(name, _)| *name).collect();
        // Room names may have `=`; rights have none.
        let (pattern, rights) = text
            .rsplit_once('=')
            .filter(|(pattern, _)| !pattern.is_empty())
            .ok_or("a grant is written 'PATTERN=RIGHT,RIGHT', such as 'chat:*=join,publish'")?;
        let rights: Vec<&str> = match rights {
            "all" => names.clone(),
            rights => rights.split(',').collect(),
        };
        if let Some(unknown) = rights.iter().find(|right| !names.contains(right)) {
            return Err(format!("{unknown:?} is no right; {} or all", names.join(", ")));
        }
        let rights = rights.into_iter().map(str::to_owned).collect();
        Ok(Self {
            pattern: pattern.to_owned(),
            rights,
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Lifetime {
    For(Duration),
    Never,
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    match (text, parse_duration(text)) {
        ("never", _) => Ok(Lifetime::Never),
        (_, Some(duration)) => Ok(Lifetime::For(duration)),
        _ => Err("a whole number with its unit: `30s`, `10m`, `1h`, `7d`; or `never`".to_owned()),
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let names: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
    name.parse().map_err(|()| format!("one of {}", names.join(", ")))
}

pub fn run(arguments: &Arguments) -> ExitCode {
    match make(arguments) {
        Ok(token) => print(&format!("{token}\n")),
        Err(Some(error)) => {
            complain(&format!("tidegate token: {error}"));
            ExitCode::FAILURE
        }
        // It has been told.
        Err(None) => ExitCode::FAILURE,
    }
}

/// What signs, and what the server that takes the token expects.
struct Signer {
    algorithm: Algorithm,
    kid: Option<String>,
    key: EncodingKey,
    /// To check the token with, where whoever signs can.
    check: Option<AuthConfig>,
}

/// Makes the token; the error is a sentence, or none when it has been told.
fn make(arguments: &Arguments) -> Result<String, Option<String>> {
    let signer = signer(arguments)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|error| Some(error.to_string()))?;
    let now = now.as_secs();
    let claims = claims(arguments, &signer, now);
    let name = signer.algorithm.name();
    let algorithm = name.parse().map_err(|error| Some(format!("{name}: {error}")))?;
    let header = Header {
        kid: signer.kid,
        ..Header::new(algorithm)
    };
    let token = encode(&header, &claims, &signer.key).map_err(|error| {
        Some(format!(
            "cannot sign with {name}: {error}; is it a key for {name}?"
        ))
    })?;
    if let Some(config) = signer.check {
        // So that a token this command made is never refused for what it says.
        let verifier = Verifier::new(&config).map_err(|error| Some(error.to_string()))?;
        if let Verdict::Rejected(reject) = verifier.verify(&token, now) {
            return Err(Some(format!("the server would refuse it: {}", reject.detail)));
        }
    }
    Ok(token)
}

fn signer(arguments: &Arguments) -> Result<Signer, Option<String>> {
    let here = Path::new("");
    if let Some(text) = &arguments.secret {
        let algorithm = arguments.algorithm.unwrap_or(Algorithm::HS256);
        let secret = resolve(text, here)?;
        let key = Key::from_secret(None, algorithm, &secret).map_err(|error| Some(error.to_string()))?;
        let check = AuthConfig {
            keys: vec![key],
            ..Default::default()
        };
        let key = EncodingKey::from_secret(&secret);
        return Ok(Signer {
            algorithm,
            kid: arguments.kid.clone(),
            key,
            check: Some(check),
        });
    }
    if let Some(file) = &arguments.config {
        let config = Config::load(file).map_err(|errors| {
            report(&errors);
            None
        })?;
        return configured(file, config.auth, arguments.kid.as_deref()).map_err(Some);
    }
    if let (Some(text), Some(algorithm)) = (&arguments.private_key, arguments.algorithm) {
        let pem = resolve(text, here)?;
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(&pem),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem),
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => EncodingKey::from_rsa_pem(&pem),
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                return Err(Some(format!("{} is signed with `--secret`", algorithm.name())));
            }
        };
        let key = key.map_err(|_| {
            Some(format!(
                "this is no private key for {} (PKCS#8: `openssl pkcs8 -topk8 -nocrypt`)",
                algorithm.name()
            ))
        })?;
        return Ok(Signer {
            algorithm,
            kid: arguments.kid.clone(),
            key,
            check: None,
        });
    }
    Err(Some(
        "say what to sign with: `--secret`, `--config` or `--private-key`; see `tidegate token --help`"
            .to_owned(),
    ))
}

fn configured(file: &Path, auth: AuthConfig, kid: Option<&str>) -> Result<Signer, String> {
    let is_meant = |key: &&Key| key.secret().is_some() && (kid.is_none() || key.kid() == kid);
    let found = auth
        .keys
        .iter()
        .find(is_meant)
        .and_then(|key| Some((key.clone(), key.secret()?.to_vec())));
    let Some((key, secret)) = found else {
        let file = file.display();
        return Err(match kid {
            Some(kid) => format!("`{file}` has no secret named {kid:?}"),
            None if auth.is_open() => {
                format!(
                    "`{file}` has no keys: in development mode no token is needed. Set `auth.secret` to have one"
                )
            }
            None => format!("`{file}` has only public keys, which cannot sign; use `--private-key`"),
        });
    };
    let kid = key.kid().map(str::to_owned);
    Ok(Signer {
        algorithm: key.algorithm(),
        kid,
        key: EncodingKey::from_secret(&secret),
        check: Some(auth),
    })
}

fn claims(arguments: &Arguments, signer: &Signer, now: u64) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("sub".into(), json!(arguments.sub));
    claims.insert("iat".into(), json!(now));
    if let Lifetime::For(lifetime) = arguments.expires {
        claims.insert("exp".into(), json!(now + lifetime.as_secs()));
    }
    let configured = |texts: fn(&AuthConfig) -> &Vec<String>| {
        signer.check.as_ref().and_then(|c| texts(c).first().cloned())
    };
    let issuer = arguments
        .issuer
        .clone()
        .or_else(|| configured(|config| &config.issuer));
    let audience = arguments
        .audience
        .clone()
        .or_else(|| configured(|config| &config.audience));
    for (name, value) in [("iss", issuer), ("aud", audience)] {
        if let Some(value) = value {
            claims.insert(name.into(), json!(value));
        }
    }
    if let Some(info) = &arguments.info {
        claims.insert("info".into(), info.clone());
    }
    let grant = |grant: &Grant| json!({"rooms": [grant.pattern], "can": grant.rights});
    claims.insert("grants".into(), arguments.grants.iter().map(grant).collect());
    claims
}
