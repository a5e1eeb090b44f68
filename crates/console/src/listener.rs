//! Connections of browsers: accepted up to a bound, with TLS if the console has a certificate.

use banyan::ConsoleSettings;
use banyan_core::{Error, Result, Tasks};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

/// Connections at once; further ones wait.
const CONNECTIONS_MAX: usize = 512;
/// How long a browser may take to agree on keys.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long to wait when the system refuses to accept, for example because there are no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is ready for requests, and its place among those there may be.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    _place: OwnedSemaphorePermit,
}

/// What gives the console its connections.
pub(crate) struct Listener {
    address: SocketAddr,
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
}

/// Listens on `wanted` until `tasks` stop.
pub(crate) async fn bind(wanted: SocketAddr, settings: &ConsoleSettings, tasks: &Tasks) -> Result<Listener> {
    let tls = match (&settings.tls_cert, &settings.tls_key) {
        (Some(cert), Some(key)) => Some(acceptor(cert, key)?),
        _ => None,
    };
    let listener = TcpListener::bind(wanted).await.map_err(|error| crate::taken(wanted, error))?;
    let address = listener.local_addr().map_err(Error::internal)?;
    let (sender, ready) = mpsc::channel(1);
    let handshakes = tasks.clone();
    tasks.spawn_until_stopped("console listener", accept(listener, tls, sender, handshakes));
    Ok(Listener { address, ready })
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    ready: mpsc::Sender<(Connection, SocketAddr)>,
    tasks: Tasks,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the console cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (ready, tls) = (ready.clone(), tls.clone());
        // Apart: a browser that is slow to agree on keys holds up nobody else.
        tasks.spawn_until_stopped("console connection", async move {
            if let Some(stream) = secured(stream, tls).await {
                let _ = ready.send((Connection { stream, _place: place }, peer)).await;
            }
        });
    }
}

async fn secured(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<Box<dyn Stream>> {
    stream.set_nodelay(true).ok()?;
    let Some(tls) = tls else { return Some(Box::new(stream)) };
    match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a browser and the console did not agree on keys");
            None
        }
        Err(_) => None,
    }
}

/// Reads the certificate and its key.
fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor> {
    let wrong = |field: &str, path: &Path, error: String| {
        Error::invalid(field, format!("{} cannot be used: {error}", path.display()))
    };
    let certs = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong("console.tls_cert", cert, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| wrong("console.tls_key", key, error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?
        .with_no_client_auth()
        .with_single_cert(certs, secret)
        .map_err(|error| wrong("console.tls_cert", cert, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Listener {
    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // The console ends, and whoever serves it is told so.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, to)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, from)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
