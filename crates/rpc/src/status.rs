//! An [`Error`] as `google.rpc.Status`, and back (<https://google.aip.dev/193>).

use banyan_core::{Blame, Code, Error, FieldViolation, Reason, Result, Retry};
use prost::Message;
use prost_types::Any;
use std::collections::HashMap;
use std::time::Duration;

/// A message is larger than the setting of the side that sends or receives it.
pub const MESSAGE_TOO_LARGE: Reason = Reason::new("MESSAGE_TOO_LARGE");

/// The domain of our reasons in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "banyan";

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<BadRequestViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequestViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// Writes what a client may see of `error`.
pub(crate) fn to_status(error: &Error) -> tonic::Status {
    let code = tonic::Code::from_i32(error.code() as i32);
    tonic::Status::with_details(code, error.message(), encode_details(error).into())
}

/// Reads the answer of a server, ours or a foreign one, or what happened on the way to it.
pub(crate) fn from_status(status: &tonic::Status) -> Error {
    // Only a failure of the transport has a source; an answer of the server was read from its headers.
    if let Some(source) = std::error::Error::source(status) {
        return match source.downcast_ref::<Error>() {
            Some(error) => error.clone(),
            None => broken(status.to_string()),
        };
    }
    let code = Code::from_wire(status.code() as i32);
    if code == Code::OutOfRange && status.message().contains("message length too large") {
        return too_large(status.message());
    }
    let details = RpcStatus::decode(status.details()).map(|status| status.details).unwrap_or_default();
    decode_details(code, status.message(), &details)
}

/// Says that the connection broke after the request went out: it may have been executed.
pub(crate) fn broken(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unavailable("the connection broke before the answer came").with_source(source)
}

/// # Errors
/// `MESSAGE_TOO_LARGE`.
pub(crate) fn check_size(bytes: usize, bytes_max: usize) -> Result<()> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(too_large(&format!("the message has {bytes} bytes, the limit is {bytes_max}")))
}

pub(crate) fn too_large(message: &str) -> Error {
    Error::new(Code::ResourceExhausted, MESSAGE_TOO_LARGE, message).with_retry(Retry::Never)
}

fn encode_details(error: &Error) -> Vec<u8> {
    let any = |type_url: &str, value: Vec<u8>| Any { type_url: type_url.to_owned(), value };
    let metadata = [("retry", retry_name(error.retry())), ("blame", blame_name(error.blame()))];
    let info = ErrorInfo {
        reason: error.reason().to_owned(),
        domain: DOMAIN.to_owned(),
        metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    };
    let mut details = vec![any(ERROR_INFO, info.encode_to_vec())];
    if let Some(after) = error.retry_after().and_then(|after| prost_types::Duration::try_from(after).ok()) {
        details.push(any(RETRY_INFO, RetryInfo { retry_delay: Some(after) }.encode_to_vec()));
    }
    if !error.violations().is_empty() {
        let violation = |v: &FieldViolation| BadRequestViolation {
            field: v.field.clone(),
            description: v.description.clone(),
        };
        let field_violations = error.violations().iter().map(violation).collect();
        details.push(any(BAD_REQUEST, BadRequest { field_violations }.encode_to_vec()));
    }
    RpcStatus { code: error.code() as i32, message: error.message().to_owned(), details }.encode_to_vec()
}

fn decode_details(code: Code, message: &str, details: &[Any]) -> Error {
    let info = find::<ErrorInfo>(details, ERROR_INFO);
    let reason = info.as_ref().map(|info| info.reason.clone()).filter(|reason| !reason.is_empty());
    let mut error = Error::from_wire(code, reason, message.to_owned());
    match info.filter(|info| info.domain == DOMAIN) {
        Some(info) => {
            let named = |key: &str| info.metadata.get(key).map(String::as_str);
            if let Some(retry) = named("retry").and_then(retry_of) {
                error = error.with_retry(retry);
            }
            if let Some(blame) = named("blame").and_then(blame_of) {
                error = error.with_blame(blame);
            }
        }
        // A foreign server does not tell whether it had begun.
        None if error.retry() == Retry::Safe => error = error.with_retry(Retry::IfIdempotent),
        None => {}
    }
    let retry_delay = find::<RetryInfo>(details, RETRY_INFO).and_then(|info| info.retry_delay);
    if let Some(after) = retry_delay.and_then(|delay| Duration::try_from(delay).ok()) {
        error = error.with_retry_after(after);
    }
    for violation in find::<BadRequest>(details, BAD_REQUEST).unwrap_or_default().field_violations {
        let (field, description) = (violation.field, violation.description);
        error = error.with_violation(FieldViolation { field, description });
    }
    error
}

fn find<T: Message + Default>(details: &[Any], type_url: &str) -> Option<T> {
    let detail = details.iter().find(|detail| detail.type_url == type_url)?;
    T::decode(&*detail.value).ok()
}

const RETRIES: [(Retry, &str); 3] =
    [(Retry::Never, "never"), (Retry::IfIdempotent, "if_idempotent"), (Retry::Safe, "safe")];

fn retry_name(retry: Retry) -> &'static str {
    RETRIES.iter().find(|row| row.0 == retry).map_or("never", |row| row.1)
}

fn retry_of(name: &str) -> Option<Retry> {
    RETRIES.iter().find(|row| row.1 == name).map(|row| row.0)
}

const BLAMES: [(Blame, &str); 3] =
    [(Blame::Caller, "caller"), (Blame::Service, "service"), (Blame::Dependency, "dependency")];

fn blame_name(blame: Blame) -> &'static str {
    BLAMES.iter().find(|row| row.0 == blame).map_or("service", |row| row.1)
}

fn blame_of(name: &str) -> Option<Blame> {
    BLAMES.iter().find(|row| row.1 == name).map(|row| row.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(error: &Error) -> String {
        let fields = (error.blame(), error.retry(), error.retry_after(), error.violations());
        format!("{error} {fields:?}")
    }

    #[test]
    fn an_error_survives_its_status() {
        for error in [
            Error::invalid("items[2].quantity", "must be at least 1"),
            Error::moving("orders"),
            Error::overloaded("full").with_retry_after(Duration::from_millis(1500)),
            Error::unavailable("no database").with_blame(Blame::Service).with_retry(Retry::Never),
            Error::failed_precondition(Reason::new("CARD_DECLINED"), "the card was declined ✗"),
        ] {
            let read = from_status(&to_status(&error));
            assert_eq!(shown(&read), shown(&error));
        }
    }

    #[test]
    fn a_source_stays_here() {
        let status = to_status(&Error::internal("password=hunter2"));
        assert!(!String::from_utf8_lossy(status.details()).contains("hunter2"));
    }

    #[test]
    fn a_foreign_status_gets_our_classes() {
        let error = from_status(&tonic::Status::resource_exhausted("slow down"));
        assert_eq!((error.code(), error.reason()), (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"));
        assert_eq!(error.retry(), Retry::IfIdempotent);
        let garbage = tonic::Status::with_details(tonic::Code::NotFound, "x", vec![255u8; 9].into());
        assert_eq!(from_status(&garbage).code(), Code::NotFound);
    }
}
