//! Keys from an address: rotation, storms of unknown names, and hostile answers.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use serde_json::json;
use tidegate_wire::RejectCode;

use super::*;
use crate::auth::{AuthConfig, DOCUMENT_BYTES_MAX, JwksConfig, JwksError, KEYS_MAX, Verdict, Verifier};

const NOW: u64 = 1_800_000_000;

/// A real HTTP server whose answer the test chooses.
struct Source {
    address: SocketAddr,
    hits: Arc<AtomicUsize>,
    answer: Arc<std::sync::Mutex<Answer>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Clone)]
enum Answer {
    /// A whole response.
    Text(String),
    /// A head, then bytes without end.
    Endless,
    /// Nothing at all, until the other side gives up.
    Silence,
    /// The connection ends at once.
    HangUp,
    /// Waits for this, then answers.
    After(Arc<std::sync::Mutex<mpsc::Receiver<()>>>, String),
}

impl Source {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (hits, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let answer = Arc::new(std::sync::Mutex::new(answer));
        let (counted, stopped, chosen) = (hits.clone(), stop.clone(), answer.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let answer = chosen.lock().unwrap().clone();
                serve(stream.unwrap(), &answer, &counted);
            }
        });
        Self {
            address,
            hits,
            answer,
            stop,
            thread: Some(thread),
        }
    }

    fn of(keys: &[Value]) -> Self {
        Self::start(document(keys))
    }

    fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    fn verifier(&self, cooldown: Duration) -> Verifier {
        let jwks = JwksConfig {
            url: format!("http://{}/jwks", self.address),
            refresh: Duration::from_secs(600),
            cooldown,
            timeout: Duration::from_millis(500),
            algorithms: Algorithm::ALL
                .iter()
                .copied()
                .filter(|algorithm| !algorithm.is_symmetric())
                .collect(),
        };
        Verifier::new(&AuthConfig {
            jwks: Some(jwks),
            ..Default::default()
        })
        .unwrap()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(stream: TcpStream, answer: &Answer, hits: &AtomicUsize) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    // Whoever connects and says nothing (a test's end) is no hit.
    if !lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| line.starts_with("GET /jwks ")))
    {
        return;
    }
    hits.fetch_add(1, Ordering::SeqCst);
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let mut stream = stream;
    match answer {
        Answer::Text(text) => {
            let _ = stream.write_all(text.as_bytes());
        }
        Answer::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"keys\":[");
            while stream.write_all(&[b' '; 16 << 10]).is_ok() {}
        }
        // Ends when the client closes.
        Answer::Silence => while lines.next().is_some_and(|line| line.is_ok()) {},
        Answer::HangUp => {}
        Answer::After(gate, text) => {
            gate.lock().unwrap().recv().unwrap();
            let _ = stream.write_all(text.as_bytes());
        }
    }
}

fn response(status: &str, head: &str, body: &str) -> Answer {
    let len = body.len();
    Answer::Text(format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len}\r\n{head}\r\n{body}"
    ))
}

fn document(keys: &[Value]) -> Answer {
    response(
        "200 OK",
        "Content-Type: application/json\r\n",
        &json!({"keys": keys}).to_string(),
    )
}

fn claims() -> Value {
    json!({"sub": "ann"})
}

fn is_good(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Ok(_))
}

fn code(verdict: Verdict) -> RejectCode {
    match verdict {
        Verdict::Rejected(reject) => reject.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_are_fetched_when_they_are_needed() {
    for algorithm in [
        Algorithm::RS256,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ] {
        let issuer = Issuer::new(algorithm);
        let source = Source::of(&[issuer.jwk("a")]);
        let verifier = source.verifier(Duration::ZERO);
        let token = issuer.token(Some("a"), &claims());
        assert_eq!(verifier.verify(&token, NOW), Verdict::NeedsKeys);
        verifier.refresh().await.unwrap();
        assert!(is_good(&verifier.verify(&token, NOW)), "{}", algorithm.name());
        assert!(is_good(&verifier.verify(&issuer.token(None, &claims()), NOW)));
        // A known name with another's signature is not worth asking for.
        let forged = Issuer::new(algorithm).token(Some("a"), &claims());
        assert_eq!(code(verifier.verify(&forged, NOW)), RejectCode::TokenInvalid);
        assert_eq!(source.hits(), 1);
    }
}

#[tokio::test]
async fn rotated_keys_are_found_and_withdrawn_ones_forgotten() {
    let (old, new) = (Issuer::new(Algorithm::ES256), Issuer::new(Algorithm::ES256));
    let source = Source::of(&[old.jwk("old")]);
    let verifier = source.verifier(Duration::ZERO);
    let (old_token, new_token) = (
        old.token(Some("old"), &claims()),
        new.token(Some("new"), &claims()),
    );
    verifier.refresh().await.unwrap();
    assert!(is_good(&verifier.verify(&old_token, NOW)));

    source.set(document(&[old.jwk("old"), new.jwk("new")]));
    assert_eq!(verifier.verify(&new_token, NOW), Verdict::NeedsKeys);
    verifier.refresh().await.unwrap();
    assert!(is_good(&verifier.verify(&new_token, NOW)) && is_good(&verifier.verify(&old_token, NOW)));

    source.set(document(&[new.jwk("new")]));
    verifier.refresh().await.unwrap();
    assert!(!is_good(&verifier.verify(&old_token, NOW)));
}

#[tokio::test]
async fn unknown_names_do_not_have_the_source_asked_again_and_again() {
    let issuer = Issuer::new(Algorithm::ES256);
    let source = Source::of(&[issuer.jwk("a")]);
    let verifier = source.verifier(Duration::from_secs(3_600));
    verifier.refresh().await.unwrap();
    for n in 0..100 {
        let token = issuer.token(Some(&format!("unknown-{n}")), &claims());
        assert_eq!(code(verifier.verify(&token, NOW)), RejectCode::TokenInvalid);
        verifier.refresh().await.unwrap();
    }
    assert_eq!(source.hits(), 1);
}

#[tokio::test]
async fn many_that_wait_are_served_by_one_fetch() {
    let issuer = Issuer::new(Algorithm::ES256);
    let (open, gate) = mpsc::channel();
    let Answer::Text(text) = document(&[issuer.jwk("a")]) else {
        unreachable!()
    };
    let source = Source::start(Answer::After(Arc::new(std::sync::Mutex::new(gate)), text));
    let verifier = Arc::new(source.verifier(Duration::ZERO));
    let token = issuer.token(Some("a"), &claims());
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let verifier = verifier.clone();
            tokio::spawn(async move { verifier.refresh().await })
        })
        .collect();
    // The runtime has one thread: all have begun, and wait, once this is back.
    tokio::task::yield_now().await;
    assert_eq!(
        verifier.verify(&token, NOW),
        Verdict::NeedsKeys,
        "a fetch under way may still bring it"
    );
    open.send(()).unwrap();
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    assert!(is_good(&verifier.verify(&token, NOW)));
    assert_eq!(source.hits(), 1);
}

#[tokio::test]
async fn hostile_answers_keep_the_keys_that_are_there() {
    let issuer = Issuer::new(Algorithm::ES256);
    let source = Source::of(&[issuer.jwk("a")]);
    let elsewhere = Source::of(&[issuer.jwk("a")]);
    let verifier = source.verifier(Duration::ZERO);
    let token = issuer.token(Some("a"), &claims());
    verifier.refresh().await.unwrap();

    let location = format!("Location: http://{}/jwks\r\n", elsewhere.address);
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(DOCUMENT_BYTES_MAX));
    let many = vec![issuer.jwk("a"); KEYS_MAX + 1];
    let hmac = Issuer::new(Algorithm::HS256).jwk("h");
    let mut encrypts = issuer.jwk("e");
    encrypts["use"] = json!("enc");
    for (name, answer, expected) in [
        ("redirect", response("302 Found", &location, ""), "redirects"),
        (
            "error",
            response("500 Internal Server Error", "", "{}"),
            "status 500",
        ),
        ("not changed", response("304 Not Modified", "", ""), "status 304"),
        (
            "garbage",
            Answer::Text("\0\0\0 hello\r\n\r\n".into()),
            "no answer",
        ),
        ("html", response("200 OK", "", "<html>"), "something else"),
        (
            "deep",
            response("200 OK", "", &"[".repeat(200_000)),
            "something else",
        ),
        ("large", response("200 OK", "", &large), "more than 256 KiB"),
        ("endless", Answer::Endless, "more than 256 KiB"),
        ("silent", Answer::Silence, "no answer"),
        ("gone", Answer::HangUp, "no answer"),
        ("many", document(&many), "65 keys"),
        ("a secret", document(&[hmac]), "without any key"),
        ("for encryption", document(&[encrypts]), "without any key"),
        (
            "cut",
            Answer::Text("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"keys\":[".into()),
            "no answer",
        ),
    ] {
        source.set(answer);
        let error = verifier.refresh().await.expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(is_good(&verifier.verify(&token, NOW)), "{name}");
    }
    assert_eq!(elsewhere.hits(), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_source_that_fails_sends_clients_away_for_a_while_not_for_good() {
    let issuer = Issuer::new(Algorithm::ES256);
    let source = Source::start(response("503 Service Unavailable", "", ""));
    let verifier = source.verifier(Duration::from_secs(3_600));
    assert!(matches!(verifier.refresh().await, Err(JwksError::Status(503))));
    let Verdict::Rejected(reject) = verifier.verify(&issuer.token(Some("a"), &claims()), NOW) else {
        panic!("its key is not there");
    };
    assert_eq!(reject.code, RejectCode::Unavailable);
    assert!(
        reject
            .retry_after_ms
            .is_some_and(|ms| (1_000..=3_600_000).contains(&ms))
    );
    // What no fetch can help is refused all the same.
    let hmac = Issuer::new(Algorithm::HS256).token(None, &claims());
    assert_eq!(code(verifier.verify(&hmac, NOW)), RejectCode::TokenInvalid);
    assert_eq!(code(verifier.verify("", NOW)), RejectCode::TokenInvalid);
}

#[tokio::test]
async fn an_rsa_key_without_an_algorithm_serves_the_allowed_ones() {
    let (pkcs, pss) = (Issuer::new(Algorithm::RS256), Issuer::new(Algorithm::PS256));
    let mut jwk = pkcs.jwk("a");
    jwk.as_object_mut().unwrap().remove("alg");
    let source = Source::of(&[jwk]);
    let verifier = source.verifier(Duration::from_secs(3_600));
    verifier.refresh().await.unwrap();
    assert!(is_good(&verifier.verify(&pkcs.token(Some("a"), &claims()), NOW)));
    let same_key = Issuer {
        algorithm: Algorithm::PS256,
        signs: pkcs.signs.clone(),
        public_pem: String::new(),
    };
    assert!(is_good(
        &verifier.verify(&same_key.token(Some("a"), &claims()), NOW)
    ));
    assert!(!is_good(&verifier.verify(&pss.token(Some("a"), &claims()), NOW)));
}

#[tokio::test]
async fn keys_are_kept_fresh_until_the_task_is_ended() {
    let issuer = Issuer::new(Algorithm::ES256);
    let source = Source::of(&[issuer.jwk("a")]);
    let jwks = JwksConfig {
        url: format!("http://{}/jwks", source.address),
        refresh: Duration::from_millis(1),
        cooldown: Duration::ZERO,
        timeout: Duration::from_secs(5),
        algorithms: vec![Algorithm::ES256],
    };
    let verifier = Arc::new(
        Verifier::new(&AuthConfig {
            jwks: Some(jwks),
            ..Default::default()
        })
        .unwrap(),
    );
    let (told, mut tries) = tokio::sync::mpsc::channel(64);
    let kept = verifier.clone();
    let task = tokio::spawn(async move {
        let tell = || {
            // Full is fine: the test counts to three.
            let _ = told.try_send(());
        };
        kept.keep_fresh(tell).await
    });
    for _ in 0..3 {
        tries.recv().await.unwrap();
    }
    assert!(is_good(
        &verifier.verify(&issuer.token(Some("a"), &claims()), NOW)
    ));
    assert!(source.hits() >= 3);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
}
