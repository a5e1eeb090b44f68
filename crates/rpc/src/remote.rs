//! A service behind endpoints, called over gRPC.

use crate::codec::BytesCodec;
use crate::connection::{Load, Peer, Sending};
use crate::message::{Message, MessageStream, Messages};
use crate::{DirectoryOptions, MethodInfo, bounded::Bounded, metadata, status, upload};
use banyan_core::{Context, Error, Result};
use bytes::Bytes;
use futures::StreamExt;
use http::uri::PathAndQuery;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tonic::CancellationHandle;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;

/// The endpoints of one service.
pub(crate) struct Remote {
    peers: Vec<Arc<Peer>>,
    next: AtomicUsize,
    options: Arc<DirectoryOptions>,
}

/// A call that did not succeed.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// The request, if it is still there to be sent again.
    pub(crate) request: Option<Messages>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, request: None }
    }
}

impl Remote {
    /// Makes a target of at least one peer.
    pub(crate) fn new(peers: Vec<Arc<Peer>>, options: Arc<DirectoryOptions>) -> Self {
        Self { peers, next: AtomicUsize::new(0), options }
    }

    /// Calls the service at the next endpoint that accepts a connection. Dropping the future resets the stream.
    pub(crate) async fn call(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        request: Messages,
    ) -> Result<Messages, Failure> {
        let (peer, (connection, load)) = match cx.within(self.connection()).await {
            Ok(connected) => connected,
            Err(error) => return Err(Failure { error, request: Some(request) }),
        };
        let secret = self.options.peer_secret.as_ref().filter(|_| !peer.endpoint.is_external());
        let headers = metadata::write(cx, secret)?;
        let grpc = Grpc::with_origin(connection, peer.origin.clone())
            .max_decoding_message_size(self.options.message_bytes_max);
        let call =
            Call { cx, method, headers, grpc, load, message_bytes_max: self.options.message_bytes_max };
        match request {
            Messages::One(message) => {
                let bytes = message.into_bytes();
                status::check_size(bytes.len(), call.message_bytes_max)?;
                let outcome = cx.within(call.one(bytes.clone())).await;
                outcome
                    .map_err(|error| Failure { error, request: Some(Messages::One(Message::Bytes(bytes))) })
            }
            Messages::Stream(stream) => Ok(call.stream(stream).await?),
        }
    }

    async fn connection(&self) -> Result<(&Peer, (Sending, Load))> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..self.peers.len()).map(|i| &*self.peers[(first.wrapping_add(i)) % self.peers.len()]);
        // Those that refused a moment ago come last, but they come: all may have failed and one be back.
        let (resting, ready): (Vec<_>, Vec<_>) = in_turn.partition(|peer| peer.rests());
        let mut last = Error::unavailable("the service has no endpoints");
        for peer in ready.into_iter().chain(resting) {
            match peer.connection().await {
                Ok(connection) => return Ok((peer, connection)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// One request to one endpoint.
struct Call<'a> {
    cx: &'a Context,
    method: &'static MethodInfo,
    headers: http::HeaderMap,
    grpc: Grpc<Sending>,
    load: Load,
    message_bytes_max: usize,
}

impl Call<'_> {
    async fn one(mut self, message: Bytes) -> Result<Messages> {
        let request = self.request(message);
        let path = PathAndQuery::from_static(self.method.path);
        if self.method.kind.streams_response() {
            let answer = self.grpc.server_streaming(request, path, BytesCodec).await;
            let answer = answer.map_err(|status| status::from_status(&status))?;
            Ok(responses(self.cx, answer.into_inner(), self.load))
        } else {
            let answer = self.grpc.unary(request, path, BytesCodec).await;
            let bytes = answer.map_err(|status| status::from_status(&status))?.into_inner();
            Ok(Messages::One(Message::Bytes(bytes)))
        }
    }

    async fn stream(mut self, requests: MessageStream) -> Result<Messages> {
        let bytes_max = self.message_bytes_max;
        let encoded = requests.map(move |item| {
            let bytes = item?.into_bytes();
            status::check_size(bytes.len(), bytes_max).map(|()| bytes)
        });
        let (messages, mut failing) = upload::split(encoded);
        let mut request = self.request(messages);
        // The upload outlives the answer unless it is told that the call is over.
        let upload = Upload(Some(request.cancellation_handle()));
        let path = PathAndQuery::from_static(self.method.path);
        let from_status = |status| status::from_status(&status);
        if self.method.kind.streams_response() {
            let opening = async { self.grpc.streaming(request, path, BytesCodec).await.map_err(from_status) };
            let opened = self.cx.within(failing.or(opening)).await?;
            let responses = responses(self.cx, opened.into_inner(), (upload, self.load)).stream()?;
            Ok(Messages::from_stream(failing.guard(responses)))
        } else {
            let answer =
                async { self.grpc.client_streaming(request, path, BytesCodec).await.map_err(from_status) };
            let bytes = self.cx.within(failing.or(answer)).await?.into_inner();
            Ok(Messages::One(Message::Bytes(bytes)))
        }
    }

    fn request<T>(&mut self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(std::mem::take(&mut self.headers));
        request
    }
}

/// Passes responses on until they end or the deadline passes; then `held` is dropped.
fn responses<T: Send + Unpin + 'static>(
    cx: &Context,
    responses: tonic::Streaming<Bytes>,
    held: T,
) -> Messages {
    let typed = responses.map(|item| item.map(Message::Bytes).map_err(|status| status::from_status(&status)));
    Messages::from_stream(Bounded::new(typed.boxed(), cx, held))
}

/// The request stream of a call; dropping it resets what is still open of the stream.
struct Upload(Option<CancellationHandle>);

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.cancel();
        }
    }
}
