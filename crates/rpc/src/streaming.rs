//! A stream of messages, as a request or as a response.

use crate::message::{Message, MessageStream};
use banyan_core::{Error, Payload, Result};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use tokio::sync::mpsc;

/// A stream of messages that may end in an error. After an error it is over.
pub struct Streaming<T>(BoxStream<'static, Result<T>>);

/// The sending end of [`Streaming::channel`].
#[derive(Clone, Debug)]
pub struct Sender<T>(mpsc::Sender<Result<T>>);

impl<T: Send + 'static> Streaming<T> {
    pub fn new(stream: impl Stream<Item = Result<T>> + Send + 'static) -> Self {
        Self(stream.boxed())
    }

    /// Makes a stream of what is sent; at most `capacity` messages (at least 1) wait in it.
    pub fn channel(capacity: usize) -> (Sender<T>, Self) {
        let (sender, mut receiver) = mpsc::channel(capacity.max(1));
        (Sender(sender), Self::new(futures::stream::poll_fn(move |poller| receiver.poll_recv(poller))))
    }

    /// Makes a stream of messages that are all there already.
    pub fn of(messages: impl IntoIterator<Item = T, IntoIter: Send + 'static>) -> Self {
        Self::new(futures::stream::iter(messages.into_iter().map(Ok)))
    }

    /// Returns the next message, or `None` at the end.
    ///
    /// # Errors
    /// What the sender failed with.
    pub async fn message(&mut self) -> Result<Option<T>> {
        self.0.next().await.transpose()
    }

    /// Reads at most `messages_max` messages and returns them at the end of the stream.
    ///
    /// # Errors
    /// What the sender failed with; [`banyan_core::Code::ResourceExhausted`] if there are more.
    pub async fn collect(mut self, messages_max: usize) -> Result<Vec<T>> {
        let mut messages = Vec::new();
        while let Some(message) = self.message().await? {
            if messages.len() == messages_max {
                return Err(Error::overloaded(format!("the stream has more than {messages_max} messages")));
            }
            messages.push(message);
        }
        Ok(messages)
    }
}

impl<T: Payload + Clone> Streaming<T> {
    pub(crate) fn erase(self) -> MessageStream {
        self.0.map(|item| item.map(Message::value)).boxed()
    }

    pub(crate) fn typed(stream: MessageStream) -> Self {
        Self(stream.map(|item| item.and_then(Message::into_typed)).boxed())
    }
}

impl<T> Stream for Streaming<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(poller)
    }
}

impl<T> std::fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streaming").finish_non_exhaustive()
    }
}

impl<T> Sender<T> {
    /// Sends a message, waiting while the stream is full.
    ///
    /// # Errors
    /// [`banyan_core::Code::Cancelled`] when nobody reads any more.
    pub async fn send(&self, message: T) -> Result<()> {
        self.0.send(Ok(message)).await.map_err(|_| gone())
    }

    /// Ends the stream with `error`; messages sent before it arrive first.
    ///
    /// # Errors
    /// [`banyan_core::Code::Cancelled`] when nobody reads any more.
    pub async fn fail(self, error: Error) -> Result<()> {
        self.0.send(Err(error)).await.map_err(|_| gone())
    }

    /// Waits until nobody reads any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

fn gone() -> Error {
    Error::cancelled("nobody reads the stream any more")
}
