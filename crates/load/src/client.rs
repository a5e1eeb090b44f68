//! Requests over HTTP/1.1 with kept connections, or HTTP/2; in the clear, or over TLS.

use crate::limits::ANSWER_KEPT_MAX;
use crate::target::Target;
use crate::tls;
use banyan_core::Error;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;
use tower::ServiceExt;

/// How long a connection may stay unused.
const IDLE_MAX: Duration = Duration::from_secs(20);

pub(crate) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    connector: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Empty unless it was to be kept; its beginning if it was too long.
    pub(crate) body: Vec<u8>,
    /// Bytes of the whole body.
    pub(crate) bytes: u64,
}

impl HttpClient {
    pub(crate) fn new(target: &Target, http2: bool, timeout: Duration) -> Self {
        let mut plain = HttpConnector::new();
        plain.set_nodelay(true);
        plain.enforce_http(false);
        let tls = target.tls().cloned().unwrap_or_else(tls::nobody);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = match http2 {
            true => connector.enable_http2().wrap_connector(plain),
            false => connector.enable_http1().wrap_connector(plain),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .http2_only(http2)
            .build(connector.clone());
        Self { client, connector, timeout }
    }

    /// Connects to an encrypted target, and sends nothing.
    ///
    /// # Errors
    /// `LOAD_TARGET_UNTRUSTED` if TLS does not come about. What else keeps the connection is no error: the load will tell.
    pub(crate) async fn check(&self, target: &Target) -> Result<(), Error> {
        let Some(uri) = target.tls().and_then(|_| target.uri("/").ok()) else { return Ok(()) };
        let connecting = self.connector.clone().oneshot(uri);
        let Ok(Err(error)) = tokio::time::timeout(self.timeout, connecting).await else { return Ok(()) };
        tls::failure(error.as_ref()).map_or(Ok(()), |problem| Err(tls::untrusted(target, problem)))
    }

    /// Sends a request and reads its answer to the end. Of a success, the body is kept only if `keep`.
    ///
    /// # Errors
    /// What kind of failure it was: of few words, so that it can be counted.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        keep: bool,
    ) -> Result<Answer, &'static str> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| kind(&error))?;
            let (head, mut body) = response.into_parts();
            let keep = keep || !head.status.is_success();
            let (mut kept, mut bytes) = (Vec::new(), 0);
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| "broken off")?;
                let Some(data) = frame.data_ref() else { continue };
                bytes += data.len() as u64;
                if keep {
                    let room = ANSWER_KEPT_MAX - kept.len();
                    kept.extend_from_slice(&data[..data.len().min(room)]);
                }
            }
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: kept, bytes })
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err("timeout"))
    }
}

fn kind(error: &hyper_util::client::legacy::Error) -> &'static str {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    if tls::failure(error).is_some() {
        return "TLS failed";
    }
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::ConnectionRefused => "connection refused",
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => "connection reset",
                std::io::ErrorKind::AddrNotAvailable => "no port left on this machine",
                _ => "connection failed",
            };
        }
        cause = error.source();
    }
    if error.is_connect() { "connection failed" } else { "no answer" }
}
