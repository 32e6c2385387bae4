//! `tidegate drain` and `tidegate rebalance`: ask a running server, by its HTTP API, to
//! send clients away at their slots.

use std::{path::Path, process::ExitCode, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use tidegate_server::config::{print_duration, resolve};

use crate::{
    configure::{complain, print},
    serve::within,
};

/// Longest wait for the server's answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Which server, and who asks.
#[derive(Args)]
struct Server {
    /// The server, `http://` or `https://`.
    #[arg(
        long,
        value_name = "URL",
        env = "TIDEGATE_SERVER",
        default_value = "http://127.0.0.1:8600"
    )]
    server: String,
    /// An API key with the scope `admin`: `env:NAME`, `file:PATH`, or itself (others on this machine may
    /// then see it). None is needed in development mode.
    #[arg(long, value_name = "KEY", env = "TIDEGATE_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

#[derive(Args)]
pub struct Drain {
    #[command(flatten)]
    server: Server,
    /// Over which time its clients come back; as the server is configured if absent.
    #[arg(long, value_name = "TIME", value_parser = within)]
    within: Option<Duration>,
}

#[derive(Args)]
pub struct Rebalance {
    #[command(flatten)]
    server: Server,
    /// How many of its clients go, in per cent.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    share: u8,
    /// Over which time they go; as the server is configured if absent.
    #[arg(long, value_name = "TIME", value_parser = within)]
    within: Option<Duration>,
}

fn share(text: &str) -> Result<u8, String> {
    let share = text.strip_suffix('%').unwrap_or(text).parse().ok();
    share
        .filter(|share| (1..=100).contains(share))
        .ok_or_else(|| "a whole number of per cent, 1% to 100%".to_owned())
}

pub fn drain(arguments: &Drain) -> ExitCode {
    let body = match arguments.within {
        Some(within) => json!({"within_ms": within.as_millis() as u64}),
        None => json!({}),
    };
    tell(ask(&arguments.server, "/v1/drain", &body), |answer| {
        let within = ms(&answer["within_ms"])?;
        let place = answer["come_back"].as_str()?;
        Some(format!(
            "draining: clients come back {place} within {within}, then the server ends"
        ))
    })
}

pub fn rebalance(arguments: &Rebalance) -> ExitCode {
    let mut body = json!({"share": arguments.share});
    if let Some(within) = arguments.within {
        body["within_ms"] = json!(within.as_millis() as u64);
    }
    tell(ask(&arguments.server, "/v1/rebalance", &body), |answer| {
        let sessions = answer["sessions"].as_u64()?;
        let window = ms(&answer["window_ms"])?;
        Some(format!("rebalancing: {sessions} sessions go within {window}"))
    })
}

fn ms(value: &Value) -> Option<String> {
    value.as_u64().map(|ms| print_duration(Duration::from_millis(ms)))
}

fn tell(answer: Result<Value, String>, say: impl Fn(&Value) -> Option<String>) -> ExitCode {
    let said = answer.and_then(|answer| {
        say(&answer).ok_or_else(|| format!("the server's answer was not understood: {answer}"))
    });
    match said {
        Ok(words) => {
            print(&format!("{words}\n"));
            ExitCode::SUCCESS
        }
        Err(words) => {
            complain(&format!("tidegate: {words}"));
            ExitCode::FAILURE
        }
    }
}

/// Posts, and returns the answer's body; the error is a sentence with the way out.
fn ask(server: &Server, path: &str, body: &Value) -> Result<Value, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot ask: {error}"))?;
    runtime.block_on(post(server, path, body))
}

async fn post(server: &Server, path: &str, body: &Value) -> Result<Value, String> {
    let url = format!("{}{path}", server.server.trim_end_matches('/'));
    let key = server.api_key.as_deref();
    let (_, answer) = asked(&url, key, "admin", |client| client.post(&url).json(body)).await?;
    Ok(serde_json::from_slice(&answer).unwrap_or_default())
}

/// Gets a text from a server, with an API key of the scope `read` where it asks for one; the error is a sentence with
/// the way out.
pub fn get(url: &str, api_key: Option<&str>) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot ask: {error}"))?;
    let asked = asked(url, api_key, "read", |client| client.get(url));
    let (host, answer) = runtime.block_on(asked)?;
    String::from_utf8(answer).map_err(|_| format!("{host} answers with something else"))
}

/// Asks, and returns whom and what it answered, if that is no refusal.
async fn asked(
    url: &str,
    api_key: Option<&str>,
    scope: &str,
    request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
) -> Result<(String, Vec<u8>), String> {
    let host = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let no_answer = |error: reqwest::Error| format!("{host} does not answer: {}", innermost(&error));
    // A redirect would take the key to someone else.
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE);
    // Nor is a proxy shown it in the clear.
    if url.starts_with("http:") {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(no_answer)?;
    let mut request = request(&client);
    if let Some(key) = api_key {
        let key = resolve(key, Path::new("")).map_err(|why| format!("--api-key: {why}"))?;
        let key = String::from_utf8(key).map_err(|_| "--api-key: it is not UTF-8".to_owned())?;
        request = request.bearer_auth(key);
    }
    let mut response = request.send().await.map_err(no_answer)?;
    let status = response.status();
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("{host} answers with something else"));
        }
        answer.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok((host, answer));
    }
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let detail = answer["detail"].as_str().unwrap_or("is it a Tidegate server?");
    Err(match status.as_u16() {
        401 | 403 => format!("{detail}\n  `--api-key` takes a key of `[api]` with the scope `{scope}`"),
        status => format!("{host} answers {status}: {detail}"),
    })
}

/// The innermost cause says more than reqwest's own sentence.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_part_of_a_hundred() {
        assert_eq!(
            (share("20%"), share("1"), share("100%")),
            (Ok(20), Ok(1), Ok(100))
        );
        for wrong in ["0%", "101%", "", "%", "a%", "-1%", "2.5%", "20%%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
