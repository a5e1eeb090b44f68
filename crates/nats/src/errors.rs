//! NATS's errors as ours.

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{ConsumerErrorKind, LastRawMessageErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use banyan_core::{Error, Reason};

/// The server is older than what the event log needs.
pub const NATS_TOO_OLD: Reason = Reason::new("NATS_TOO_OLD");
/// The server runs without JetStream, or the account may not use it.
pub const NATS_WITHOUT_JETSTREAM: Reason = Reason::new("NATS_WITHOUT_JETSTREAM");

/// Says that `what` could not be done now; it may have happened.
pub(crate) fn unavailable(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    match error_code(&source) {
        Some(code) if is_full(code) => {
            Error::overloaded(format!("NATS has no room: {what}: {source}")).with_source(source)
        }
        Some(_) => Error::unavailable(format!("NATS refused: {what}: {source}")).with_source(source),
        None => Error::unavailable(format!("NATS did not answer: {what}")).with_source(source),
    }
}

/// Returns the server's own error code, if the server has answered at all.
pub(crate) fn error_code(error: &(dyn std::error::Error + 'static)) -> Option<ErrorCode> {
    let mut error = Some(error);
    while let Some(cause) = error {
        if let Some(found) = answer(cause) {
            return Some(found.error_code());
        }
        error = cause.source();
    }
    None
}

/// Finds the server's answer in an error: the client keeps it in the error itself or in its kind.
fn answer(error: &(dyn std::error::Error + 'static)) -> Option<jetstream::Error> {
    if let Some(found) = error.downcast_ref::<jetstream::Error>() {
        return Some(found.clone());
    }
    if let Some(CreateStreamErrorKind::JetStream(found)) = kind_of(error) {
        return Some(found);
    }
    if let Some(GetStreamErrorKind::JetStream(found)) = kind_of(error) {
        return Some(found);
    }
    if let Some(LastRawMessageErrorKind::JetStream(found)) = kind_of(error) {
        return Some(found);
    }
    if let Some(ConsumerErrorKind::JetStream(found)) = kind_of(error) {
        return Some(found);
    }
    None
}

fn kind_of<K>(error: &(dyn std::error::Error + 'static)) -> Option<K>
where
    K: Clone + std::fmt::Debug + std::fmt::Display + PartialEq + 'static,
{
    error.downcast_ref::<async_nats::error::Error<K>>().map(async_nats::error::Error::kind)
}

fn is_full(code: ErrorCode) -> bool {
    [
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
        ErrorCode::INSUFFICIENT_RESOURCES,
        ErrorCode::MEMORY_RESOURCES_EXCEEDED,
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::MAXIMUM_STREAMS_LIMIT,
    ]
    .contains(&code)
}
