//! The HTTP/2 connections to one endpoint: made when needed, shared by all calls, replaced when broken.

use crate::{DirectoryOptions, Endpoint, status};
use arc_swap::ArcSwapOption;
use banyan_core::{BoxFuture, Clock, Error, Result, Retry, Tasks};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Poller, Poll};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::body::Body;

/// Flow control windows: what one stream, or one connection, may have in flight, in bytes.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// An endpoint and the connections to it.
pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
    pub(crate) origin: http::Uri,
    connections: Box<[Connection]>,
    last_failure: Mutex<Option<(Instant, Error)>>,
    options: Arc<DirectoryOptions>,
    clock: Clock,
    tasks: Tasks,
}

#[derive(Default)]
struct Connection {
    sender: ArcSwapOption<http2::SendRequest<Body>>,
    /// Held by whoever connects, so that one does.
    connecting: tokio::sync::Mutex<()>,
    calls: Arc<AtomicUsize>,
}

/// A call on a connection; dropping it lets the connection count it no longer.
pub(crate) struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection as the service that tonic's client wants.
pub(crate) struct Sending(http2::SendRequest<Body>);

impl Peer {
    pub(crate) fn new(
        endpoint: Endpoint,
        options: Arc<DirectoryOptions>,
        clock: Clock,
        tasks: Tasks,
    ) -> Self {
        let origin = http::Uri::builder().scheme("http").authority(endpoint.authority()).path_and_query("/");
        Self {
            origin: origin.build().expect("an endpoint's authority is valid"),
            endpoint,
            connections: (0..options.connections_per_endpoint.max(1))
                .map(|_| Connection::default())
                .collect(),
            last_failure: Mutex::default(),
            options,
            clock,
            tasks,
        }
    }

    /// Tells whether the endpoint refused a connection a moment ago.
    pub(crate) fn rests(&self) -> bool {
        let failure = self.last_failure.lock();
        failure.as_ref().is_some_and(|(at, _)| self.clock.now() < *at + self.options.endpoint_rest)
    }

    /// Returns the connection with the fewest calls, making it if needed. Safe to drop: the next caller connects.
    ///
    /// Calls one after the other stay on one connection, whose tasks at both ends are then awake.
    ///
    /// # Errors
    /// [`banyan_core::Code::Unavailable`], safe to retry: nothing was sent.
    pub(crate) async fn connection(&self) -> Result<(Sending, Load)> {
        let calls = |connection: &&Connection| connection.calls.load(Ordering::Relaxed);
        let connection = self.connections.iter().min_by_key(calls).expect("there is at least one connection");
        connection.calls.fetch_add(1, Ordering::Relaxed);
        let load = Load(connection.calls.clone());
        Ok((self.sender(connection).await?, load))
    }

    async fn sender(&self, connection: &Connection) -> Result<Sending> {
        if let Some(sender) = connection.open() {
            return Ok(sender);
        }
        let queued_at = self.clock.now();
        let _connecting = connection.connecting.lock().await;
        if let Some(sender) = connection.open() {
            return Ok(sender);
        }
        // Whoever connected while this caller waited has the answer for it too.
        let failed =
            self.last_failure.lock().as_ref().filter(|(at, _)| *at > queued_at).map(|(_, e)| e.clone());
        if let Some(error) = failed {
            return Err(error);
        }
        match self.connect().await {
            Ok(sender) => {
                *self.last_failure.lock() = None;
                connection.sender.store(Some(Arc::new(sender.clone())));
                Ok(Sending(sender))
            }
            Err(error) => {
                *self.last_failure.lock() = Some((self.clock.now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<http2::SendRequest<Body>> {
        let authority = self.endpoint.authority();
        let refused = |source: Box<dyn std::error::Error + Send + Sync>| {
            Error::unavailable(format!("{authority} does not accept a connection"))
                .with_retry(Retry::Safe)
                .with_source(source)
        };
        let limit = self.options.connect_timeout;
        let stream = match tokio::time::timeout(limit, TcpStream::connect(authority)).await {
            Ok(connected) => connected.map_err(|error| refused(error.into()))?,
            Err(elapsed) => return Err(refused(elapsed.into())),
        };
        stream.set_nodelay(true).map_err(|error| refused(error.into()))?;
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(self.options.keepalive)
            .keep_alive_timeout(self.options.keepalive)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream));
        let (sender, driver) = handshake.await.map_err(|error| refused(error.into()))?;
        self.tasks.spawn_until_stopped("rpc connection", async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(sender)
    }
}

impl Connection {
    fn open(&self) -> Option<Sending> {
        let sender = self.sender.load();
        sender.as_ref().filter(|sender| !sender.is_closed()).map(|sender| Sending((**sender).clone()))
    }
}

impl tower::Service<http::Request<Body>> for Sending {
    type Response = http::Response<Incoming>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<()>> {
        // A connection that closed meanwhile hands the request back, which says more than an error here.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let sent = self.0.try_send_request(request);
        Box::pin(async move { sent.await.map_err(classify) })
    }
}

/// Says whether the server can have begun with the request.
fn classify(mut error: TrySendError<http::Request<Body>>) -> Error {
    let kept = error.take_message().is_some();
    let error = error.into_error();
    let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<h2::Error>());
    // RFC 9113: streams above a GOAWAY's last id, and refused ones, were not processed (sections 6.8 and 8.7).
    let unprocessed = cause.is_some_and(|h2| {
        h2.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (h2.is_go_away() && h2.is_remote() && h2.reason() == Some(h2::Reason::NO_ERROR))
    });
    let broken = status::broken(error);
    if kept || unprocessed { broken.with_retry(Retry::Safe) } else { broken }
}
