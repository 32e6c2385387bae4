//! The pages in the binary, with their types and ETags.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    response::{IntoResponse, Redirect},
};
use rust_embed::{EmbeddedFile, RustEmbed};

/// `web/demo`, built. Missing where only `cargo build` ran.
#[derive(RustEmbed)]
#[folder = "../../web/demo/dist"]
#[allow_missing = true]
struct Demo;

/// `web/planner`, built; as the demo.
#[derive(RustEmbed)]
#[folder = "../../web/planner/dist"]
#[allow_missing = true]
struct Planner;

const NOT_BUILT: &str = "<!doctype html><title>Tidegate</title><p>The server runs. Its pages were not built into this binary: \
run <code>make run</code>, which builds them.\n";
const NO_DEMO: &str = "<!doctype html><title>Tidegate</title><p>The server runs. Start it with <code>--demo</code> for its pages.\n";

/// The planner computes in the browser, on a plan that may have come with a link: it may load and run what
/// is its own, and nothing else. `'wasm-unsafe-eval'` allows WebAssembly, not `eval`.
const PLANNER_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; \
connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the pages: the planner's below `planner/`, the demo's else.
pub(super) fn page(path: &str, has_demo: bool, request: &HeaderMap) -> Response<Body> {
    // What the page names itself by is relative to its folder.
    if has_demo && path == "planner" {
        return Redirect::permanent("/planner/").into_response();
    }
    let (path, is_planner) = match path.strip_prefix("planner/") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let path = if path.is_empty() { "index.html" } else { path };
    let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    if !has_demo {
        return match path {
            "index.html" => (html, NO_DEMO).into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let found = match is_planner {
        true => Planner::get(path),
        false => Demo::get(path),
    };
    let mut response = match found {
        Some(file) => answer(file, path, request),
        None if path == "index.html" => (html, NOT_BUILT).into_response(),
        None => return StatusCode::NOT_FOUND.into_response(),
    };
    if is_planner {
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(PLANNER_POLICY),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    response
}

fn answer(file: EmbeddedFile, path: &str, request: &HeaderMap) -> Response<Body> {
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
