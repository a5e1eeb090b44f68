//! The service's side: requests come as messages and go into the router.

use crate::gate::Gate;
use crate::http_service::wire::{HttpHeader, HttpRequest, HttpResponsePart};
use crate::http_service::{contract, headers};
use crate::message::{Message, Messages};
use crate::proto::Proto;
use crate::service::CALLS_MAX_DEFAULT;
use crate::{Service, Streaming};
use axum::Router;
use axum::body::Body;
use banyan_core::{Context, Error, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{Method, Request, Uri};
use tower::ServiceExt;

/// The largest piece of a response body in one message, in bytes; larger ones are cut.
const CHUNK_BYTES_MAX: usize = 256 << 10;

impl Service {
    /// Makes a service of an axum router, unchanged. `name` is the name of the service in its system.
    ///
    /// The router sees paths without the prefix that it is mounted under, which is in `x-forwarded-prefix`. It finds
    /// its caller in headers that a client cannot forge (`x-banyan-identity`, `traceparent`, `x-correlation-id`), and
    /// in the request's extensions ([`Context`]). Streams of server-sent events end when the service closes.
    pub fn from_router(name: &str, router: Router) -> Self {
        let contract = contract(name);
        let gate = Gate::new(contract.name, CALLS_MAX_DEFAULT);
        let mut builder = Self::builder(contract.name, &[]);
        for method in [&contract.handle, &contract.read] {
            let (router, gate) = (router.clone(), gate.clone());
            builder = builder.method(method, method.kind, move |cx, request| {
                let (router, gate) = (router.clone(), gate.clone());
                Box::pin(async move {
                    let Proto(request) = request.one().and_then(Message::into_typed)?;
                    let parts = answer(router, &cx, request, gate)
                        .await?
                        .map(|part| Ok(Message::value(Proto(part?))));
                    Ok(Messages::from_stream(parts))
                })
            });
        }
        builder.build_behind(gate)
    }
}

async fn answer(
    router: Router,
    cx: &Context,
    request: HttpRequest,
    gate: Gate,
) -> Result<Streaming<HttpResponsePart>> {
    let request = read(request, cx)?;
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (mut head, body) = response.into_parts();
    headers::remove_hop_by_hop(&mut head.headers);
    let first = HttpResponsePart::head(head.status, &head.headers);
    let chunks = chunks(body).map(|chunk| chunk.map(HttpResponsePart::chunk));
    let parts = stream::iter([Ok(first)]).chain(chunks);
    if !headers::is_event_stream(&head.headers) {
        return Ok(Streaming::new(parts));
    }
    let closed = Box::pin(async move { gate.closed().await });
    Ok(Streaming::new(parts.take_until(closed)))
}

/// # Errors
/// [`banyan_core::Code::Internal`] if it is no HTTP request: only the system itself writes them.
fn read(message: HttpRequest, cx: &Context) -> Result<Request<Body>> {
    let mut request = Request::new(Body::from(message.body));
    *request.method_mut() = Method::from_bytes(message.method.as_bytes()).map_err(Error::internal)?;
    *request.uri_mut() = message.target.parse::<Uri>().map_err(Error::internal)?;
    *request.headers_mut() = HttpHeader::read_all(message.headers)?;
    headers::write_claims(request.headers_mut(), cx, &message.prefix)?;
    request.extensions_mut().insert(cx.clone());
    Ok(request)
}

/// Reads a response body in pieces that fit a message.
fn chunks(body: Body) -> impl Stream<Item = Result<Bytes>> + Send {
    body.into_data_stream().flat_map(|frame| {
        let mut pieces = Vec::new();
        match frame {
            Ok(mut bytes) => {
                while bytes.len() > CHUNK_BYTES_MAX {
                    pieces.push(Ok(bytes.split_to(CHUNK_BYTES_MAX)));
                }
                if !bytes.is_empty() {
                    pieces.push(Ok(bytes));
                }
            }
            Err(error) => pieces.push(Err(Error::internal(error))),
        }
        stream::iter(pieces)
    })
}
