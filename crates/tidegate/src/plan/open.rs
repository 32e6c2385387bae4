//! `tidegate plan open`: the planner's page on this machine, with a plan in it.
//!
//! ```text
//!   http://127.0.0.1:PORT/planner/#1.<base64url(deflate({"text": …}))>
//! ```
//!
//! The plan is in the address, as in the page's own links (`web/planner/src/model/share.ts`): what is changed there changes
//! no file. The page is told what is wrong with a plan by itself, so a wrong one may be opened, too.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use flate2::{Compression, write::DeflateEncoder};
use serde_json::json;
use tidegate_server::api::{PLANNER_PATH, serve_planner};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{Ending, Unanswered, show, source::Source};

/// Longest fragment the page takes, and most it may unpack to: as in its `share.ts`.
const FRAGMENT_MAX: usize = 96 << 10;
const UNPACKED_MAX: usize = 512 << 10;

#[derive(Args)]
pub struct Arguments {
    /// The plan; `-` is standard input. Without one, the page begins empty.
    file: Option<PathBuf>,
    /// The port on 127.0.0.1; a free one if absent.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let fragment = match &arguments.file {
        Some(file) => format!("#{}", fragment(&Source::read(file)?)?),
        None => String::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("tidegate plan: cannot serve: {error}"))?;
    runtime.block_on(serve(arguments.port, &fragment))
}

async fn serve(port: u16, fragment: &str) -> Result<Ending, Unanswered> {
    let cannot = |error: std::io::Error| Unanswered(format!("tidegate plan: cannot serve: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("tidegate plan: cannot listen on {address}: {error}; try another `--port`")
    })?;
    let address = listener.local_addr().map_err(cannot)?;
    show(&format!(
        "http://{address}{PLANNER_PATH}{fragment}\nCtrl-C ends it.\n"
    ))?;
    tokio::select! {
        served = serve_planner(listener) => served.map_err(cannot)?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(Ending::Good)
}

/// A plan as the page reads it from its address.
fn fragment(source: &Source) -> Result<String, Unanswered> {
    let too_long = || {
        Unanswered(format!(
            "tidegate plan: {} is too long for the address of a page; shorten its briefing",
            source.name
        ))
    };
    let state = json!({"text": source.text, "layout": {}}).to_string();
    if state.len() > UNPACKED_MAX {
        return Err(too_long());
    }
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    let packed = packed
        .write_all(state.as_bytes())
        .and_then(|()| packed.finish())
        .expect("memory takes what is written");
    let fragment = format!("1.{}", URL_SAFE_NO_PAD.encode(packed));
    match fragment.len() > FRAGMENT_MAX {
        true => Err(too_long()),
        false => Ok(fragment),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;
    use serde_json::Value;

    use super::*;

    fn source(text: &str) -> Source {
        Source {
            name: "a.toml".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_page_reads_the_text_it_was_given() {
        let text = "title = \"ü → \\\"\"\n";
        let fragment = fragment(&source(text)).unwrap_or_else(|Unanswered(words)| panic!("{words}"));
        let packed = fragment.strip_prefix("1.").unwrap();
        let packed = URL_SAFE_NO_PAD.decode(packed).unwrap();
        let mut state = String::new();
        DeflateDecoder::new(&packed[..])
            .read_to_string(&mut state)
            .unwrap();
        let state: Value = serde_json::from_str(&state).unwrap();
        assert_eq!(state["text"], text);
    }

    #[test]
    fn what_no_address_holds_is_refused() {
        assert!(fragment(&source(&"\n".repeat(300 << 10))).is_err());
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + (state >> 57) as u8 % 90)
        });
        let noise: String = noise.take(200_000).collect();
        assert!(fragment(&source(&noise)).is_err());
    }
}
