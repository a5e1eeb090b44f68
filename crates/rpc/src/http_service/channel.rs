//! The caller's side: an HTTP request goes to a service's router, wherever that lives.

use crate::http_service::wire::{HttpHeader, HttpRequest, HttpResponseHead, HttpResponsePart, Part};
use crate::http_service::{HttpContract, contract, headers};
use crate::options::MESSAGE_BYTES_MAX;
use crate::proto::Proto;
use crate::server::json;
use crate::{Channel, Directory, Streaming, metadata, status};
use axum::body::Body;
use banyan_core::{Context, Error, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, request};

/// The largest body of a request to a router, in bytes: with its head it fits one message.
pub const BODY_BYTES_MAX: usize = MESSAGE_BYTES_MAX - (64 << 10);

/// Passes HTTP requests to the router of one service. Cheap to clone.
///
/// Only `GET` and `HEAD` are ever sent twice. Dropping the future, or the body of the response, drops the work.
#[derive(Clone, Debug)]
pub struct HttpChannel {
    contract: &'static HttpContract,
    channel: Channel,
    prefix: &'static str,
}

impl HttpChannel {
    /// Makes a channel to the router of the service `service`, which is mounted under `prefix`: `/` or `/one/or/more`.
    pub fn new(directory: &Directory, service: &str, prefix: &'static str) -> Self {
        let contract = contract(service);
        Self { contract, channel: directory.channel(contract.name), prefix: prefix.trim_end_matches('/') }
    }

    /// Sends a request whose path begins with the prefix, and returns when the head of the response is there.
    ///
    /// The deadline of `cx` bounds the time to the head. It bounds the body as well if the client itself asked for it
    /// with `grpc-timeout`; a stream of events has no end.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE` for a body over [`BODY_BYTES_MAX`]; what the channel fails with. An error that the router
    /// answers with is a response.
    pub async fn send(&self, cx: &Context, request: Request<Body>) -> Result<Response<Body>> {
        let (head, mut body) = request.into_parts();
        let read = async {
            let length =
                head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
            status::check_size(length.unwrap_or_default(), BODY_BYTES_MAX)?;
            json::read(&mut body, BODY_BYTES_MAX).await
        };
        let bytes = match cx.within(read).await {
            Ok(bytes) => bytes,
            Err(error) => {
                json::discard(body).await;
                return Err(error);
            }
        };
        let streaming = if head.headers.contains_key(metadata::TIMEOUT) { cx.clone() } else { endless(cx) };
        // The key is the router's to understand; to the channel it would promise that a repetition is harmless.
        let streaming = streaming.without_idempotency_key();
        let method = self.contract.method(&head.method);
        let request = Proto(self.write(head, bytes)?);
        let answering = async {
            let mut parts = self.channel.server_streaming(&streaming, method, request).await?;
            let head = match parts.message().await? {
                Some(Proto(HttpResponsePart { part: Some(Part::Head(head)) })) => head,
                _ => return Err(Error::internal("a response began without its head")),
            };
            Ok((head, parts))
        };
        let (head, parts) = cx.within(answering).await?;
        respond(head, parts)
    }

    fn write(&self, mut head: request::Parts, body: Bytes) -> Result<HttpRequest> {
        headers::remove_hop_by_hop(&mut head.headers);
        headers::remove_claims(&mut head.headers);
        name_host(&mut head.headers, &head.uri);
        Ok(HttpRequest {
            method: head.method.as_str().to_owned(),
            target: self.target(&head.uri)?,
            prefix: self.prefix.to_owned(),
            headers: HttpHeader::write_all(&head.headers),
            body,
        })
    }

    /// Returns path and query without the prefix.
    fn target(&self, uri: &Uri) -> Result<String> {
        let rest = uri.path().strip_prefix(self.prefix);
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let rest = rest.ok_or_else(|| {
            Error::internal(format!("{} is not under the prefix {:?}", uri.path(), self.prefix))
        })?;
        let path = if rest.is_empty() { "/" } else { rest };
        Ok(uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")))
    }
}

impl std::fmt::Debug for HttpContract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Returns a context like `cx` without its deadline.
fn endless(cx: &Context) -> Context {
    Context::new(cx.env(), cx.identity().clone())
        .with_trace(cx.trace())
        .with_correlation_id(cx.correlation_id())
}

/// HTTP/2 has the host in the request's URI, which ends here.
fn name_host(headers: &mut HeaderMap, uri: &Uri) {
    if let Some(authority) = uri.authority()
        && !headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(HOST, host);
    }
}

fn respond(head: HttpResponseHead, parts: Streaming<Proto<HttpResponsePart>>) -> Result<Response<Body>> {
    let mut response = Response::new(Body::from_stream(chunks(parts)));
    let status = u16::try_from(head.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() =
        status.ok_or_else(|| Error::internal(format!("{} is no status", head.status)))?;
    *response.headers_mut() = HttpHeader::read_all(head.headers)?;
    Ok(response)
}

fn chunks(parts: Streaming<Proto<HttpResponsePart>>) -> impl Stream<Item = Result<Bytes>> + Send {
    parts.map(|part| match part?.0.part {
        Some(Part::Chunk(bytes)) => Ok(bytes),
        _ => Err(Error::internal("a response has a second head")),
    })
}
