//! An error as `application/problem+json` (RFC 9457).

use crate::server::{METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE};
use axum::body::Body;
use banyan_core::{Code, Error, FieldViolation, Reason};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

/// What is wrong with an HTTP request as such has a status that no code implies.
const HTTP_ITSELF: [(Reason, u16); 3] =
    [(crate::MESSAGE_TOO_LARGE, 413), (METHOD_NOT_ALLOWED, 405), (UNSUPPORTED_MEDIA_TYPE, 415)];

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<Violation<'a>>,
}

#[derive(Serialize)]
struct Violation<'a> {
    field: &'a str,
    description: &'a str,
}

/// Shows `error` to an HTTP client. `correlation_id` tells which request it was.
pub fn problem(error: &Error, correlation_id: &str) -> Response<Body> {
    let status =
        HTTP_ITSELF.iter().find(|row| error.is(row.0)).map_or(error.code().http_status(), |row| row.1);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let problem = Problem {
        r#type: format!("/errors/{}", error.reason()),
        title: status.canonical_reason().unwrap_or("Client Closed Request"),
        status: status.as_u16(),
        detail: error.message(),
        instance: correlation_id,
        reason: error.reason(),
        violations: error.violations().iter().map(Violation::of).collect(),
    };
    let body = serde_json::to_vec(&problem).expect("strings and numbers can be written as JSON");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if error.code() == Code::Unauthenticated {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(after) = error.retry_after() {
        // Whole seconds, rounded up: a client that obeys is not refused again.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

impl<'a> Violation<'a> {
    fn of(violation: &'a FieldViolation) -> Self {
        Self { field: &violation.field, description: &violation.description }
    }
}
