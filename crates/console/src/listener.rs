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
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

/// Connections at once; further ones wait.
const CONNECTIONS_MAX: usize = 512;
/// How long a browser may take to agree on keys.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long to wait when the system refuses to accept, for example because there are no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection may carry nothing: longer than an operator's deed takes. Streams say more often that they live.
const IDLE_MAX: Duration = Duration::from_secs(120);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is ready for requests, and its place among those there may be.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    /// Ends when nothing has been read or written for [`IDLE_MAX`].
    idle: Pin<Box<Sleep>>,
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
                let _ = ready.send((Connection::new(stream, place), peer)).await;
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

impl Connection {
    fn new(stream: Box<dyn Stream>, place: OwnedSemaphorePermit) -> Self {
        Self { stream, idle: Box::pin(tokio::time::sleep(IDLE_MAX)), _place: place }
    }

    /// Gives the connection up that has been idle for too long, and so its place.
    fn unless_idle<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.idle.set(tokio::time::sleep(IDLE_MAX));
            return done;
        }
        self.idle.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(cx, to);
        this.unless_idle(cx, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, from);
        this.unless_idle(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_gives_the_place_back() {
        let places = Arc::new(Semaphore::new(1));
        let (mut browser, stream) = tokio::io::duplex(64);
        let place = places.clone().try_acquire_owned().expect("it is free");
        let mut connection = Connection::new(Box::new(stream), place);
        for _ in 0..3 {
            tokio::time::sleep(IDLE_MAX - Duration::from_secs(1)).await;
            browser.write_u8(7).await.expect("it is open");
            assert_eq!(connection.read_u8().await.expect("it was sent"), 7);
        }
        let error = connection.read_u8().await.expect_err("nothing more was sent");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // Nor does it last that nobody takes what is written.
        connection.idle.set(tokio::time::sleep(IDLE_MAX));
        let error = connection.write_all(&[0; 65]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(connection);
        assert_eq!(places.available_permits(), 1);
    }
}
