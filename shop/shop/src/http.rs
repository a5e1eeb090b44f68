//! JSON over HTTP to the shop's gateway, as its customers speak it.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::time::Duration;

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Largest answer that is read, in bytes: an order has at most 500 lines.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The gateway, as its client sees it. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

/// One request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// Begins with `/`.
    pub(crate) path: &'a str,
    /// The access token of who asks.
    pub(crate) token: Option<&'a str>,
    pub(crate) idempotency_key: Option<&'a str>,
    /// JSON; empty for none.
    pub(crate) body: Bytes,
}

/// Why there is no answer to work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The shop refused (RFC 9457).
    Refused {
        status: u16,
        /// Stable, for example `INSUFFICIENT_STOCK`.
        reason: String,
        detail: String,
    },
    /// No answer, half of one, or one that makes no sense.
    Unreachable(String),
    /// Nobody accepts connections: the shop has stopped, died, or is about to start.
    Gone(String),
}

impl Failure {
    /// Tells whether the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Failure::Refused { status, reason, .. } => {
                matches!(status, 408 | 429 | 502..=504) || (*status == 409 && reason != "ALREADY_EXISTS")
            }
            Failure::Unreachable(_) | Failure::Gone(_) => true,
        }
    }

    /// Tells whether the access token is missing, or no longer valid.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        matches!(self, Failure::Refused { status: 401, .. })
    }

    /// Returns the stable reason, or `UNREACHABLE`.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Failure::Refused { reason, .. } => reason,
            Failure::Unreachable(_) | Failure::Gone(_) => "UNREACHABLE",
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused { status, reason, detail } => write!(f, "{status} {reason}: {detail}"),
            Failure::Unreachable(what) | Failure::Gone(what) => {
                write!(f, "the shop cannot be reached: {what}")
            }
        }
    }
}

impl std::error::Error for Failure {}

impl Gateway {
    /// Makes a client of the gateway at `url`, for example `http://127.0.0.1:8080`.
    pub(crate) fn new(url: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, url: url.trim_end_matches('/').to_owned() }
    }

    /// Sends a request once and returns the JSON that was answered.
    ///
    /// # Errors
    /// [`Failure`], which says whether to try again.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Value, Failure> {
        let unreachable = |error: &dyn std::fmt::Display| Failure::Unreachable(error.to_string());
        let mut request = Request::builder().method(call.method).uri(format!("{}{}", self.url, call.path));
        if let Some(token) = call.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(call.body)).map_err(|e| unreachable(&e))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| match error.is_connect() {
                true => Failure::Gone(root_cause(&error)),
                false => Failure::Unreachable(root_cause(&error)),
            })?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|e| unreachable(&e))?.to_bytes()))
        };
        let answered = tokio::time::timeout(ANSWER_MAX, exchange).await;
        let (status, body) =
            answered.unwrap_or_else(|_| Err(Failure::Unreachable("no answer in time".to_owned())))?;
        answer(status, &body)
    }
}

/// Returns what the operating system said, for example `Connection refused`.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn answer(status: u16, body: &[u8]) -> Result<Value, Failure> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    match value {
        Some(value) if status < 300 => Ok(value),
        None if status < 300 => Err(Failure::Unreachable("the answer is not JSON".to_owned())),
        problem => {
            let text =
                |key: &str| problem.as_ref().and_then(|p| p[key].as_str()).unwrap_or_default().to_owned();
            let reason = if text("reason").is_empty() { format!("HTTP_{status}") } else { text("reason") };
            Err(Failure::Refused { status, reason, detail: text("detail") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shop_that_is_gone_is_told_from_one_that_is_slow() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let failure = Gateway::new(&url).send(Call { path: "/", ..Call::default() }).await.unwrap_err();
        assert!(matches!(&failure, Failure::Gone(what) if what.contains("refused")), "{failure}");
        assert!(failure.is_transient());
    }

    #[test]
    fn a_refusal_says_whether_to_try_again() {
        let refused =
            |status, reason| answer(status, format!("{{\"reason\":\"{reason}\"}}").as_bytes()).unwrap_err();
        assert!(refused(503, "UNAVAILABLE").is_transient());
        assert!(refused(429, "OVERLOADED").is_transient());
        assert!(refused(409, "GROUP_ROLLED_BACK").is_transient());
        assert!(!refused(409, "ALREADY_EXISTS").is_transient());
        assert!(!refused(400, "IDEMPOTENCY_KEY_REUSED").is_transient());
        assert!(!refused(500, "INTERNAL").is_transient());
        assert!(refused(401, "TOKEN_EXPIRED").is_unauthenticated());
        assert_eq!(answer(502, b"<html>").unwrap_err().reason(), "HTTP_502");
        assert_eq!(answer(200, b"nonsense").unwrap_err().reason(), "UNREACHABLE");
    }
}
