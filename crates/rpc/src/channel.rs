//! The caller's side of a contract service, wherever it lives.

use crate::directory::Slot;
use crate::message::{Message, Messages};
use crate::{MethodInfo, Streaming, Target};
use banyan_core::{Context, Error, Payload, Result};
use std::sync::Arc;

/// Calls the methods of one contract service. Cheap to clone.
#[derive(Clone)]
pub struct Channel(Arc<Slot>);

/// A typed client of one contract service; generated, a thin layer over a [`Channel`].
pub trait Client: Clone + Send + Sync + 'static {
    /// Full name of the contract service.
    const SERVICE: &'static str;

    fn new(channel: Channel) -> Self;
}

impl Channel {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Self(slot)
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

    /// Calls a method that takes a stream and answers with one message.
    pub async fn client_streaming<Req: Payload + Clone, Res: Payload>(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        requests: Streaming<Req>,
    ) -> Result<Res> {
        self.call(cx, method, Messages::Stream(requests.erase())).await?.one()?.into_typed()
    }

    /// Calls a method that takes a stream and answers with a stream.
    pub async fn bidirectional<Req: Payload + Clone, Res: Payload + Clone>(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        requests: Streaming<Req>,
    ) -> Result<Streaming<Res>> {
        let requests = Messages::Stream(requests.erase());
        Ok(Streaming::typed(self.call(cx, method, requests).await?.stream()?))
    }

    async fn call(&self, cx: &Context, method: &'static MethodInfo, request: Messages) -> Result<Messages> {
        cx.check()?;
        let service = match &**self.0.target.load() {
            Target::Local(service) => service.clone(),
            Target::Unplaced => return Err(Error::moving(method.service)),
        };
        let pass = service.enter()?;
        service.execute(pass, &cx.child_span(), method.name, request).await
    }
}
