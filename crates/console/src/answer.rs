//! Answers: JSON, or the problem (RFC 9457) that says why there is none.

use axum::Json;
use axum::response::{IntoResponse, Response};
use banyan_core::{Error, Result};
use banyan_rpc::problem;
use serde_json::Value;

/// What an endpoint answers with.
pub(crate) struct Answer(pub(crate) Result<Value>);

impl From<Result<Value>> for Answer {
    fn from(outcome: Result<Value>) -> Self {
        Self(outcome)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self.0 {
            Ok(value) => Json(value).into_response(),
            Err(error) => refusal(&error),
        }
    }
}

/// Says why a request is not answered.
pub(crate) fn refusal(error: &Error) -> Response {
    problem(error, "").into_response()
}
