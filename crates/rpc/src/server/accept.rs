//! Connections: accepted up to a bound, served, and ended gracefully.

use crate::server::Inner;
use banyan_core::Tasks;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Flow control windows: what one stream, or one connection, may have in flight, in bytes.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Requests that a client may give up before they are looked at; beyond it the connection is closed, which bounds
/// what a "rapid reset" attack can cost (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 256;

/// How long to wait when the system refuses to accept, for example because there are no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until `tasks` stop.
pub(crate) async fn run(listener: TcpListener, inner: Arc<Inner>, tasks: Tasks, abort: Tasks) {
    let places = inner.load.places.clone();
    let builder = Arc::new(builder(&inner));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            listener.accept().await.map(|(stream, peer)| (stream, peer.ip(), place))
        };
        let accepted = tokio::select! {
            () = tasks.stopping() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let serving = serve((stream, peer), builder.clone(), inner.clone(), tasks.clone());
                let abort = abort.clone();
                tasks.spawn("rpc server connection", async move {
                    tokio::select! {
                        () = serving => {}
                        () = abort.stopping() => {}
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn builder(inner: &Inner) -> Builder<TokioExecutor> {
    let options = &inner.options;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(options.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(options.keepalive)
        .keep_alive_timeout(options.keepalive)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(options.streams_per_connection_max)
        .max_header_list_size(options.header_bytes_max)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX);
    builder
}

async fn serve(
    (stream, peer): (TcpStream, IpAddr),
    builder: Arc<Builder<TokioExecutor>>,
    inner: Arc<Inner>,
    tasks: Tasks,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection broke before its first request");
        return;
    }
    let service = service_fn(move |request| {
        let inner = inner.clone();
        async move { Ok::<_, Infallible>(inner.handle(peer, request).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut draining = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = tasks.stopping(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
