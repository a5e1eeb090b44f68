//! JSON over HTTP to the shop's gateway.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// The gateway, as a client sees it. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

/// What a request may carry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Headers<'a> {
    pub(crate) token: Option<&'a str>,
    pub(crate) idempotency_key: Option<&'a str>,
}

impl Gateway {
    pub(crate) fn new(url: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector), url: url.to_owned() }
    }

    /// # Errors
    /// If there is no answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, Headers::default(), &Value::Null).await
    }

    /// Sends a request once and returns what was answered.
    ///
    /// # Errors
    /// If there is no answer, or it is not a success.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: Headers<'_>,
        body: &Value,
    ) -> Result<Value> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = headers.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = headers.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let response = self.client.request(request.body(Full::from(body))?).await.context(path.to_owned())?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).with_context(|| format!("{path}: the answer is not JSON"))
    }
}
