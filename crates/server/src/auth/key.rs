//! A key that tokens are checked with: parsed once, used with its one algorithm only.
//!
//! The algorithm belongs to the key, never to the token: what a token's header says
//! chooses among keys, and no key can be made to check another algorithm. So an HS
//! token is never checked with a public key's bytes, and `none` is no algorithm at all.

use std::{fmt, str::FromStr, sync::Arc};

use aws_lc_rs::{
    hmac,
    rsa::PublicKey as RsaPublicKey,
    signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents},
};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};

/// Smallest RSA modulus; those below are refused (RFC 7518, section 3.3).
const RSA_BYTES_MIN: usize = 2048 / 8;

/// A token's algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are RFC 7518's and RFC 8037's")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: &'static [Self] = &[
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// Returns its name, as in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Returns how it checks.
    fn method(self) -> Method {
        use signature as s;
        match self {
            Self::HS256 => Method::Hmac(hmac::HMAC_SHA256, 32),
            Self::HS384 => Method::Hmac(hmac::HMAC_SHA384, 48),
            Self::HS512 => Method::Hmac(hmac::HMAC_SHA512, 64),
            Self::RS256 => Method::Rsa(&s::RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => Method::Rsa(&s::RSA_PKCS1_2048_8192_SHA384),
            Self::RS512 => Method::Rsa(&s::RSA_PKCS1_2048_8192_SHA512),
            Self::PS256 => Method::Rsa(&s::RSA_PSS_2048_8192_SHA256),
            Self::PS384 => Method::Rsa(&s::RSA_PSS_2048_8192_SHA384),
            Self::PS512 => Method::Rsa(&s::RSA_PSS_2048_8192_SHA512),
            Self::ES256 => Method::Ecdsa(&s::ECDSA_P256_SHA256_FIXED, EllipticCurve::P256),
            Self::ES384 => Method::Ecdsa(&s::ECDSA_P384_SHA384_FIXED, EllipticCurve::P384),
            Self::EdDSA => Method::Ed25519,
        }
    }

    /// Whether whoever can check can also sign.
    pub fn is_symmetric(self) -> bool {
        matches!(self.method(), Method::Hmac(..))
    }
}

impl FromStr for Algorithm {
    type Err = ();
    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .find(|algorithm| algorithm.name() == name)
            .copied()
            .ok_or(())
    }
}

enum Method {
    /// With the shortest secret allowed: as long as its hash (RFC 7518, section 3.2).
    Hmac(hmac::Algorithm, usize),
    Rsa(&'static RsaParameters),
    Ecdsa(&'static EcdsaVerificationAlgorithm, EllipticCurve),
    Ed25519,
}

/// Why something is no key for its algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A secret that could be guessed.
    #[error("the secret has {len} bytes; {algorithm} needs at least {least}", algorithm = .algorithm.name())]
    TooShort {
        /// For which algorithm.
        algorithm: Algorithm,
        /// Its length, bytes.
        len: usize,
        /// What it must be, bytes.
        least: usize,
    },
    /// A secret where a public key is needed, or the other way round.
    #[error("{} is checked with {}", .0.name(), if .0.is_symmetric() { "a secret" } else { "a public key" })]
    WrongKind(Algorithm),
    /// Not PEM.
    #[error("this is not a PEM file with a `PUBLIC KEY`")]
    NotPem,
    /// A private key: it has no business on a machine that only checks.
    #[error("this is a private key; only its public key belongs here (`openssl pkey -pubout`)")]
    Private,
    /// PEM, but no key of this algorithm.
    #[error("this is no public key for {}", .0.name())]
    Unfit(Algorithm),
    /// An RSA key that could be broken.
    #[error("the RSA key has {0} bits; at least 2048 are needed")]
    SmallRsa(usize),
}

/// A key with its one algorithm. Cheap to clone; may be used by many threads at once.
#[derive(Clone)]
pub struct Key {
    kid: Option<Arc<str>>,
    algorithm: Algorithm,
    material: Arc<Material>,
}

enum Material {
    Secret {
        key: Box<hmac::Key>,
        /// For `tidegate token`, which signs with it.
        secret: Box<[u8]>,
    },
    Public(ParsedPublicKey),
}

impl Key {
    /// Makes a key for HS256, HS384 or HS512.
    pub fn from_secret(kid: Option<&str>, algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let Method::Hmac(hash, least) = algorithm.method() else {
            return Err(KeyError::WrongKind(algorithm));
        };
        if secret.len() < least {
            return Err(KeyError::TooShort {
                algorithm,
                len: secret.len(),
                least,
            });
        }
        let key = Box::new(hmac::Key::new(hash, secret));
        Ok(Self::new(
            kid,
            algorithm,
            Material::Secret {
                key,
                secret: secret.into(),
            },
        ))
    }

    /// Makes a key from PEM (SubjectPublicKeyInfo) for any other algorithm.
    pub fn from_pem(kid: Option<&str>, algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| {
            let is_private = pem.windows(11).any(|window| window == b"PRIVATE KEY");
            if is_private {
                KeyError::Private
            } else {
                KeyError::NotPem
            }
        })?;
        let unfit = |_| KeyError::Unfit(algorithm);
        let key = match algorithm.method() {
            Method::Hmac(..) => return Err(KeyError::WrongKind(algorithm)),
            Method::Rsa(parameters) => {
                let key = RsaPublicKey::from_der(&info).map_err(unfit)?;
                check_modulus(key.modulus_len())?;
                ParsedPublicKey::new(parameters, &info)
            }
            Method::Ecdsa(parameters, _) => ParsedPublicKey::new(parameters, &info),
            Method::Ed25519 => ParsedPublicKey::new(&signature::ED25519, &info),
        };
        Ok(Self::new(kid, algorithm, Material::Public(key.map_err(unfit)?)))
    }

    /// Makes the keys that `jwk` is for, one for each algorithm of `allowed` that it may be used
    /// with: none if it is for encryption, secret, or of a kind we do not check.
    pub fn from_jwk(jwk: &Jwk, allowed: &[Algorithm]) -> Vec<Self> {
        let common = &jwk.common;
        let is_for_signatures = common
            .public_key_use
            .as_ref()
            .is_none_or(|u| *u == PublicKeyUse::Signature)
            && common
                .key_operations
                .as_ref()
                .is_none_or(|ops| ops.contains(&KeyOperations::Verify));
        let named = common.key_algorithm.map(|name| name.to_string());
        let fits = |algorithm: &&Algorithm| named.as_deref().is_none_or(|name| name == algorithm.name());
        if !is_for_signatures {
            return Vec::new();
        }
        let of = |algorithm: &Algorithm| {
            let key = public_key_of(&jwk.algorithm, *algorithm)?;
            Some(Self::new(
                common.key_id.as_deref(),
                *algorithm,
                Material::Public(key),
            ))
        };
        allowed.iter().filter(fits).filter_map(of).collect()
    }

    fn new(kid: Option<&str>, algorithm: Algorithm, material: Material) -> Self {
        Self {
            kid: kid.map(Arc::from),
            algorithm,
            material: Arc::new(material),
        }
    }

    /// Returns its name; none is tried for any token of its algorithm.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the secret of an HS key, to sign with.
    pub fn secret(&self) -> Option<&[u8]> {
        match &*self.material {
            Material::Secret { secret, .. } => Some(secret),
            Material::Public(_) => None,
        }
    }

    /// Whether `signature` is this key's under `message`.
    pub fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &*self.material {
            Material::Secret { key, .. } => hmac::verify(key, message, signature).is_ok(),
            Material::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn check_modulus(len: usize) -> Result<(), KeyError> {
    match len >= RSA_BYTES_MIN {
        true => Ok(()),
        false => Err(KeyError::SmallRsa(len * 8)),
    }
}

fn public_key_of(parameters: &AlgorithmParameters, algorithm: Algorithm) -> Option<ParsedPublicKey> {
    match (parameters, algorithm.method()) {
        (AlgorithmParameters::RSA(rsa), Method::Rsa(method)) => {
            let (n, e) = (decode(&rsa.n)?, decode(&rsa.e)?);
            let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
            check_modulus(n.len()).ok()?;
            RsaPublicKeyComponents { n, e: e.as_slice() }
                .to_parsed_public_key(method)
                .ok()
        }
        (AlgorithmParameters::EllipticCurve(ec), Method::Ecdsa(method, curve)) if ec.curve == curve => {
            // X9.62's uncompressed point.
            let point = [&[4][..], &decode(&ec.x)?, &decode(&ec.y)?].concat();
            ParsedPublicKey::new(method, point).ok()
        }
        (AlgorithmParameters::OctetKeyPair(okp), Method::Ed25519) if okp.curve == EllipticCurve::Ed25519 => {
            ParsedPublicKey::new(&signature::ED25519, decode(&okp.x)?).ok()
        }
        // Others are for other algorithms; a secret in a public document is none.
        _ => None,
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_none_is_no_algorithm() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(*algorithm));
        }
        for name in ["none", "None", "NONE", "", "hs256", "ES512", "HS256 "] {
            assert_eq!(name.parse::<Algorithm>(), Err(()), "{name:?}");
        }
    }

    #[test]
    fn short_secrets_are_refused() {
        for (algorithm, least) in [
            (Algorithm::HS256, 32),
            (Algorithm::HS384, 48),
            (Algorithm::HS512, 64),
        ] {
            assert!(Key::from_secret(None, algorithm, &vec![7; least]).is_ok());
            let error = Key::from_secret(None, algorithm, &vec![7; least - 1]).unwrap_err();
            assert_eq!(
                error,
                KeyError::TooShort {
                    algorithm,
                    len: least - 1,
                    least
                }
            );
        }
    }

    #[test]
    fn a_secret_is_no_public_key_and_a_public_key_no_secret() {
        let secret = [7; 64];
        for algorithm in Algorithm::ALL {
            let made = Key::from_secret(None, *algorithm, &secret);
            assert_eq!(made.is_ok(), algorithm.is_symmetric(), "{algorithm:?}");
            assert!(Key::from_pem(None, *algorithm, &secret).is_err(), "{algorithm:?}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let key =
            Key::from_secret(Some("a"), Algorithm::HS256, b"correct horse battery staple 1234").unwrap();
        assert!(!format!("{key:?}").contains("correct"));
    }
}
