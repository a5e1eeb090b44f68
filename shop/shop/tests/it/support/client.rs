//! JSON over HTTP, as a customer's browser speaks it to the gateway.

use super::ANSWER_MAX;
use banyan::core::{Clock, Rng};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Pauses between two attempts of a patient client.
const AGAIN_FIRST: Duration = Duration::from_millis(20);
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// How long the shop may work on one request of a patient client, as `grpc-timeout` says it: the rest would be lost on one
/// whose answer never comes.
const PATIENT_TIMEOUT: &str = "5S";

/// What a client does about a request that failed although nothing was wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// That never happens: the test fails.
    Strict,
    /// It sends the same request again, for at most this long.
    Retries(Duration),
}

/// A client of the gateway. Clones share connections and the count of retries.
#[derive(Clone)]
pub(crate) struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    url: Arc<str>,
    patience: Patience,
    retries: Arc<AtomicU64>,
}

/// One request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Begins with `/`.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Null if the answer is not JSON.
    pub(crate) body: Value,
}

impl Ask {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), ..Self::default() }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A POST with a JSON body.
    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new(Method::POST, path).json(body)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text(body.to_string())
    }

    /// Sends a text that claims to be JSON.
    pub(crate) fn text(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", "application/json")
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header(header::AUTHORIZATION.as_str(), format!("Bearer {token}"))
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }
}

impl Answer {
    pub(crate) fn reason(&self) -> &str {
        self.body["reason"].as_str().unwrap_or_default()
    }

    /// Returns the fields that a problem names.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let violations = self.body["violations"].as_array();
        violations.into_iter().flatten().filter_map(|violation| violation["field"].as_str()).collect()
    }

    pub(crate) fn is_problem(&self) -> bool {
        let kind = self.headers.get(header::CONTENT_TYPE);
        kind.is_some_and(|kind| kind == "application/problem+json")
            && self.body["status"] == self.status
            && !self.reason().is_empty()
    }

    /// Returns the body of a success.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self.body
    }

    /// Checks that this is a refusal with a stable reason.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, reason: &str) {
        assert!(self.is_problem(), "not a problem: {} {} {:?}", self.status, self.body, self.headers);
        assert_eq!((self.status, self.reason()), (status, reason), "{}", self.body);
    }

    fn is_transient(&self) -> bool {
        matches!(self.status, 408 | 429 | 502..=504)
            || (self.status == 409 && self.reason() == "GROUP_ROLLED_BACK")
    }
}

impl Client {
    pub(crate) fn new(url: &str, patience: Patience) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new()).build(connector);
        Self { http, url: url.into(), patience, retries: Arc::default() }
    }

    /// Returns a client with its own connections and another patience.
    pub(crate) fn with_patience(&self, patience: Patience) -> Self {
        Self::new(&self.url, patience)
    }

    /// Returns where the shop is, for example `http://127.0.0.1:8080`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns how many requests were sent again.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// When no whole answer came.
    pub(crate) async fn send(&self, ask: &Ask) -> Result<Answer, String> {
        let mut request =
            Request::builder().method(ask.method.clone()).uri(format!("{}{}", self.url, ask.path));
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(ask.body.clone())).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| format!("{error:?}"))?;
            let (head, body) = response.into_parts();
            let bytes = body.collect().await.map_err(|error| format!("half an answer: {error}"))?.to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        let answered = tokio::time::timeout(ANSWER_MAX, exchange).await;
        answered.unwrap_or_else(|_| Err(format!("no answer within {ANSWER_MAX:?}")))
    }

    /// Sends a request, again if the client is patient and that may help.
    ///
    /// # Panics
    /// When no answer came that says something about the request.
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        let clock = Clock::default();
        let (ask, until) = match self.patience {
            Patience::Strict => (ask, clock.now()),
            Patience::Retries(limit) => (ask.header("grpc-timeout", PATIENT_TIMEOUT), clock.now() + limit),
        };
        let mut pause = AGAIN_FIRST;
        loop {
            let failed = match self.send(&ask).await {
                Ok(answer) if answer.is_transient() => format!("{} {}", answer.status, answer.body),
                Ok(answer) => return answer,
                Err(failure) => failure,
            };
            let wait = Rng::default().jitter(pause) + pause / 2;
            assert!(clock.now() + wait < until, "{} {} failed: {failed}", ask.method, ask.path);
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }
}
