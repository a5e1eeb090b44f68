//! A service that was written with tonic, as one of ours: the one place where tonic stands in a public signature.

use crate::codec::BytesCodec;
use crate::message::{Message, Messages};
use crate::server::contract;
use crate::{MethodInfo, Service, metadata, status, upload};
use axum::response::IntoResponse;
use banyan_core::{Context, Error, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use std::convert::Infallible;
use std::task::{Context as Poller, Poll};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tower::ServiceExt;
use tower::util::{BoxCloneSyncService, Oneshot};

impl Service {
    /// Makes a service of one that tonic's own server would take, unchanged: `GreeterServer::new(…)`, with or without
    /// interceptors.
    ///
    /// `descriptors` is the encoded `FileDescriptorSet` (with its imports) of the contract. Every call passes the
    /// service's gRPC code in memory: framing, codec and status are tonic's. The service finds what it may know of its
    /// caller in the metadata (`x-banyan-identity`, `traceparent`, `x-correlation-id`, `idempotency-key`,
    /// `grpc-timeout`) and, as a whole, in the request's extensions ([`Context`]). Other metadata, of requests and of
    /// responses, does not travel.
    ///
    /// # Panics
    /// If `descriptors` do not describe the service: a mistake in the program, found at its first start.
    pub fn from_tonic<S>(descriptors: &'static [u8], service: S) -> Self
    where
        S: tower::Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        let methods = contract::methods(descriptors, S::NAME).unwrap_or_else(|error| panic!("{error}"));
        let service = InProcess(BoxCloneSyncService::new(service.map_response(IntoResponse::into_response)));
        let mut builder = Self::builder(S::NAME, descriptors);
        for info in methods.into_values() {
            let service = service.clone();
            builder = builder.method(info, info.kind, move |cx, request| {
                let call = Call { service: service.clone(), cx, method: info };
                Box::pin(call.run(request))
            });
        }
        builder.build()
    }
}

/// Stands where a connection stands otherwise.
#[derive(Clone)]
struct InProcess(Erased);

type Erased = BoxCloneSyncService<Request<Body>, Response<axum::body::Body>, Infallible>;

impl tower::Service<Request<Body>> for InProcess {
    type Response = Response<axum::body::Body>;
    type Error = Infallible;
    type Future = Oneshot<Erased, Request<Body>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        // Each call waits by itself until the service is ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.clone().oneshot(request)
    }
}

/// One call of one method.
struct Call {
    service: InProcess,
    cx: Context,
    method: &'static MethodInfo,
}

impl Call {
    async fn run(self, request: Messages) -> Result<Messages> {
        let (requests, mut failing) = match request {
            Messages::One(message) => {
                let bytes = message.into_bytes();
                let one: BoxStream<'static, Bytes> = futures::stream::once(std::future::ready(bytes)).boxed();
                (one, None)
            }
            Messages::Stream(stream) => {
                let (requests, failing) = upload::split(stream.map(|item| item.map(Message::into_bytes)));
                (requests, Some(failing))
            }
        };
        let request = self.request(requests)?;
        let path = PathAndQuery::from_static(self.method.path);
        // The limit on messages is the business of the wire, and of the service itself.
        let mut grpc = Grpc::with_origin(self.service, Uri::from_static("http://in-process"))
            .max_decoding_message_size(usize::MAX);
        let streams = self.method.kind.streams_response();
        let answering = async {
            let answer =
                if streams {
                    let answer = grpc.streaming(request, path, BytesCodec).await;
                    answer.map(|answer| {
                        let responses = answer.into_inner();
                        Messages::from_stream(responses.map(|item| {
                            item.map(Message::Bytes).map_err(|status| status::from_status(&status))
                        }))
                    })
                } else {
                    let answer = grpc.client_streaming(request, path, BytesCodec).await;
                    answer.map(|answer| Messages::One(Message::Bytes(answer.into_inner())))
                };
            answer.map_err(|status| status::from_status(&status))
        };
        let answer = match &mut failing {
            Some(failing) => failing.or(answering).await?,
            None => answering.await?,
        };
        Ok(match (answer, failing) {
            (Messages::Stream(responses), Some(failing)) => Messages::from_stream(failing.guard(responses)),
            (answer, _) => answer,
        })
    }

    fn request<T>(&self, requests: T) -> Result<tonic::Request<T>> {
        let mut headers = metadata::write(&self.cx, None)?;
        let identity = HeaderValue::from_bytes(self.cx.identity().to_header().as_bytes());
        headers.insert(metadata::IDENTITY, identity.map_err(Error::internal)?);
        let mut request = tonic::Request::new(requests);
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        request.extensions_mut().insert(self.cx.clone());
        Ok(request)
    }
}
