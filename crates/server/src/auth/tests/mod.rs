//! Tokens of every algorithm, made with fresh keys by another implementation than the
//! one that checks them; and a real JWKS server that is sometimes hostile.

mod jwks;
mod tokens;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair, RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{EncodingKey, jwk::Jwk};
use serde_json::{Value, json};

use super::{Algorithm, Key};

/// 64 bytes, enough for every HS algorithm.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// An issuer's key: it signs, and tells its public half.
struct Issuer {
    algorithm: Algorithm,
    signs: EncodingKey,
    public_pem: String,
}

impl Issuer {
    /// Makes a fresh key; HS algorithms share [`SECRET`].
    fn new(algorithm: Algorithm) -> Self {
        let (private, public) = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                let signs = EncodingKey::from_secret(SECRET);
                return Self {
                    algorithm,
                    signs,
                    public_pem: String::new(),
                };
            }
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                (
                    pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
                    der(pair.public_key()),
                )
            }
            Algorithm::ES384 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
                (
                    pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
                    der(pair.public_key()),
                )
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate().unwrap();
                (
                    pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
                    der(pair.public_key()),
                )
            }
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let private: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
                (private.as_ref().to_vec(), der(pair.public_key()))
            }
        };
        let private = pem("PRIVATE KEY", &private);
        let signs = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(private.as_bytes()),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(private.as_bytes()),
            _ => EncodingKey::from_rsa_pem(private.as_bytes()),
        };
        Self {
            algorithm,
            signs: signs.unwrap(),
            public_pem: pem("PUBLIC KEY", &public),
        }
    }

    /// The key to check with.
    fn key(&self, kid: Option<&str>) -> Key {
        match self.algorithm.is_symmetric() {
            true => Key::from_secret(kid, self.algorithm, SECRET).unwrap(),
            false => Key::from_pem(kid, self.algorithm, self.public_pem.as_bytes()).unwrap(),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let algorithm = self.algorithm.name().parse().unwrap();
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.signs, algorithm).unwrap()).unwrap();
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk
    }

    fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"alg": self.algorithm.name(), "typ": "JWT"});
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        self.sign(&header, claims)
    }

    /// Signs whatever the header says.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let algorithm = self.algorithm.name().parse().unwrap();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.signs, algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

fn der<'a>(key: &impl AsDer<PublicKeyX509Der<'a>>) -> Vec<u8> {
    key.as_der().unwrap().as_ref().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// One part of a token.
fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}
