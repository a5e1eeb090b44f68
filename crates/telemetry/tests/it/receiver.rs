//! A collector that keeps what it gets, over gRPC and HTTP, in the clear or over TLS, and refuses on demand.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::response::Response;
use axum::{Router, serve::Listener};
use banyan_core::Tasks;
use banyan_telemetry::{LogLine, Span, metrics::Snapshot, otlp};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// Bytes of a request that it reads.
const BODY_MAX: usize = 16 << 20;
/// The bytes before a message of gRPC: whether it is compressed, and its length.
const GRPC_HEAD: usize = 5;

/// What it has got.
#[derive(Default)]
pub(crate) struct Got {
    pub(crate) spans: Vec<Span>,
    pub(crate) lines: Vec<LogLine>,
    pub(crate) measured: Vec<Snapshot>,
    /// Of the last request.
    pub(crate) headers: HeaderMap,
    pub(crate) requests: u64,
}

/// What it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Takes,
    /// 503: later.
    Busy,
    /// 400: never.
    Refuses,
    /// It takes all but two.
    Partly,
}

#[derive(Clone, Default)]
pub(crate) struct Receiver {
    pub(crate) got: Arc<Mutex<Got>>,
    pub(crate) mood: Arc<Mutex<Mood>>,
}

impl Receiver {
    /// Serves on any port of loopback until `tasks` stop; over TLS with the certificate and the key in `tls`.
    pub(crate) async fn start(&self, tls: Option<&[String; 2]>, tasks: &Tasks) -> SocketAddr {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = tcp.local_addr().expect("it is bound");
        let router = Router::new().fallback(take).with_state(self.clone());
        match tls {
            None => {
                tasks.spawn_until_stopped("receiver", async move {
                    axum::serve(tcp, router).await.expect("it serves");
                });
            }
            Some([certificate, key]) => {
                let tls = Tls { tcp, acceptor: acceptor(certificate, key) };
                tasks.spawn_until_stopped("receiver", async move {
                    axum::serve(tls, router).await.expect("it serves");
                });
            }
        }
        address
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().expect("no test panics with it") = mood;
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Got) -> T) -> T {
        look(&self.got.lock().expect("no test panics with it"))
    }
}

/// Makes a certificate that signs itself, for 127.0.0.1, in a folder; returns its file and its key's.
pub(crate) fn certificate(folder: &Path) -> [String; 2] {
    let files = ["tls.pem", "tls.key"].map(|file| folder.join(file).display().to_string());
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=collector"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-out", &files[0], "-keyout", &files[1]])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    files
}

fn acceptor(certificate: &str, key: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate).expect("a file");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("they fit");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.tcp.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

async fn take(State(receiver): State<Receiver>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX).await.expect("it ends");
    let grpc = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/grpc");
    assert_eq!(grpc, parts.version == Version::HTTP_2 && parts.uri.path().ends_with("/Export"), "{parts:?}");
    let body = if grpc { body.slice(GRPC_HEAD..) } else { body };
    let mood = *receiver.mood.lock().expect("no test panics with it");
    let mut got = receiver.got.lock().expect("no test panics with it");
    got.headers = parts.headers;
    got.requests += 1;
    if matches!(mood, Mood::Takes | Mood::Partly) {
        match parts.uri.path() {
            "/v1/traces" | "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => {
                got.spans.extend(otlp::decode(&body).expect("spans"));
            }
            "/v1/logs" | "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => {
                got.lines.extend(otlp::decode_lines(&body).expect("lines"));
            }
            "/v1/metrics" | "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => {
                got.measured.push(Snapshot::decode(&body).expect("measurements"));
            }
            other => panic!("{other}"),
        }
    }
    if grpc { answer_grpc(mood) } else { answer_http(mood) }
}

/// `partial_success` with two that were not wanted.
const PARTLY: &[u8] = &[0x0a, 0x02, 0x08, 0x02];

fn answer_http(mood: Mood) -> Response {
    let (status, body) = match mood {
        Mood::Takes => (StatusCode::OK, &[][..]),
        Mood::Partly => (StatusCode::OK, PARTLY),
        Mood::Busy => (StatusCode::SERVICE_UNAVAILABLE, &[][..]),
        Mood::Refuses => (StatusCode::BAD_REQUEST, &[][..]),
    };
    Response::builder().status(status).body(Body::from(body)).expect("an answer")
}

fn answer_grpc(mood: Mood) -> Response {
    let (status, message) = match mood {
        Mood::Takes => ("0", &[][..]),
        Mood::Partly => ("0", PARTLY),
        Mood::Busy => ("14", &[][..]),
        Mood::Refuses => ("3", &[][..]),
    };
    let mut frame = vec![0, 0, 0, 0, message.len() as u8];
    frame.extend(message);
    let status =
        HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static(status))]);
    let body = Full::new(Bytes::from(frame)).with_trailers(async move { Some(Ok(status)) });
    Response::builder().header(CONTENT_TYPE, "application/grpc").body(Body::new(body)).expect("an answer")
}
