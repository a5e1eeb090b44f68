//! Requests over HTTP/1.1 with kept connections, or HTTP/2 without TLS.

use crate::limits::ANSWER_KEPT_MAX;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;

/// How long a connection may stay unused.
const IDLE_MAX: Duration = Duration::from_secs(20);

pub(crate) struct HttpClient {
    client: Client<HttpConnector, Full<Bytes>>,
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
    pub(crate) fn new(http2: bool, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .http2_only(http2)
            .build(connector);
        Self { client, timeout }
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
