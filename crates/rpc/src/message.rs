//! Messages without their type: moved as values within a process, as bytes across the network.

use crate::service::MALFORMED_MESSAGE;
use crate::{Kind, Streaming};
use banyan_core::{Code, Error, Payload, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::any::Any;

/// One message, in whichever form its sender had it.
pub(crate) enum Message {
    Value(Box<dyn Typed>),
    Bytes(Bytes),
}

/// One side of a call.
pub(crate) enum Messages {
    One(Message),
    Stream(MessageStream),
}

pub(crate) type MessageStream = BoxStream<'static, Result<Message>>;

/// A value that can still be encoded after its type was erased.
pub(crate) trait Typed: Any + Send + Sync {
    fn encode(&self) -> Bytes;
    fn duplicate(&self) -> Box<dyn Typed>;
}

impl<T: Payload + Clone> Typed for T {
    fn encode(&self) -> Bytes {
        self.to_bytes()
    }

    fn duplicate(&self) -> Box<dyn Typed> {
        Box::new(self.clone())
    }
}

impl Message {
    pub(crate) fn value<T: Payload + Clone>(value: T) -> Self {
        Self::Value(Box::new(value))
    }

    /// Copies the message; cheap for bytes, a deep copy for a value.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            // Through the box, or the copy would be one of the box.
            Self::Value(value) => Self::Value((**value).duplicate()),
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
        }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Value(value) => (*value).encode(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Takes the message as a `T`.
    ///
    /// # Errors
    /// [`banyan_core::Code::DataLoss`] if the bytes are no `T`; [`banyan_core::Code::Internal`] if the value is
    /// another type, which means that caller and handler were built from different contracts.
    pub(crate) fn into_typed<T: Payload>(self) -> Result<T> {
        match self {
            Self::Bytes(bytes) => T::from_bytes(&bytes),
            Self::Value(value) => {
                let value: Box<dyn Any> = value;
                value.downcast::<T>().map(|value| *value).map_err(|_| {
                    Error::internal(format!("the message is not a {}", std::any::type_name::<T>()))
                })
            }
        }
    }
}

impl Messages {
    /// # Errors
    /// [`banyan_core::Code::Internal`] if it is a stream.
    pub(crate) fn one(self) -> Result<Message> {
        match self {
            Self::One(message) => Ok(message),
            Self::Stream(_) => Err(Error::internal("expected one message, found a stream")),
        }
    }

    /// # Errors
    /// [`banyan_core::Code::Internal`] if it is one message.
    pub(crate) fn stream(self) -> Result<MessageStream> {
        match self {
            Self::Stream(stream) => Ok(stream),
            Self::One(_) => Err(Error::internal("expected a stream, found one message")),
        }
    }

    /// Takes the request of a method of this kind from a stream of encoded messages.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] unless there is exactly one message where one is expected.
    pub(crate) async fn from_bytes(kind: Kind, mut requests: Streaming<Bytes>) -> Result<Self> {
        if kind.streams_request() {
            return Ok(Self::from_stream(requests.map(|item| item.map(Message::Bytes))));
        }
        let request = requests.message().await?;
        // Read to the end, or the rest would have to be thrown away by resetting the stream.
        match (request, requests.message().await?) {
            (Some(request), None) => Ok(Self::One(Message::Bytes(request))),
            _ => Err(Error::new(
                Code::InvalidArgument,
                MALFORMED_MESSAGE,
                "expected exactly one request message",
            )),
        }
    }

    pub(crate) fn into_byte_stream(self) -> Streaming<Bytes> {
        match self {
            Self::One(message) => Streaming::new(futures::stream::once(async { Ok(message.into_bytes()) })),
            Self::Stream(stream) => Streaming::new(stream.map(|item| item.map(Message::into_bytes))),
        }
    }

    pub(crate) fn from_stream(stream: impl futures::Stream<Item = Result<Message>> + Send + 'static) -> Self {
        Self::Stream(stream.boxed())
    }
}
