//! A response stream that ends with its deadline, and holds something until it is over.

use crate::message::{Message, MessageStream};
use banyan_core::{Context, Error, Result};
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use tokio::time::Sleep;

/// Passes `stream` on until it ends, fails, or the deadline passes; then `stream` and `held` are dropped at once.
pub(crate) struct Bounded<T> {
    /// `None` when it is over.
    open: Option<(MessageStream, T)>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> Bounded<T> {
    pub(crate) fn new(stream: MessageStream, cx: &Context, held: T) -> Self {
        let deadline = cx.deadline().map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
        Self { open: Some((stream, held)), deadline }
    }
}

impl<T: Unpin> Stream for Bounded<T> {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        let Some((stream, _)) = &mut self.open else {
            return Poll::Ready(None);
        };
        let polled = stream.poll_next_unpin(poller);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.open = None;
        }
        // Also when a message is ready: an endless stream must not outrun its deadline.
        if self.open.is_some()
            && let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(poller).is_ready()
        {
            self.open = None;
            return Poll::Ready(Some(Err(Error::deadline_exceeded())));
        }
        polled
    }
}
