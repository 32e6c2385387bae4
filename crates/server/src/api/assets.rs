//! The pages in the binary, with their types and ETags.

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode, header},
    response::IntoResponse,
};
use rust_embed::RustEmbed;

/// `web/demo`, built. Missing where only `cargo build` ran.
#[derive(RustEmbed)]
#[folder = "../../web/demo/dist"]
#[allow_missing = true]
struct Demo;

const NOT_BUILT: &str = "<!doctype html><title>Tidegate</title><p>The server runs. Its demo page was not built into this binary: \
run <code>make run</code>, which builds it.\n";
const NO_DEMO: &str = "<!doctype html><title>Tidegate</title><p>The server runs. Start it with <code>--demo</code> for the demo page.\n";

pub(super) fn page(path: &str, has_demo: bool, request: &HeaderMap) -> Response<Body> {
    let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    let path = if path.is_empty() { "index.html" } else { path };
    if !has_demo {
        return match path {
            "index.html" => (html, NO_DEMO).into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let Some(file) = Demo::get(path) else {
        return match path {
            "index.html" => (html, NOT_BUILT).into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        };
    };
    let hash = file.metadata.sha256_hash();
    let etag: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("\"{etag}\"");
    // Built files carry a hash in their names; the page itself is asked for again.
    let cache = match path.starts_with("assets/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let headers = [
        (header::ETAG, etag.clone()),
        (header::CACHE_CONTROL, cache.to_owned()),
        (header::CONTENT_TYPE, file.metadata.mimetype().to_owned()),
    ];
    let is_known = request
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == etag.as_bytes());
    match is_known {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, file.data.into_owned()).into_response(),
    }
}
