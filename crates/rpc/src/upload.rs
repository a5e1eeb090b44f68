//! A request stream that fails takes its call with it, wherever the callee is.

use crate::message::{Message, MessageStream};
use banyan_core::{Error, Result};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, stream};
use std::task::Poll;
use tokio::sync::oneshot;

/// Tells when the request stream of a call has failed on the caller's side.
pub(crate) struct Failing(Option<oneshot::Receiver<Error>>);

/// Splits a request stream into its messages, which the callee gets, and its failure, which ends the call: the
/// callee sees a stream that just stops, and is dropped.
pub(crate) fn split<T: Send + 'static>(
    requests: impl Stream<Item = Result<T>> + Send + 'static,
) -> (BoxStream<'static, T>, Failing) {
    let (sender, receiver) = oneshot::channel();
    let mut sender = Some(sender);
    let mut requests = requests.boxed();
    let messages = stream::poll_fn(move |poller| {
        if sender.is_none() {
            return Poll::Pending;
        }
        match requests.poll_next_unpin(poller) {
            Poll::Ready(Some(Err(error))) => {
                let caller = sender.take().expect("checked above");
                // Nobody listens when the call is over already.
                caller.send(error).ok();
                Poll::Pending
            }
            polled => polled.map(|item| item.and_then(Result::ok)),
        }
    });
    (messages.boxed(), Failing(Some(receiver)))
}

impl Failing {
    /// Runs `work` until it ends or the request stream fails.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            error = self.failure() => Err(error),
            outcome = work => outcome,
        }
    }

    /// Ends `responses` with the failure of the request stream.
    pub(crate) fn guard(self, mut responses: MessageStream) -> impl Stream<Item = Result<Message>> + Send {
        let mut failure = Some(Box::pin(async move {
            let mut failing = self;
            failing.failure().await
        }));
        stream::poll_fn(move |poller| {
            let Some(waiting) = &mut failure else {
                return Poll::Ready(None);
            };
            match waiting.poll_unpin(poller) {
                Poll::Ready(error) => {
                    failure = None;
                    responses = stream::empty().boxed();
                    Poll::Ready(Some(Err(error)))
                }
                Poll::Pending => responses.poll_next_unpin(poller),
            }
        })
    }

    async fn failure(&mut self) -> Error {
        if let Some(receiver) = &mut self.0
            && let Ok(error) = receiver.await
        {
            return error;
        }
        // The stream ended well, or the callee does not want more of it.
        self.0 = None;
        std::future::pending().await
    }
}
