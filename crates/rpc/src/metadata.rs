//! A call's context as headers, the same for gRPC and JSON.

use crate::PeerSecret;
use banyan_core::{Context, Env, Error, Identity, Result, TraceContext};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const IDENTITY: HeaderName = HeaderName::from_static("x-banyan-identity");
pub(crate) const PEER: HeaderName = HeaderName::from_static("x-banyan-peer");

/// The longest idempotency key or correlation id, in bytes, that a server takes.
const KEY_BYTES_MAX: usize = 255;

/// Writes what a callee is to see. Without `secret` the callee sees an anonymous caller.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] if a key of the context holds control characters.
pub(crate) fn write(cx: &Context, secret: Option<&PeerSecret>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(8);
    if let Some(remaining) = cx.remaining() {
        headers.insert(TIMEOUT, value("deadline", &write_timeout(remaining))?);
    }
    headers.insert(TRACEPARENT, value("traceparent", &cx.trace().to_header())?);
    headers.insert(CORRELATION_ID, value("correlation id", cx.correlation_id())?);
    if let Some(key) = cx.idempotency_key() {
        headers.insert(IDEMPOTENCY_KEY, value("idempotency key", key)?);
    }
    if let Some(secret) = secret {
        headers.insert(IDENTITY, value("identity", &cx.identity().to_header())?);
        headers.insert(PEER, secret.header());
    }
    Ok(headers)
}

/// Reads the caller's context. The identity is believed only if the peer proves with `secret` that it is one of us.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] if a header is malformed; [`banyan_core::Code::Unauthenticated`] if
/// `internal` and the peer proves nothing.
pub(crate) fn read(
    headers: &HeaderMap,
    env: &Env,
    secret: Option<&PeerSecret>,
    internal: bool,
) -> Result<Context> {
    let peer = headers.get(PEER).map(HeaderValue::as_bytes);
    let trusted = secret.zip(peer).is_some_and(|(secret, presented)| secret.matches(presented));
    if internal && !trusted {
        return Err(Error::unauthenticated("this server answers only processes of its own system"));
    }
    let identity = text(headers, &IDENTITY).filter(|_| trusted).and_then(Identity::from_header);
    let mut cx = Context::new(env, identity.unwrap_or_else(Identity::anonymous));
    if let Some(trace) = trace(headers) {
        cx = cx.with_trace(trace);
    }
    // A correlation id only helps to find things: a bad one is replaced, not refused.
    if let Some(id) = text(headers, &CORRELATION_ID).filter(|id| acceptable(id)) {
        cx = cx.with_correlation_id(id);
    }
    if headers.contains_key(IDEMPOTENCY_KEY) {
        let key =
            text(headers, &IDEMPOTENCY_KEY).map(|key| key.trim_matches('"')).filter(|key| acceptable(key));
        let described = "must be 1 to 255 visible characters";
        cx = cx.with_idempotency_key(key.ok_or_else(|| Error::invalid("Idempotency-Key", described))?);
    }
    if let Some(timeout) = headers.get(TIMEOUT) {
        let timeout = timeout.to_str().ok().and_then(read_timeout);
        cx = cx.with_timeout(timeout.ok_or_else(|| Error::invalid("grpc-timeout", "is not a gRPC timeout"))?);
    }
    Ok(cx)
}

/// Returns the span that a request goes on from, if it says so.
pub(crate) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    text(headers, &TRACEPARENT).and_then(TraceContext::from_header)
}

fn value(what: &str, text: &str) -> Result<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Error::invalid(what, "must not contain control characters"))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}

fn acceptable(key: &str) -> bool {
    !key.is_empty() && key.len() <= KEY_BYTES_MAX && !key.chars().any(char::is_control)
}

/// Writes a timeout of at most 8 digits in the finest unit that holds it
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
fn write_timeout(timeout: Duration) -> String {
    const DIGITS_8: u128 = 99_999_999;
    match (timeout.as_micros(), timeout.as_millis()) {
        (us, _) if us <= DIGITS_8 => format!("{us}u"),
        (_, ms) if ms <= DIGITS_8 => format!("{ms}m"),
        _ => format!("{}S", timeout.as_secs().min(DIGITS_8 as u64)),
    }
}

fn read_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "n" => Some(Duration::from_nanos(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "S" => Some(Duration::from_secs(amount)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "H" => Some(Duration::from_secs(amount * 3600)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Code;

    fn secret() -> PeerSecret {
        PeerSecret::new("s3cret").unwrap()
    }

    fn sent(secret: Option<&PeerSecret>) -> (Context, HeaderMap) {
        let cx = Context::new(&Env::default(), Identity::user("ü-1", &["admin".into()]));
        let cx = cx.with_idempotency_key("k-1").with_timeout(Duration::from_secs(5));
        let headers = write(&cx, secret).unwrap();
        (cx, headers)
    }

    #[test]
    fn a_context_survives_its_headers() {
        let (cx, headers) = sent(Some(&secret()));
        let read = read(&headers, &Env::default(), Some(&secret()), true).unwrap();
        assert_eq!(read.identity(), cx.identity());
        assert_eq!(read.trace(), cx.trace());
        assert_eq!(read.correlation_id(), cx.correlation_id());
        assert_eq!(read.idempotency_key(), Some("k-1"));
        assert!(read.remaining().unwrap() <= Duration::from_secs(5));
        assert!(read.remaining().unwrap() > Duration::from_secs(4));
    }

    #[test]
    fn an_identity_without_the_secret_is_not_believed() {
        let (_, mut headers) = sent(Some(&PeerSecret::new("guess!").unwrap()));
        let env = Env::default();
        assert_eq!(read(&headers, &env, Some(&secret()), false).unwrap().identity(), &Identity::anonymous());
        assert_eq!(read(&headers, &env, None, false).unwrap().identity(), &Identity::anonymous());
        assert_eq!(read(&headers, &env, Some(&secret()), true).unwrap_err().code(), Code::Unauthenticated);
        headers.remove(PEER);
        assert_eq!(read(&headers, &env, Some(&secret()), false).unwrap().identity(), &Identity::anonymous());
        assert!(!sent(None).1.contains_key(IDENTITY));
    }

    #[test]
    fn malformed_headers_are_refused_by_name() {
        for (name, bad) in [(IDEMPOTENCY_KEY, ""), (IDEMPOTENCY_KEY, "\"\""), (TIMEOUT, "5"), (TIMEOUT, "5x")]
        {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(bad))]);
            let error = read(&headers, &Env::default(), None, false).unwrap_err();
            assert_eq!(error.violations()[0].field.to_lowercase(), name.as_str(), "{bad}");
        }
    }

    #[test]
    fn timeouts_have_at_most_eight_digits() {
        for timeout in
            [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(99), Duration::from_secs(86_400)]
        {
            assert_eq!(read_timeout(&write_timeout(timeout)), Some(timeout));
        }
        assert_eq!(write_timeout(Duration::MAX), "99999999S");
        for bad in ["", "m", "123456789m", "-1m", "1µ"] {
            assert_eq!(read_timeout(bad), None, "{bad}");
        }
    }
}
