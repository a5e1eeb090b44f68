//! The caller's side of a contract service, wherever it lives.

use crate::call::Call;
use crate::directory::{Directory, Slot};
use crate::message::{Message, Messages};
use crate::{Idempotency, Kind, MethodInfo, Streaming};
use banyan_core::{Context, Error, Payload, Result, SpanKind};
use bytes::Bytes;
use std::sync::Arc;

/// Calls the methods of one contract service. Cheap to clone.
///
/// A call ends at the deadline of its context; a unary call whose context has none gets
/// [`crate::CallLimits::timeout_default`]. Dropping the future of a call, or its response stream, drops the
/// callee's work. A failed call is attempted again if its error allows that for this method, within the retry budget
/// of the service; a call to a service that is moving waits for it.
#[derive(Clone)]
pub struct Channel {
    directory: Directory,
    slot: Arc<Slot>,
}

/// A typed client of one contract service; generated, a thin layer over a [`Channel`].
pub trait Client: Clone + Send + Sync + 'static {
    /// Full name of the contract service.
    const SERVICE: &'static str;

    fn new(channel: Channel) -> Self;
}

impl Channel {
    pub(crate) fn new(directory: Directory, slot: Arc<Slot>) -> Self {
        Self { directory, slot }
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Calls a method that takes one message and answers with one.
    pub async fn unary<Req: Payload + Clone, Res: Payload>(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        request: Req,
    ) -> Result<Res> {
        self.call(cx, method, Messages::One(Message::value(request))).await?.one()?.into_typed()
    }

    /// Calls a method that takes one message and answers with a stream.
    pub async fn server_streaming<Req: Payload + Clone, Res: Payload + Clone>(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        request: Req,
    ) -> Result<Streaming<Res>> {
        let request = Messages::One(Message::value(request));
        Ok(Streaming::typed(self.call(cx, method, request).await?.stream()?))
    }

    /// Calls a method that takes a stream and answers with one message. If the stream fails, so does the call.
    pub async fn client_streaming<Req: Payload + Clone, Res: Payload>(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        requests: Streaming<Req>,
    ) -> Result<Res> {
        self.call(cx, method, Messages::Stream(requests.erase())).await?.one()?.into_typed()
    }

    /// Calls a method that takes a stream and answers with a stream. If the one fails, so does the other.
    pub async fn bidirectional<Req: Payload + Clone, Res: Payload + Clone>(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        requests: Streaming<Req>,
    ) -> Result<Streaming<Res>> {
        let requests = Messages::Stream(requests.erase());
        Ok(Streaming::typed(self.call(cx, method, requests).await?.stream()?))
    }

    /// Calls a unary method with an encoded message, for callers that know it by its descriptor only.
    pub async fn unary_bytes(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        request: Bytes,
    ) -> Result<Bytes> {
        let request = Messages::One(Message::Bytes(request));
        Ok(self.call(cx, method, request).await?.one()?.into_bytes())
    }

    /// Calls a method of any kind with encoded messages; a side that is not a stream is a stream of one message.
    pub async fn streaming_bytes(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        requests: Streaming<Bytes>,
    ) -> Result<Streaming<Bytes>> {
        let requests = Messages::from_bytes(method.kind, requests).await?;
        Ok(self.call(cx, method, requests).await?.into_byte_stream())
    }

    pub(crate) async fn call(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        request: Messages,
    ) -> Result<Messages> {
        let inner = &self.directory.0;
        let started_at = inner.env.clock.now();
        if cx.deadline().is_some_and(|deadline| deadline <= started_at) {
            return Err(Error::deadline_exceeded());
        }
        let cx = match cx.deadline() {
            None if method.kind == Kind::Unary => {
                cx.with_deadline(started_at + inner.limits.load().timeout_default)
            }
            _ => cx.clone(),
        };
        let (mut cx, mut active) = cx.begin(SpanKind::Client, method.path.trim_start_matches('/'));
        // A repeated attempt must be recognised also where only a key tells it from a new request.
        if method.idempotency == Idempotency::Idempotent {
            cx = cx.with_call_key();
        }
        active.constants(&[("rpc.system.name", "grpc")]);
        let call = Call { directory: &self.directory, slot: &self.slot, cx: &cx, method };
        let _active_call = self.slot.begin_call();
        let outcome = call.run(request).await;
        active.end(&outcome);
        outcome
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}
