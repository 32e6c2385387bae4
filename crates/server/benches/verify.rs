//! What one token costs a shard's turn: checked, and its grants shared.
//!
//! `cargo bench -p tidegate-server --bench verify`. Medians of rounds, so that a busy machine
//! shows in the spread and not in the figure.

use std::{hint::black_box, time::Instant};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use tidegate_core::WallClock;
use tidegate_server::auth::{Algorithm, AuthConfig, GrantInterner, Key, Verdict, Verifier};

const NOW: u64 = 1_800_000_000;
const ROUNDS: usize = 21;

fn main() {
    println!(
        "{:<8} {:>6} {:>10} {:>10} {:>10}",
        "", "bytes", "median", "fastest", "slowest"
    );
    for (algorithm, signs, key) in issuers() {
        let verifier = Verifier::new(&AuthConfig {
            keys: vec![key],
            ..Default::default()
        })
        .expect("no address");
        let claims = json!({
            "sub": "user-123456", "exp": NOW + 3_600, "info": {"color": "teal", "name": "Ann"},
            "grants": [{"rooms": ["chat:*", "px:*"], "can": ["join", "publish", "presence", "history"]}],
        });
        let header = Header::new(algorithm.name().parse().expect("the same names"));
        let token = encode(&header, &claims, &signs).expect("its key");
        let mut interner = GrantInterner::default();
        let mut one = || match verifier.verify(black_box(&token), NOW) {
            Verdict::Ok(claims) => drop(black_box(interner.claims(claims, WallClock::default()))),
            other => panic!("{other:?}"),
        };
        let mut times: Vec<u128> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                (0..2_000).for_each(|_| one());
                began.elapsed().as_nanos() / 2_000
            })
            .collect();
        times.sort_unstable();
        let (median, fastest, slowest) = (times[ROUNDS / 2], times[0], times[ROUNDS - 1]);
        println!(
            "{:<8} {:>6} {median:>7} ns {fastest:>7} ns {slowest:>7} ns",
            algorithm.name(),
            token.len()
        );
    }
}

/// One key of each kind.
fn issuers() -> Vec<(Algorithm, EncodingKey, Key)> {
    let secret = [7; 32];
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("entropy");
    let rsa_private: Pkcs8V1Der<'_> = rsa.as_der().expect("a key");
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("entropy");
    let ec_private = ec.to_pkcs8v1().expect("a key");
    let ed = Ed25519KeyPair::generate().expect("entropy");
    let ed_private = ed.to_pkcs8v1().expect("a key");
    let rsa_signs = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", rsa_private.as_ref()).as_bytes());
    let of = |algorithm, public: &[u8]| {
        Key::from_pem(None, algorithm, pem("PUBLIC KEY", public).as_bytes()).expect("its key")
    };
    vec![
        (
            Algorithm::HS256,
            EncodingKey::from_secret(&secret),
            Key::from_secret(None, Algorithm::HS256, &secret).expect("32 bytes"),
        ),
        (
            Algorithm::RS256,
            rsa_signs.expect("a key"),
            of(Algorithm::RS256, &der(rsa.public_key())),
        ),
        (
            Algorithm::ES256,
            EncodingKey::from_ec_der(ec_private.as_ref()),
            of(Algorithm::ES256, &der(ec.public_key())),
        ),
        (
            Algorithm::EdDSA,
            EncodingKey::from_ed_der(ed_private.as_ref()),
            of(Algorithm::EdDSA, &der(ed.public_key())),
        ),
    ]
}

fn der<'a>(key: &impl AsDer<PublicKeyX509Der<'a>>) -> Vec<u8> {
    key.as_der().expect("a key").as_ref().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}
