//! What is let in, and what is not.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use tidegate_wire::RejectCode;

use super::*;
use crate::auth::{AuthConfig, KeyError, Verdict, Verifier};

const NOW: u64 = 1_800_000_000;

fn verifier(keys: Vec<Key>) -> Verifier {
    Verifier::new(&AuthConfig {
        keys,
        leeway: Duration::from_secs(10),
        ..Default::default()
    })
    .unwrap()
}

fn code(verdict: &Verdict) -> Option<RejectCode> {
    match verdict {
        Verdict::Rejected(reject) => Some(reject.code),
        Verdict::Ok(_) | Verdict::NeedsKeys => None,
    }
}

fn user(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Ok(claims) => Some(String::from_utf8(claims.user.to_vec()).unwrap()),
        Verdict::Rejected(_) | Verdict::NeedsKeys => None,
    }
}

#[test]
fn every_algorithm_is_checked_with_its_own_key_and_no_other() {
    let issuers: Vec<Issuer> = Algorithm::ALL
        .iter()
        .map(|algorithm| Issuer::new(*algorithm))
        .collect();
    let claims = json!({"sub": "ann", "exp": NOW + 60});
    for issuer in &issuers {
        let verifier = verifier(vec![issuer.key(None)]);
        let name = issuer.algorithm.name();
        let token = issuer.token(None, &claims);
        assert_eq!(
            user(verifier.verify(&token, NOW)).as_deref(),
            Some("ann"),
            "{name}"
        );
        for other in &issuers {
            if other.algorithm != issuer.algorithm {
                let token = other.token(None, &claims);
                let verdict = verifier.verify(&token, NOW);
                assert_eq!(
                    code(&verdict),
                    Some(RejectCode::TokenInvalid),
                    "{} by {name}",
                    other.algorithm.name()
                );
                // The same signature under this key's name.
                let lie = other.sign(&json!({"alg": name}), &claims);
                assert_eq!(
                    code(&verifier.verify(&lie, NOW)),
                    Some(RejectCode::TokenInvalid),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn a_public_key_is_no_secret() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let issuer = Issuer::new(algorithm);
        let verifier = verifier(vec![issuer.key(None)]);
        let forger = Issuer {
            algorithm: Algorithm::HS256,
            signs: EncodingKey::from_secret(issuer.public_pem.as_bytes()),
            public_pem: String::new(),
        };
        let token = forger.token(None, &json!({"sub": "ann"}));
        assert_eq!(
            code(&verifier.verify(&token, NOW)),
            Some(RejectCode::TokenInvalid)
        );
    }
}

#[test]
fn unsigned_tokens_are_refused() {
    let verifier = verifier(vec![Issuer::new(Algorithm::HS256).key(None)]);
    let claims = part(&json!({"sub": "ann"}));
    for name in ["none", "None", "nOnE", "", "HS256", "HS1"] {
        let header = part(&json!({"alg": name}));
        for token in [
            format!("{header}.{claims}."),
            format!("{header}.{claims}"),
            format!("{header}.{claims}.AAAA"),
        ] {
            assert_eq!(
                code(&verifier.verify(&token, NOW)),
                Some(RejectCode::TokenInvalid),
                "{name}"
            );
        }
    }
    assert_eq!(code(&verifier.verify("", NOW)), Some(RejectCode::TokenInvalid));
    let large = format!("{}.{claims}.AAAA", "A".repeat(100_000));
    assert_eq!(
        code(&verifier.verify(&large, NOW)),
        Some(RejectCode::TokenInvalid)
    );
}

#[test]
fn the_kid_chooses_the_key() {
    let issuers = [
        Issuer::new(Algorithm::ES256),
        Issuer::new(Algorithm::ES256),
        Issuer::new(Algorithm::ES256),
    ];
    let [a, b, unnamed] = &issuers;
    let verifier = verifier(vec![a.key(Some("a")), b.key(Some("b")), unnamed.key(None)]);
    let claims = json!({"sub": "ann"});
    for (issuer, kid, is_good) in [
        (a, Some("a"), true),
        (b, Some("b"), true),
        (a, Some("b"), false),
        // Only a key without a name is tried for a name that is not known.
        (a, Some("c"), false),
        (unnamed, Some("c"), true),
        (unnamed, Some("a"), false),
        // Without a name in the token every key is tried.
        (a, None, true),
        (b, None, true),
        (unnamed, None, true),
        (&Issuer::new(Algorithm::ES256), None, false),
    ] {
        let verdict = verifier.verify(&issuer.token(kid, &claims), NOW);
        assert_eq!(user(verdict).is_some(), is_good, "{kid:?}");
    }
}

#[test]
fn times_issuer_and_audience_are_checked() {
    let issuer = Issuer::new(Algorithm::HS256);
    let config = AuthConfig {
        keys: vec![issuer.key(None)],
        audience: vec!["tidegate".into(), "other".into()],
        issuer: vec!["me".into()],
        leeway: Duration::from_secs(10),
        jwks: None,
    };
    let verifier = Verifier::new(&config).unwrap();
    let check = |claims: Value| {
        let mut all = json!({"sub": "ann", "iss": "me", "aud": "tidegate"});
        all.as_object_mut()
            .unwrap()
            .extend(claims.as_object().unwrap().clone());
        code(&verifier.verify(&issuer.token(None, &all), NOW))
    };
    let (invalid, expired) = (Some(RejectCode::TokenInvalid), Some(RejectCode::TokenExpired));
    for (claims, expected) in [
        (json!({}), None),
        (json!({"exp": NOW + 1}), None),
        (json!({"exp": NOW - 9}), None),
        (json!({"exp": NOW - 10}), expired),
        (json!({"exp": 0}), expired),
        (json!({"exp": 1.7e9}), expired),
        (json!({"exp": u64::MAX}), None),
        (json!({"exp": 1e300}), None),
        (json!({"exp": "never"}), invalid),
        (json!({"nbf": NOW + 10}), None),
        (json!({"nbf": NOW + 11}), invalid),
        (json!({"nbf": u64::MAX}), invalid),
        (json!({"iss": "you"}), invalid),
        (json!({"iss": null}), invalid),
        (json!({"iss": ["me"]}), invalid),
        (json!({"aud": "elsewhere"}), invalid),
        (json!({"aud": []}), invalid),
        (json!({"aud": ["elsewhere", "other"]}), None),
        (json!({"sub": ""}), invalid),
        (
            json!({"grants": [{"rooms": ["chat:*"], "can": ["fly"]}]}),
            invalid,
        ),
    ] {
        assert_eq!(check(claims.clone()), expected, "{claims}");
    }
}

#[test]
fn expiry_includes_the_leeway_it_was_accepted_with() {
    let issuer = Issuer::new(Algorithm::HS256);
    let token = issuer.token(None, &json!({"sub": "ann", "exp": NOW - 5}));
    let Verdict::Ok(claims) = verifier(vec![issuer.key(None)]).verify(&token, NOW) else {
        panic!("within the leeway");
    };
    assert_eq!(claims.expires_unix, Some(NOW + 5));
}

#[test]
fn extensions_that_must_be_understood_are_refused() {
    let issuer = Issuer::new(Algorithm::HS256);
    let verifier = verifier(vec![issuer.key(None)]);
    let claims = json!({"sub": "ann"});
    for (header, is_good) in [
        (json!({"alg": "HS256"}), true),
        (
            json!({"alg": "HS256", "typ": "JWT", "jku": "https://evil.test/", "x": {"y": [1]}}),
            true,
        ),
        (json!({"alg": "HS256", "crit": ["b64"], "b64": false}), false),
        (json!({"alg": "HS256", "crit": []}), false),
        (json!({"alg": ["HS256"]}), false),
        (json!({"typ": "JWT"}), false),
        (json!(["HS256"]), false),
        (json!({"alg": "HS256", "kid": 7}), false),
        (json!({"alg": "HS256", "kid": "x".repeat(4_000)}), false),
    ] {
        assert_eq!(
            user(verifier.verify(&issuer.sign(&header, &claims), NOW)).is_some(),
            is_good,
            "{header}"
        );
    }
}

#[test]
fn in_development_everyone_gets_in_under_a_name_of_choice() {
    let verifier = Verifier::new(&AuthConfig::default()).unwrap();
    assert!(verifier.is_open());
    let long = "x".repeat(65);
    // Empty lets the shard make up a name.
    for (token, name) in [
        ("", ""),
        ("ann", "ann"),
        ("two words", ""),
        ("bell\u{7}", ""),
        (&long, ""),
    ] {
        let Verdict::Ok(claims) = verifier.verify(token, NOW) else {
            panic!("development mode");
        };
        assert_eq!(claims.user, name, "{token:?}");
        assert_eq!(claims.grants[0].pattern, "*");
    }
}

#[test]
fn keys_of_the_wrong_kind_are_refused() {
    let rsa = Issuer::new(Algorithm::RS256);
    let ec = Issuer::new(Algorithm::ES256);
    let from = |algorithm, pem: &str| Key::from_pem(None, algorithm, pem.as_bytes()).unwrap_err();
    assert_eq!(
        from(Algorithm::ES256, &rsa.public_pem),
        KeyError::Unfit(Algorithm::ES256)
    );
    assert_eq!(
        from(Algorithm::ES384, &ec.public_pem),
        KeyError::Unfit(Algorithm::ES384)
    );
    assert_eq!(
        from(Algorithm::RS256, &ec.public_pem),
        KeyError::Unfit(Algorithm::RS256)
    );
    assert_eq!(
        from(Algorithm::EdDSA, &ec.public_pem),
        KeyError::Unfit(Algorithm::EdDSA)
    );
    assert_eq!(
        from(Algorithm::HS256, &ec.public_pem),
        KeyError::WrongKind(Algorithm::HS256)
    );
    assert_eq!(from(Algorithm::ES256, "hello"), KeyError::NotPem);
    assert_eq!(
        from(Algorithm::ES256, &ec.public_pem.replace("PUBLIC", "EC PRIVATE")),
        KeyError::Private
    );
    let cut = ec.public_pem.replace("MFk", "MFg");
    assert!(matches!(
        from(Algorithm::ES256, &cut),
        KeyError::Unfit(_) | KeyError::NotPem
    ));
    // 1024 bits, made by `openssl genrsa 1024 | openssl rsa -pubout`.
    let small = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDITimnUCqebfOJP8LP95Zostkb\n\
        5FXp/Uvj7H0mGADh5eDGne3EQJKSDKJdGhEoN9jsagzhLgiMcE2MadgQ8YI0X9/c\n\
        IaIMtOsM7RMAc9/qFPCbSyLLuqUsGZC4E9HiCB71dxTcLaxdwhGgVn9rlssQkw40\n\
        OGejxVoka7Pat2kBwQIDAQAB\n-----END PUBLIC KEY-----\n";
    assert_eq!(from(Algorithm::RS256, small), KeyError::SmallRsa(1024));
}

proptest! {
    #[test]
    fn damaged_tokens_are_never_good(place in 0usize..1_000, byte in 0u8..128, cut in 0usize..1_000) {
        let issuer = Issuer::new(Algorithm::HS256);
        let verifier = verifier(vec![issuer.key(None)]);
        let token = issuer.token(Some("k"), &json!({"sub": "ann", "exp": NOW + 60, "info": {"a": [1, "x"]}}));
        let mut damaged = token.clone().into_bytes();
        let place = place % damaged.len();
        damaged[place] = byte;
        let damaged = String::from_utf8(damaged).unwrap();
        if damaged != token {
            prop_assert_eq!(code(&verifier.verify(&damaged, NOW)), Some(RejectCode::TokenInvalid));
        }
        let cut = &token[..cut % token.len()];
        prop_assert_eq!(code(&verifier.verify(cut, NOW)), Some(RejectCode::TokenInvalid));
    }

    #[test]
    fn signed_nonsense_is_refused_without_a_panic(text in "\\PC{0,200}") {
        let issuer = Issuer::new(Algorithm::HS256);
        let message = format!("{}.{}", part(&json!({"alg": "HS256"})), URL_SAFE_NO_PAD.encode(&text));
        let name = "HS256".parse().unwrap();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &issuer.signs, name).unwrap();
        let verdict = verifier(vec![issuer.key(None)]).verify(&format!("{message}.{signature}"), NOW);
        prop_assert_eq!(code(&verdict), Some(RejectCode::TokenInvalid));
        let verdict = verifier(vec![issuer.key(None)]).verify(&text, NOW);
        prop_assert_eq!(code(&verdict), Some(RejectCode::TokenInvalid));
    }
}
