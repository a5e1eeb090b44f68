//! One connection, driven by the thread that uses it.

use futures::StreamExt as _;
use futures::stream::{BoxStream, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Why work on a connection did not end; the connection is broken.
#[derive(Debug)]
pub(crate) enum Broken {
    /// What the connection failed with, if it said so.
    Ended(Option<Error>),
    /// There was no answer for so long.
    Silent(Duration),
}

/// A connection. Nothing moves on it but in [`Wire::run`] and [`drive`].
///
/// A thread drives its connection itself: a hand-over to another thread would cost more than a fast server's answer. The
/// asynchronous driver below it is what makes every wait bounded.
pub(crate) struct Wire {
    /// Taken when dropped.
    runtime: Option<Runtime>,
    pub(crate) client: Client,
    messages: Messages,
}

/// What the server says; gone when the connection has ended.
pub(crate) struct Messages(Option<BoxStream<'static, Result<AsyncMessage, Error>>>);

impl Wire {
    /// Connects within `limit`; encrypted, if there is `tls`.
    pub(crate) fn connect(
        config: &Config,
        tls: Option<&MakeRustlsConnect>,
        limit: Duration,
    ) -> std::io::Result<Result<Self, Broken>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connecting = async {
            match tls {
                Some(tls) => connect(config, tls.clone()).await,
                None => connect(config, NoTls).await,
            }
        };
        let connected = runtime.block_on(async { tokio::time::timeout(limit, connecting).await });
        Ok(match connected {
            Ok(Ok((client, messages))) => Ok(Self { runtime: Some(runtime), client, messages }),
            Ok(Err(error)) => Err(Broken::Ended(Some(error))),
            Err(_) => Err(Broken::Silent(limit)),
        })
    }

    /// Waits for what `work` does with the client, at most for `limit`.
    pub(crate) fn run<T>(
        &mut self,
        limit: Option<Duration>,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<Result<T, Error>, Broken> {
        let Self { runtime, client, messages } = self;
        let runtime = runtime.as_ref().expect("it is taken when dropped");
        runtime.block_on(async {
            let mut nobody = |_| {};
            let work = drive(messages, &mut nobody, work(client));
            match limit {
                Some(limit) => tokio::time::timeout(limit, work).await.map_err(|_| Broken::Silent(limit))?,
                None => work.await,
            }
        })
    }

    /// Runs `work` with both ends of the connection.
    pub(crate) fn run_with<T>(&mut self, work: impl AsyncFnOnce(&Client, &mut Messages) -> T) -> T {
        let Self { runtime, client, messages } = self;
        let runtime = runtime.as_ref().expect("it is taken when dropped");
        runtime.block_on(work(client, messages))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Does not wait: it may be dropped where waiting is not allowed.
            runtime.shutdown_background();
        }
    }
}

async fn connect<T>(config: &Config, tls: T) -> Result<(Client, Messages), Error>
where
    T: MakeTlsConnect<Socket, Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static>,
{
    let (client, mut connection) = config.connect(tls).await?;
    let messages = poll_fn(move |cx| connection.poll_message(cx)).boxed();
    Ok((client, Messages(Some(messages))))
}

/// Waits for `work` while the connection moves; what the server says by itself goes to `heard`.
pub(crate) async fn drive<T>(
    messages: &mut Messages,
    heard: &mut dyn FnMut(AsyncMessage),
    work: impl Future<Output = T>,
) -> Result<T, Broken> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        let ended = loop {
            let Some(stream) = &mut messages.0 else { break None };
            match stream.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(message))) => heard(message),
                Poll::Ready(Some(Err(error))) => break Some(error),
                Poll::Ready(None) => break None,
                // The answer may have come.
                Poll::Pending => return work.as_mut().poll(cx).map(Ok),
            }
        };
        messages.0 = None;
        // An answer that came before the end counts.
        match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => Poll::Ready(Err(Broken::Ended(ended))),
        }
    })
    .await
}
