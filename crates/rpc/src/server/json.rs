//! JSON requests: from the wire through the contract to the service, and back.

use crate::message::{Message, Messages};
use crate::server::Inner;
use crate::server::edge::Call;
use crate::server::table::{Json, Table};
use crate::status;
use axum::BoxError;
use axum::body::Body;
use banyan_core::{Code, Error, Reason, Result};
use banyan_transcoding::Match;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::time::Duration;

/// The content type of the request body is not JSON.
pub const UNSUPPORTED_MEDIA_TYPE: Reason = Reason::new("UNSUPPORTED_MEDIA_TYPE");

/// How much of a body that is not wanted is read and thrown away, so that its sender gets to read the answer.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
const DISCARDING_MAX: Duration = Duration::from_secs(5);

impl Inner {
    /// Answers a request that fits an HTTP rule of a contract.
    pub(crate) async fn transcode(
        &self,
        call: &mut Call,
        table: &Table,
        json: &Json,
        matched: &Match,
        request: Request<Incoming>,
    ) -> Result<Response<Body>> {
        let called = matched.method();
        let (head, mut body) = request.into_parts();
        let (mount, info) =
            table.find(&called.path).unwrap_or_else(|| Err(Error::moving(&called.service)))?;
        if info.kind != crate::Kind::Unary {
            return Err(Error::unimplemented(format!("{} streams: call it over gRPC", called.full_name())));
        }
        let permitted = async {
            let cx = self.authorize(table, info, &head.headers, call).await?;
            check_headers(&head.headers, self.options.body_bytes_max)?;
            let body = cx.within(read(&mut body, self.options.body_bytes_max)).await?;
            Ok((cx, body))
        };
        let (cx, bytes) = match permitted.await {
            Ok(permitted) => permitted,
            Err(error) => {
                discard(body).await;
                return Err(error);
            }
        };
        let request = json.transcoder.decode_request(matched, head.uri.query(), &bytes)?;
        let request = Messages::One(Message::Bytes(request));
        let answer = mount.backend.call(&cx, info, request).await;
        let answer = answer.map_err(|error| json.transcoder.respell(matched, head.uri.query(), error))?;
        let response = answer.one()?.into_bytes();
        Ok(self::response(json.transcoder.encode_response(called, &response)?))
    }
}

pub(crate) fn response(json: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Refuses by its headers what would be refused by its body.
fn check_headers(headers: &HeaderMap, bytes_max: usize) -> Result<()> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    status::check_size(length.unwrap_or_default(), bytes_max)?;
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") || length == Some(0) {
        return Ok(());
    }
    let message = format!("the body must be application/json, not {essence:?}");
    Err(Error::new(Code::InvalidArgument, UNSUPPORTED_MEDIA_TYPE, message))
}

/// Reads a request body.
///
/// # Errors
/// `MESSAGE_TOO_LARGE`; [`banyan_core::Code::Cancelled`] if it ends early.
pub(crate) async fn read<B>(body: &mut B, bytes_max: usize) -> Result<Bytes>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let collected = Limited::new(body, bytes_max).collect().await;
    let collected = collected.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            status::too_large(&format!("the request body has more than {bytes_max} bytes"))
        } else {
            Error::cancelled("the request body ended early").with_source(error)
        }
    })?;
    Ok(collected.to_bytes())
}

/// Reads what is left of a request body that is not wanted, and forgets it.
pub(crate) async fn discard(body: impl http_body::Body<Error: Into<BoxError>> + Unpin) {
    let mut body = Limited::new(body, DISCARDED_BYTES_MAX);
    let reading = async { while let Some(Ok(_)) = body.frame().await {} };
    // Bounded in bytes and time: a sender that goes on for ever is cut off.
    tokio::time::timeout(DISCARDING_MAX, reading).await.ok();
}
