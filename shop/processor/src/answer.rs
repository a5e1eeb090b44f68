//! What a request is answered, and the error objects as Stripe writes them (<https://docs.stripe.com/api/errors>).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A status and a JSON body; also what is kept under an idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Whether it was given before under the same idempotency key.
    pub(crate) replayed: bool,
}

impl Answer {
    pub(crate) fn ok(body: &Value) -> Self {
        Self { status: 200, body: body.to_string(), replayed: false }
    }

    fn error(status: u16, error: Value) -> Self {
        Self { status, body: json!({ "error": error }).to_string(), replayed: false }
    }

    pub(crate) fn invalid(param: &str, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::error(
            400,
            json!({"type": "invalid_request_error", "code": code, "param": param, "message": message}),
        )
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::error(400, json!({"type": "invalid_request_error", "message": message.into()}))
    }

    pub(crate) fn missing(what: &str, id: &str) -> Self {
        let message = format!("No such {what}: '{id}'");
        let error = json!({
            "type": "invalid_request_error", "code": "resource_missing", "param": what, "message": message
        });
        Self::error(404, error)
    }

    pub(crate) fn no_route(status: u16, message: String) -> Self {
        Self::error(status, json!({"type": "invalid_request_error", "message": message}))
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "Send your secret key in the header 'Authorization: Bearer sk_test_...'";
        Self::error(401, json!({"type": "invalid_request_error", "message": message}))
    }

    pub(crate) fn key_reused() -> Self {
        let message = "This Idempotency-Key was used with other parameters; use a new key for a new request";
        Self::error(400, json!({"type": "idempotency_error", "message": message}))
    }

    pub(crate) fn declined(charge: &str) -> Self {
        let error = json!({
            "type": "card_error",
            "code": "card_declined",
            "decline_code": "generic_decline",
            "param": "source",
            "message": "Your card was declined.",
            "charge": charge,
        });
        Self::error(402, error)
    }

    pub(crate) fn too_many() -> Self {
        let error =
            json!({"type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests"});
        Self::error(429, error)
    }

    pub(crate) fn broken() -> Self {
        let message = "Something went wrong on our side; ask again with the same Idempotency-Key";
        Self::error(500, json!({"type": "api_error", "message": message}))
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.replayed {
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}
