//! Sends what is kept to a collector, by the OpenTelemetry protocol over gRPC or HTTP.

use crate::{Memory, Span, otlp};
use banyan_core::{Backoff, Code, Env, Error, Reason, Result, Tasks};
use bytes::{Buf, BufMut, Bytes};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The collector did not take what was sent.
const EXPORT_FAILED: Reason = Reason::new("EXPORT_FAILED");
/// Batches that wait for the collector; what is more is lost and counted.
const WAITING_MAX: usize = 64;
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts of one batch.
const ATTEMPTS_MAX: u32 = 5;
/// How often measurements are sent.
const MEASUREMENT_PERIOD: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read at most.
const ANSWER_MAX: usize = 64 << 10;

/// Where a collector is: `[telemetry.otlp]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpOptions {
    /// The collector's address, for example `http://127.0.0.1:4317`; nothing is sent without it. Only `http`: a collector on the
    /// same machine or in the same network takes it further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    pub protocol: Protocol,
}

/// How the collector is spoken to.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// OTLP/gRPC; by custom on port 4317.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf, below the endpoint's path; by custom on port 4318.
    Http,
}

impl OtlpOptions {
    /// Checks the endpoint.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], naming the field.
    pub fn check(&self) -> Result<()> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let wrong = |problem: &str| Err(Error::invalid("telemetry.otlp.endpoint", problem));
        match endpoint.parse::<http::Uri>() {
            Ok(uri) if uri.authority().is_none() => wrong("has no host"),
            Ok(uri) if uri.scheme_str() != Some("http") => {
                wrong("must begin with http://; for https, send to a collector beside the system")
            }
            Ok(_) => Ok(()),
            Err(_) => wrong("is not a URL"),
        }
    }
}

/// Takes kept spans for the collector, without waiting for it.
#[derive(Clone)]
pub struct Exporter(Arc<Waiting>);

struct Waiting {
    spans: mpsc::Sender<Bytes>,
    lost: AtomicU64,
}

impl Exporter {
    /// Starts sending spans, and what `memory` knows of measurements, until `tasks` stop; `None` without an endpoint.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] if the endpoint is none.
    pub fn start(options: &OtlpOptions, memory: Memory, env: &Env, tasks: &Tasks) -> Result<Option<Self>> {
        options.check()?;
        let Some(endpoint) = &options.endpoint else { return Ok(None) };
        let (spans, mut waiting) = mpsc::channel(WAITING_MAX);
        let exporter = Self(Arc::new(Waiting { spans, lost: AtomicU64::new(0) }));
        let collector = Collector::new(endpoint, options.protocol)?;
        let (env, stopping, counted) = (env.clone(), tasks.clone(), exporter.clone());
        let began_ns = env.clock.unix_ms().saturating_mul(1_000_000);
        tasks.spawn("otlp", async move {
            let mut due = tokio::time::interval(MEASUREMENT_PERIOD);
            loop {
                tokio::select! {
                    Some(batch) = waiting.recv() => counted.deliver(&collector, &env, Signal::Traces, batch).await,
                    _ = due.tick() => {
                        let now_ns = env.clock.unix_ms().saturating_mul(1_000_000);
                        for (process, measured) in memory.measured() {
                            let batch = measured.encode(&process, began_ns, now_ns).into();
                            counted.deliver(&collector, &env, Signal::Metrics, batch).await;
                        }
                    }
                    () = stopping.stopping() => break,
                }
            }
            // What is still there is sent once.
            while let Ok(batch) = waiting.try_recv() {
                if collector.send(Signal::Traces, batch).await.is_err() {
                    return;
                }
            }
        });
        Ok(Some(exporter))
    }

    pub(crate) fn offer(&self, spans: &[Span]) {
        if self.0.spans.try_send(otlp::encode(spans).into()).is_err() {
            self.lose();
        }
    }

    async fn deliver(&self, collector: &Collector, env: &Env, signal: Signal, batch: Bytes) {
        let backoff = Backoff { attempts_max: ATTEMPTS_MAX, ..Backoff::default() };
        for attempt in 1.. {
            let error = match collector.send(signal, batch.clone()).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if backoff.exhausted(attempt) || error.code() == Code::InvalidArgument {
                tracing::warn!(?error, "the collector did not take telemetry; it is dropped");
                return self.lose();
            }
            tokio::time::sleep(backoff.delay(attempt, &env.rng)).await;
        }
    }

    fn lose(&self) {
        self.0.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is sent.
#[derive(Clone, Copy)]
enum Signal {
    Traces,
    Metrics,
}

/// The way to the collector.
enum Collector {
    Grpc(tonic::transport::Channel),
    Http { client: Box<Client<HttpConnector, Full<Bytes>>>, base: String },
}

impl Collector {
    fn new(endpoint: &str, protocol: Protocol) -> Result<Self> {
        match protocol {
            Protocol::Grpc => {
                let endpoint = tonic::transport::Endpoint::from_shared(endpoint.to_owned())
                    .map_err(|_| Error::invalid("telemetry.otlp.endpoint", "is not a URL"))?;
                Ok(Self::Grpc(endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT).connect_lazy()))
            }
            Protocol::Http => Ok(Self::Http {
                client: Box::new(Client::builder(TokioExecutor::new()).build_http()),
                base: endpoint.trim_end_matches('/').to_owned(),
            }),
        }
    }

    async fn send(&self, signal: Signal, body: Bytes) -> Result<()> {
        let sent = async {
            match self {
                Self::Grpc(channel) => grpc(channel.clone(), signal, body).await,
                Self::Http { client, base } => http(client, base, signal, body).await,
            }
        };
        let late =
            |_| Err(Error::new(Code::Unavailable, EXPORT_FAILED, "the collector did not answer in time"));
        tokio::time::timeout(TIMEOUT, sent).await.unwrap_or_else(late)
    }
}

async fn grpc(channel: tonic::transport::Channel, signal: Signal, body: Bytes) -> Result<()> {
    let path = match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    };
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(away)?;
    let path = http::uri::PathAndQuery::from_static(path);
    match client.unary(tonic::Request::new(body), path, Encoded).await {
        Ok(_) => Ok(()),
        Err(status) => {
            let code = match status.code() {
                tonic::Code::InvalidArgument | tonic::Code::Unimplemented => Code::InvalidArgument,
                _ => Code::Unavailable,
            };
            Err(Error::new(code, EXPORT_FAILED, format!("the collector said {:?}", status.code())))
        }
    }
}

async fn http(
    client: &Client<HttpConnector, Full<Bytes>>,
    base: &str,
    signal: Signal,
    body: Bytes,
) -> Result<()> {
    let path = match signal {
        Signal::Traces => "v1/traces",
        Signal::Metrics => "v1/metrics",
    };
    let request = http::Request::post(format!("{base}/{path}"))
        .header(http::header::CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(body))
        .map_err(Error::internal)?;
    let response = client.request(request).await.map_err(away)?;
    let status = response.status();
    // Read to its end, so that the connection can be used again.
    let _ = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    match status {
        status if status.is_success() => Ok(()),
        // The protocol names these as the ones to try again.
        status if matches!(status.as_u16(), 429 | 502 | 503 | 504) => {
            Err(Error::new(Code::Unavailable, EXPORT_FAILED, format!("the collector said {status}")))
        }
        status => {
            Err(Error::new(Code::InvalidArgument, EXPORT_FAILED, format!("the collector said {status}")))
        }
    }
}

fn away(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Code::Unavailable, EXPORT_FAILED, "the collector cannot be reached").with_source(error)
}

/// Messages that are encoded already; answers are not looked into.
#[derive(Clone, Copy, Default)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ();
    type Error = tonic::Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<()>, tonic::Status> {
        bytes.advance(bytes.remaining());
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_cannot_be_reached_is_refused_by_name() {
        let check = |endpoint: &str| {
            OtlpOptions { endpoint: Some(endpoint.into()), ..OtlpOptions::default() }.check()
        };
        assert!(check("http://127.0.0.1:4317").is_ok() && OtlpOptions::default().check().is_ok());
        for (endpoint, problem) in [
            ("https://collector.example", "beside the system"),
            ("127.0.0.1:4317", "http://"),
            ("/v1", "no host"),
            ("a b", "not a URL"),
        ] {
            let error = check(endpoint).unwrap_err();
            assert!(error.message().contains(problem), "{endpoint}: {error}");
            assert_eq!(error.violations()[0].field, "telemetry.otlp.endpoint");
        }
    }
}
