//! Which headers belong to a connection, which to the system, and which to a request or a response.

use crate::metadata;
use banyan_core::{Context, Error, Result};
use http::header::{
    CONNECTION, CONTENT_TYPE, EXPECT, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Removes what is between the two ends of one connection (RFC 9110, section 7.6.1).
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let fixed = [
        CONNECTION,
        EXPECT,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in fixed.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// Removes what only the system may say.
pub(crate) fn remove_claims(headers: &mut HeaderMap) {
    for name in [
        metadata::IDENTITY,
        metadata::PEER,
        metadata::TIMEOUT,
        metadata::TRACEPARENT,
        metadata::CORRELATION_ID,
        FORWARDED_PREFIX,
    ] {
        headers.remove(name);
    }
}

/// Says what the router may know of its caller, and where it is mounted.
pub(crate) fn write_claims(headers: &mut HeaderMap, cx: &Context, prefix: &str) -> Result<()> {
    for (name, value) in &metadata::write(cx, None)? {
        headers.insert(name, value.clone());
    }
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).map_err(Error::internal);
    headers.insert(metadata::IDENTITY, value(&cx.identity().to_header())?);
    if !prefix.is_empty() {
        headers.insert(FORWARDED_PREFIX, value(prefix)?);
    }
    Ok(())
}

/// Tells whether a response is a stream of server-sent events: it has no end, and its reader connects again.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    value
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
        .eq_ignore_ascii_case(b"text/event-stream")
}
