//! The planner's page alone, with no server behind it: `tidegate plan open`.
//!
//! The page computes in the browser, and the plan is in the address's fragment, which is never sent; so there is
//! nothing here but files, and nothing to protect.

use std::io;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Response, StatusCode, Uri},
    response::{IntoResponse, Redirect},
};
use tokio::net::TcpListener;

use super::assets;

/// Where it is, below the server's address.
pub const PLANNER_PATH: &str = "/planner/";

/// Serves the page until it is dropped.
///
/// # Errors
/// The listener fails.
pub async fn serve_planner(listener: TcpListener) -> io::Result<()> {
    axum::serve(listener, Router::new().fallback(page)).await
}

async fn page(uri: Uri, headers: HeaderMap) -> Response<Body> {
    match uri.path().strip_prefix('/') {
        Some("") => Redirect::permanent(PLANNER_PATH).into_response(),
        Some(path) if path == "planner" || path.starts_with("planner/") => assets::page(path, true, &headers),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
