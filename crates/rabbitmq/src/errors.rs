//! RabbitMQ's errors as ours.

use banyan_core::{Code, Error, Reason};
use lapin::ErrorKind;

/// The server has no such virtual host, or the user may not enter it.
pub const RABBITMQ_VHOST_REFUSED: Reason = Reason::new("RABBITMQ_VHOST_REFUSED");
/// The server cannot keep streams.
pub const RABBITMQ_WITHOUT_STREAMS: Reason = Reason::new("RABBITMQ_WITHOUT_STREAMS");

/// The server has no use for a name any more, because it was killed while it made a stream of that name.
pub const RABBITMQ_NAME_SPOILED: Reason = Reason::new("RABBITMQ_NAME_SPOILED");

/// The server knows of a stream that does not run: it has just started, or it was killed while it made the stream.
pub const RABBITMQ_STREAM_DOWN: Reason = Reason::new("RABBITMQ_STREAM_DOWN");

/// AMQP 0-9-1 reply codes.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;
const INTERNAL_ERROR: u16 = 541;

/// Says why a connection could not be made.
pub(crate) fn not_connected(host: &str, error: lapin::Error) -> Error {
    match code(&error) {
        Some(ACCESS_REFUSED) => Error::unauthenticated(format!(
            "RabbitMQ at {host} does not accept the credentials (the user `guest` may only connect from the server itself)"
        )),
        Some(NOT_ALLOWED) => {
            let message = format!(
                "RabbitMQ at {host} refuses the virtual host: create it (rabbitmqctl add_vhost) and let the user in \
                 (rabbitmqctl set_permissions)"
            );
            Error::failed_precondition(RABBITMQ_VHOST_REFUSED, message).with_source(error)
        }
        _ => Error::unavailable(format!("RabbitMQ at {host} cannot be reached")).with_source(error),
    }
}

/// Says that `what` could not be done now; it may have happened.
pub(crate) fn unavailable(what: &str, error: lapin::Error) -> Error {
    match code(&error) {
        Some(ACCESS_REFUSED) => Error::permission_denied(format!(
            "RabbitMQ refused: {what}: {error}; the user needs configure, write and read permission for the names that \
             begin with the prefix, and write permission for the default exchange amq.default (rabbitmqctl set_permissions)"
        ))
        .with_source(error),
        Some(_) => Error::unavailable(format!("RabbitMQ refused: {what}: {error}")).with_source(error),
        None => Error::unavailable(format!("RabbitMQ did not answer: {what}")).with_source(error),
    }
}

/// Says why a stream could not be declared.
pub(crate) fn not_declared(stream: &str, error: lapin::Error) -> Error {
    if code(&error) == Some(PRECONDITION_FAILED) {
        let message = format!(
            "RabbitMQ cannot keep the stream {stream} as it is asked to: it needs RabbitMQ 3.9 or newer with the feature \
             flag stream_queue (rabbitmqctl enable_feature_flag all), and no other queue of that name"
        );
        return Error::failed_precondition(RABBITMQ_WITHOUT_STREAMS, message).with_source(error);
    }
    if code(&error) == Some(INTERNAL_ERROR) {
        let message = format!(
            "RabbitMQ has no use for the name {stream} any more: it was killed while it made a stream of that name; give the \
             system another name, or its streams another virtual host"
        );
        return Error::failed_precondition(RABBITMQ_NAME_SPOILED, message).with_source(error);
    }
    if code(&error) == Some(NOT_FOUND) && !is_no_queue(&error) {
        let message =
            format!("RabbitMQ knows of the stream {stream}, but does not run it: it is starting, or cannot");
        return Error::new(Code::Unavailable, RABBITMQ_STREAM_DOWN, message).with_source(error);
    }
    unavailable("declaring a stream", error)
}

/// Returns whether there is no such queue; a server that has just started says 404 of queues that are not ready, too.
pub(crate) fn is_no_queue(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            error.get_id() == NOT_FOUND && error.get_message().as_str().contains("no queue")
        }
        _ => false,
    }
}

fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Retry;
    use lapin::protocol::AMQPError;

    fn refusal(id: u16, text: &str) -> lapin::Error {
        ErrorKind::ProtocolError(AMQPError::from_id(id, text.into()).unwrap()).into()
    }

    #[test]
    fn a_refusal_tells_the_next_step() {
        let error = not_declared("s", refusal(ACCESS_REFUSED, "access to queue 's' in vhost '/' refused"));
        assert_eq!((error.code(), error.retry()), (Code::PermissionDenied, Retry::Never));
        assert!(error.message().contains("rabbitmqctl set_permissions"), "{error}");
        let error = not_declared("s", refusal(PRECONDITION_FAILED, "invalid arg 'x-queue-type'"));
        assert!(
            error.is(RABBITMQ_WITHOUT_STREAMS) && error.message().contains("enable_feature_flag"),
            "{error}"
        );
        let error = not_declared("s", refusal(INTERNAL_ERROR, "INTERNAL_ERROR"));
        assert!(error.is(RABBITMQ_NAME_SPOILED) && error.retry() == Retry::Never, "{error}");
        let error = not_connected("h", refusal(NOT_ALLOWED, "access to vhost 'v' refused"));
        assert!(error.is(RABBITMQ_VHOST_REFUSED) && error.message().contains("add_vhost"), "{error}");
    }

    #[test]
    fn a_queue_that_is_not_ready_is_not_absent() {
        assert!(is_no_queue(&refusal(NOT_FOUND, "NOT_FOUND - no queue 'q' in vhost '/'")));
        let starting = "NOT_FOUND - home node 'n' of durable queue 'q' in vhost '/' is down or inaccessible";
        assert!(!is_no_queue(&refusal(NOT_FOUND, starting)));
        let error = not_declared("s", refusal(NOT_FOUND, starting));
        assert!(error.is(RABBITMQ_STREAM_DOWN) && error.code() == Code::Unavailable, "{error}");
    }
}
