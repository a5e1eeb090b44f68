//! gRPC requests: from the wire to the service and back.

use crate::codec::BytesCodec;
use crate::message::{Message, Messages};
use crate::server::Inner;
use crate::server::edge::Call;
use crate::server::table::{Backend, Table};
use crate::{Kind, MethodInfo, Streaming, status};
use banyan_core::{Context, Error, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use std::net::IpAddr;
use tonic::Status;
use tonic::body::Body;

type Responses = BoxStream<'static, Result<Bytes, Status>>;

impl Inner {
    /// Answers a gRPC request; gives it back if nothing here has ever had such a path.
    pub(crate) async fn grpc(
        &self,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Request<Incoming>> {
        let table = self.tables.current();
        let path = request.uri().path();
        let found = match self.builtin(path) {
            Some((service, method)) => Ok((Backend::Local(service), method)),
            None => match table.find(path) {
                Some(found) => found.map(|(mount, method)| (mount.backend.clone(), method)),
                None => return Err(request),
            },
        };
        let mut told = HeaderMap::new();
        let admitted = self.admit(&table, found, request.headers(), (peer, &mut told)).await;
        let mut response = match admitted {
            Ok((backend, method, cx)) => self.answer(backend, method, cx, request).await,
            Err(error) => refuse(&error),
        };
        response.headers_mut().extend(told);
        Ok(response)
    }

    fn builtin(&self, path: &str) -> Option<(crate::Service, &'static MethodInfo)> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let service = self.builtin.get(service)?;
        Some((service.clone(), service.method(method)?))
    }

    async fn admit(
        &self,
        table: &Table,
        found: Result<(Backend, &'static MethodInfo)>,
        headers: &HeaderMap,
        (peer, told): (IpAddr, &mut HeaderMap),
    ) -> Result<(Backend, &'static MethodInfo, Context)> {
        let (backend, method) = found?;
        let mut cx = self.context(headers, method.service != super::health::NAME)?;
        if !self.builtin.contains_key(method.service) {
            let mut call = Call::new(cx, peer);
            let authorized = self.authorize(table, method, headers, &mut call).await;
            *told = call.told;
            cx = authorized?;
        }
        Ok((backend, method, if method.kind == Kind::Unary { self.bound(cx) } else { cx }))
    }

    async fn answer(
        &self,
        backend: Backend,
        method: &'static MethodInfo,
        cx: Context,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let bytes_max = self.options.message_bytes_max;
        let handler = tower::service_fn(move |request: tonic::Request<tonic::Streaming<Bytes>>| {
            let (backend, cx) = (backend.clone(), cx.clone());
            async move {
                let responses = call(backend, method, &cx, request.into_inner(), bytes_max).await;
                responses.map(tonic::Response::new).map_err(|error| status::to_status(&error))
            }
        });
        // Also for methods without streams: this way what is wrong with a request message is ours to report.
        let mut grpc = tonic::server::Grpc::new(BytesCodec).max_decoding_message_size(bytes_max);
        grpc.streaming(handler, request).await
    }
}

async fn call(
    backend: Backend,
    method: &'static MethodInfo,
    cx: &Context,
    requests: tonic::Streaming<Bytes>,
    bytes_max: usize,
) -> Result<Responses> {
    let requests = Streaming::new(requests.map(|item| item.map_err(|status| status::from_status(&status))));
    let request = cx.within(Messages::from_bytes(method.kind, requests)).await?;
    let encode = move |message: Message| {
        let bytes = message.into_bytes();
        status::check_size(bytes.len(), bytes_max).map(|()| bytes)
    };
    let to_status = |error: Error| status::to_status(&error);
    match backend.call(cx, method, request).await? {
        Messages::One(message) => {
            let bytes = encode(message)?;
            Ok(futures::stream::once(std::future::ready(Ok(bytes))).boxed())
        }
        Messages::Stream(stream) => {
            Ok(stream.map(move |item| item.and_then(encode).map_err(to_status)).boxed())
        }
    }
}

/// Says on gRPC that nothing serves `path`.
pub(crate) fn unknown(path: &str) -> Response<Body> {
    refuse(&Error::unimplemented(format!("nothing serves {path}")))
}

pub(crate) fn refuse(error: &Error) -> Response<Body> {
    status::to_status(error).into_http()
}
