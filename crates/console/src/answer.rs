//! Answers and questions: JSON both, or the problem (RFC 9457) that says what is wrong.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::{IntoResponse, Response};
use banyan_core::{Code, Error, Result};
use banyan_rpc::{MESSAGE_TOO_LARGE, problem};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 2 << 20;

/// What an endpoint answers with.
pub(crate) struct Answer(pub(crate) Result<Value>);

/// The JSON of a request's body.
pub(crate) struct Body<T>(pub(crate) T);

/// The query of a request.
pub(crate) struct Asked<T>(pub(crate) T);

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

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> std::result::Result<Self, Response> {
        let bytes = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|_| {
            let message = format!("the body is larger than {BODY_BYTES_MAX} bytes, or did not arrive");
            refusal(&Error::new(Code::InvalidArgument, MESSAGE_TOO_LARGE, message))
        })?;
        read(&bytes).map(Self).map_err(|error| refusal(&error))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Response> {
        let read = Query::try_from_uri(&parts.uri).map(|Query(query)| Self(query));
        read.map_err(|rejection| refusal(&wrong_query(&rejection.body_text())))
    }
}

/// Reads a body; names the field that is wrong.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // What cannot be parsed at all has no path, or an unknown one.
        let field = if path == "." || path == "?" { "body".to_owned() } else { path };
        Error::invalid(field, error.inner().to_string())
    })?;
    json.end().map_err(|error| Error::invalid("body", error.to_string()))?;
    Ok(value)
}

/// Names the parameter: axum's text is `Failed to deserialize query string: NAME: PROBLEM`.
fn wrong_query(text: &str) -> Error {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    match text.split_once(": ") {
        Some((field, problem)) if name(field) => Error::invalid(field, problem),
        _ => Error::invalid("query", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asking {
        #[expect(dead_code)]
        limit: Option<u32>,
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, field) in
            [("{\"limit\": \"x\"}", "limit"), ("{\"limits\": 1}", "limits"), ("{", "body"), ("{} x", "body")]
        {
            let error = read::<Asking>(text.as_bytes()).expect_err(text);
            assert_eq!(error.violations()[0].field, field, "{error}");
        }
        let uri = "/x?limit=many".parse().expect("it is one");
        let rejection = Query::<Asking>::try_from_uri(&uri).expect_err("it is no number");
        assert_eq!(wrong_query(&rejection.body_text()).violations()[0].field, "limit");
    }
}
