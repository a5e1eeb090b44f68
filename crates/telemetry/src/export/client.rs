//! One request to the collector: OTLP over gRPC or HTTP, in the clear or over TLS.

use super::{OtlpOptions, Protocol, Signal};
use banyan_core::{Code, Error, Reason, Result};
use bytes::{Buf, BufMut, Bytes};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::time::Duration;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The collector did not take what was sent.
const EXPORT_FAILED: Reason = Reason::new("EXPORT_FAILED");
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read at most.
const ANSWER_MAX: usize = 64 << 10;
/// Who sends, as the specification of OTLP exporters wants it said.
const AGENT: &str = concat!("OTel-OTLP-Exporter-Banyan/", env!("CARGO_PKG_VERSION"));

/// The way to the collector.
pub(super) struct Collector {
    way: Way,
    headers: Vec<(HeaderName, HeaderValue)>,
}

enum Way {
    Grpc { client: Box<Client<HttpsConnector<HttpConnector>, tonic::body::Body>>, origin: Uri },
    Http { client: Box<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>, base: String },
}

/// What a collector answers to each of the three requests, as far as it matters: how much of it was not taken.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    #[prost(message, optional, tag = "1")]
    partial: Option<Partial>,
}

#[derive(Clone, PartialEq, Message)]
struct Partial {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

impl Collector {
    /// Prepares the way; nothing is connected yet.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], naming the setting, if the endpoint, a header or the file of certificates is not usable.
    pub(super) fn new(endpoint: &str, options: &OtlpOptions) -> Result<Self> {
        let origin =
            endpoint.parse::<Uri>().map_err(|_| Error::invalid("telemetry.otlp.endpoint", "is not a URL"))?;
        let encrypted = origin.scheme_str() == Some("https");
        let connector = connector(options.ca_file.as_deref().filter(|_| encrypted), encrypted)?;
        let mut builder = Client::builder(TokioExecutor::new());
        let way = match options.protocol {
            Protocol::Grpc => {
                Way::Grpc { client: Box::new(builder.http2_only(true).build(connector)), origin }
            }
            Protocol::Http => Way::Http {
                client: Box::new(builder.build(connector)),
                base: endpoint.trim_end_matches('/').to_owned(),
            },
        };
        let mut headers = options.headers.parsed()?;
        headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
        Ok(Self { way, headers })
    }

    /// Sends a batch, and returns how many of its items the collector did not want.
    ///
    /// # Errors
    /// [`Code::Unavailable`] if it may be taken another time, [`Code::InvalidArgument`] if it never will be.
    pub(super) async fn send(&self, signal: Signal, body: Bytes) -> Result<u64> {
        let sent = async {
            match &self.way {
                Way::Grpc { client, origin } => {
                    self.grpc(client.as_ref().clone(), origin.clone(), signal, body).await
                }
                Way::Http { client, base } => self.http(client, base, signal, body).await,
            }
        };
        let late =
            |_| Err(Error::new(Code::Unavailable, EXPORT_FAILED, "the collector did not answer in time"));
        let answer = tokio::time::timeout(TIMEOUT, sent).await.unwrap_or_else(late)?;
        let Some(Partial { rejected, message }) = answer.partial else { return Ok(0) };
        if rejected > 0 {
            tracing::debug!(rejected, message, "the collector did not want all of it");
        }
        Ok(u64::try_from(rejected).unwrap_or_default())
    }

    async fn grpc(
        &self,
        client: Client<HttpsConnector<HttpConnector>, tonic::body::Body>,
        origin: Uri,
        signal: Signal,
        body: Bytes,
    ) -> Result<Answer> {
        let path = match signal {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        };
        let mut client = tonic::client::Grpc::with_origin(client, origin);
        client.ready().await.map_err(away)?;
        let mut request = tonic::Request::new(body);
        let headers: HeaderMap = self.headers.iter().cloned().collect();
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
        let path = http::uri::PathAndQuery::from_static(path);
        match client.unary(request, path, Encoded).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => {
                // The protocol names these as the ones to try again.
                let code = match status.code() {
                    tonic::Code::Cancelled
                    | tonic::Code::DeadlineExceeded
                    | tonic::Code::Aborted
                    | tonic::Code::OutOfRange
                    | tonic::Code::Unavailable
                    | tonic::Code::DataLoss
                    | tonic::Code::ResourceExhausted
                    // What the connection says when it breaks.
                    | tonic::Code::Unknown
                    | tonic::Code::Internal => Code::Unavailable,
                    _ => Code::InvalidArgument,
                };
                let said = format!("the collector said {:?}: {}", status.code(), status.message());
                Err(Error::new(code, EXPORT_FAILED, said))
            }
        }
    }

    async fn http(
        &self,
        client: &Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
        base: &str,
        signal: Signal,
        body: Bytes,
    ) -> Result<Answer> {
        let path = match signal {
            Signal::Traces => "v1/traces",
            Signal::Metrics => "v1/metrics",
            Signal::Logs => "v1/logs",
        };
        let mut request = http::Request::post(format!("{base}/{path}"))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(body))
            .map_err(Error::internal)?;
        request.headers_mut().extend(self.headers.iter().cloned());
        let response = client.request(request).await.map_err(away)?;
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        let answer = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        match status {
            status if status.is_success() => {
                let answer = answer.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                // One that is not of the protocol says nothing of what was refused.
                Ok(Answer::decode(answer).unwrap_or_default())
            }
            // The protocol names these as the ones to try again.
            status if matches!(status.as_u16(), 429 | 502 | 503 | 504) => {
                Err(Error::new(Code::Unavailable, EXPORT_FAILED, format!("the collector said {status}")))
            }
            status => {
                Err(Error::new(Code::InvalidArgument, EXPORT_FAILED, format!("the collector said {status}")))
            }
        }
    }
}

/// Connects in the clear, or over TLS, where the collector's certificate and name are verified.
fn connector(ca_file: Option<&Path>, encrypted: bool) -> Result<HttpsConnector<HttpConnector>> {
    let mut roots = RootCertStore::empty();
    let unusable = |path: &Path, problem: String| {
        Error::invalid("telemetry.otlp.ca_file", format!("{}: {problem}", path.display()))
    };
    match ca_file {
        Some(path) => {
            let found = CertificateDer::pem_file_iter(path).map_err(|e| unusable(path, e.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|e| unusable(path, e.to_string()))?;
                roots.add(certificate).map_err(|e| unusable(path, e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable(path, "holds no certificate".to_owned()));
            }
        }
        None if encrypted => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let problem =
                    "this machine has no certificates to verify the collector's with; name a file of them";
                return Err(Error::invalid("telemetry.otlp.ca_file", problem));
            }
        }
        None => {}
    }
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().build())
}

fn away(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Code::Unavailable, EXPORT_FAILED, "the collector cannot be reached").with_source(error)
}

/// Messages that are encoded already.
#[derive(Clone, Copy, Default)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Answer;
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
    type Item = Answer;
    type Error = tonic::Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Answer>, tonic::Status> {
        let answer = bytes.copy_to_bytes(bytes.remaining());
        Ok(Some(Answer::decode(answer).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_file_of_certificates_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let of = |path: &Path| {
            let options = OtlpOptions { ca_file: Some(path.to_owned()), ..OtlpOptions::default() };
            Collector::new("https://otlp.example", &options).err().expect("it is not usable")
        };
        assert_eq!(of(&path).violations()[0].field, "telemetry.otlp.ca_file");
        std::fs::write(&path, "").expect("a file");
        assert!(of(&path).message().contains("holds no certificate"));
        assert!(Collector::new("http://otlp.example", &OtlpOptions::default()).is_ok());
    }
}
