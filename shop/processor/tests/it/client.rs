//! A processor in a folder of its own, and the way to ask it.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use shop_processor::{Options, Processor};
use std::time::Duration;

pub(crate) const KEY: &str = "sk_test_shop";

/// An answer of the processor.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) replayed: bool,
}

impl Answer {
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

#[derive(Clone)]
pub(crate) struct Asker {
    url: String,
    client: Client<HttpConnector, Body>,
}

impl Asker {
    pub(crate) fn new(url: String) -> Self {
        Self { url, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Sends any request; `Err` when no whole answer came.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).expect("test requests are well formed");
        let response = self.client.request(request).await.map_err(|error| error.to_string())?;
        let status: StatusCode = response.status();
        let replayed = response.headers().contains_key("idempotent-replayed");
        let bytes = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        let body = serde_json::from_slice(&bytes).map_err(|error| format!("{error} in {bytes:?}"))?;
        Ok(Answer { status: status.as_u16(), body, replayed })
    }

    pub(crate) async fn try_post(
        &self,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<Answer, String> {
        let bearer = format!("Bearer {KEY}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        self.send(Method::POST, path, &headers, body.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Answer {
        self.try_post(path, key, body).await.expect("the processor answers")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let bearer = format!("Bearer {KEY}");
        let answer = self.send(Method::GET, path, &[("authorization", &bearer)], String::new()).await;
        answer.expect("the processor answers")
    }

    pub(crate) async fn charge(&self, key: &str, source: &str, amount: i64) -> Answer {
        self.post("/v1/charges", Some(key), &charge(source, amount, key)).await
    }

    pub(crate) async fn balance(&self) -> i64 {
        self.get("/v1/balance").await.body.pointer("/available/0/amount").and_then(Value::as_i64).unwrap_or(0)
    }

    /// Reads a whole list, page by page.
    pub(crate) async fn list(&self, path: &str, limit: u32) -> Vec<Value> {
        let mut entries: Vec<Value> = Vec::new();
        loop {
            let after = entries
                .last()
                .and_then(|entry| entry["id"].as_str())
                .map(|id| format!("&starting_after={id}"));
            let page = self.get(&format!("{path}?limit={limit}{}", after.unwrap_or_default())).await;
            assert_eq!(page.status, 200, "{page:?}");
            entries.extend(page.body["data"].as_array().expect("a list has data").iter().cloned());
            if page.body["has_more"] == Value::Bool(false) {
                return entries;
            }
        }
    }
}

/// Makes the body of a charge.
pub(crate) fn charge(source: &str, amount: i64, order_id: &str) -> Value {
    json!({"amount": amount, "currency": "gbp", "source": source, "metadata": {"order_id": order_id}})
}

/// A processor embedded in the test, with short waits, and its folder.
pub(crate) struct Fixture {
    pub(crate) ask: Asker,
    pub(crate) processor: Processor,
    _folder: tempfile::TempDir,
}

pub(crate) const SLOW: Duration = Duration::from_millis(300);
pub(crate) const HANG: Duration = Duration::from_secs(20);

pub(crate) async fn start() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let options = Options { slow: SLOW, hang: HANG, ..Options::new(folder.path()) };
    let processor = shop_processor::run(options).await.expect("the processor starts");
    Fixture { ask: Asker::new(processor.url()), processor, _folder: folder }
}
