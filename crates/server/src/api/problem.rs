//! How the API says no: `application/problem+json` (RFC 9457).

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use serde_json::json;
use tidegate_wire::{Reject, RejectCode};

/// One refusal.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    code: Option<RejectCode>,
    retry_after_ms: Option<u32>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            title,
            detail: detail.into(),
            code: None,
            retry_after_ms: None,
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed request", detail)
    }

    /// The body, also for one publication of a batch.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let mut body = json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(code) = self.code {
            body["code"] = code.number().into();
            body["name"] = code.name().into();
        }
        if let Some(ms) = self.retry_after_ms {
            body["retry_after_ms"] = ms.into();
        }
        body
    }
}

impl From<Reject> for Problem {
    fn from(reject: Reject) -> Self {
        let (status, title) = match reject.code {
            RejectCode::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "above the allowed rate"),
            RejectCode::Unavailable | RejectCode::Overloaded | RejectCode::Draining => {
                (StatusCode::SERVICE_UNAVAILABLE, "not now")
            }
            RejectCode::Timeout => (StatusCode::GATEWAY_TIMEOUT, "no answer in time"),
            RejectCode::UnknownNamespace => (StatusCode::NOT_FOUND, "the namespace is not configured"),
            RejectCode::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the payload is too large"),
            RejectCode::Disabled => (StatusCode::CONFLICT, "the namespace does not keep this"),
            RejectCode::Malformed | RejectCode::Limit => (StatusCode::BAD_REQUEST, "malformed request"),
            RejectCode::Forbidden => (StatusCode::FORBIDDEN, "not allowed"),
            RejectCode::NotJoined
            | RejectCode::AlreadyJoined
            | RejectCode::NotConnected
            | RejectCode::AlreadyConnected => (StatusCode::CONFLICT, "not in this state"),
            RejectCode::TokenInvalid | RejectCode::TokenExpired => (StatusCode::UNAUTHORIZED, "no valid key"),
        };
        Self {
            status,
            title,
            detail: reject.detail,
            code: Some(reject.code),
            retry_after_ms: reject.retry_after_ms,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let body = self.to_json().to_string();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(ms) = self.retry_after_ms {
            let seconds = HeaderValue::from(ms.div_ceil(1_000).max(1));
            headers.insert(header::RETRY_AFTER, seconds);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
