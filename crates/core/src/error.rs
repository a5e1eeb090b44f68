//! One error at every service boundary: whom to blame, whether to retry, and what the client may read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The result of a service call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The canonical status codes of gRPC, without `OK`
/// (<https://grpc.io/docs/guides/status-codes/>). The discriminants are the wire values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    const ALL: [(Code, &'static str, u16); 16] = [
        (Code::Cancelled, "CANCELLED", 499),
        (Code::Unknown, "UNKNOWN", 500),
        (Code::InvalidArgument, "INVALID_ARGUMENT", 400),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", 504),
        (Code::NotFound, "NOT_FOUND", 404),
        (Code::AlreadyExists, "ALREADY_EXISTS", 409),
        (Code::PermissionDenied, "PERMISSION_DENIED", 403),
        (Code::ResourceExhausted, "RESOURCE_EXHAUSTED", 429),
        (Code::FailedPrecondition, "FAILED_PRECONDITION", 400),
        (Code::Aborted, "ABORTED", 409),
        (Code::OutOfRange, "OUT_OF_RANGE", 400),
        (Code::Unimplemented, "UNIMPLEMENTED", 501),
        (Code::Internal, "INTERNAL", 500),
        (Code::Unavailable, "UNAVAILABLE", 503),
        (Code::DataLoss, "DATA_LOSS", 500),
        (Code::Unauthenticated, "UNAUTHENTICATED", 401),
    ];

    /// Returns the canonical name, for example `NOT_FOUND`.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize - 1].1
    }

    /// Returns the HTTP status that `google.rpc.Code` documents for this code.
    pub fn http_status(self) -> u16 {
        Self::ALL[self as usize - 1].2
    }

    /// Reads the gRPC wire value; what is not known is [`Code::Unknown`].
    pub fn from_wire(value: i32) -> Self {
        usize::try_from(value - 1).ok().and_then(|i| Self::ALL.get(i)).map_or(Code::Unknown, |row| row.0)
    }
}

/// A stable, documented reason: `UPPER_SNAKE_CASE`, one page each in `docs/errors/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reason(&'static str);

impl Reason {
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    pub const fn as_str(self) -> &'static str {
        self.0
    }

    pub const INVALID_FIELD: Reason = Reason::new("INVALID_FIELD");
    pub const DEADLINE_EXCEEDED: Reason = Reason::new("DEADLINE_EXCEEDED");
    pub const NOT_FOUND: Reason = Reason::new("NOT_FOUND");
    pub const ALREADY_EXISTS: Reason = Reason::new("ALREADY_EXISTS");
    pub const PERMISSION_DENIED: Reason = Reason::new("PERMISSION_DENIED");
    pub const UNAUTHENTICATED: Reason = Reason::new("UNAUTHENTICATED");
    pub const UNAVAILABLE: Reason = Reason::new("UNAVAILABLE");
    pub const OVERLOADED: Reason = Reason::new("OVERLOADED");
    pub const UNIMPLEMENTED: Reason = Reason::new("UNIMPLEMENTED");
    pub const CANCELLED: Reason = Reason::new("CANCELLED");
    pub const DATA_LOSS: Reason = Reason::new("DATA_LOSS");
    pub const INTERNAL: Reason = Reason::new("INTERNAL");
    /// The service is between two places; the call was not executed and is sent again by the channel.
    pub const SERVICE_MOVING: Reason = Reason::new("SERVICE_MOVING");
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller sent something it should not have.
    Caller,
    /// The service that answered.
    Service,
    /// Something the service depends on, or the way to it.
    Dependency,
}

/// Whether sending the same request again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The answer would be the same.
    Never,
    /// It may help, but the first request may have had its effect: only for idempotent requests.
    IfIdempotent,
    /// The request was certainly not executed: safe for every request.
    Safe,
}

/// A problem with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, for example `items[2].quantity`.
    pub field: String,
    /// What is wrong with it, for the client.
    pub description: String,
}

/// An error at a service boundary. Cheap to clone.
///
/// `Display` shows what a client may see. The source is for the log only and never leaves the process.
#[derive(Clone)]
pub struct Error(Arc<Fields>);

#[derive(Clone)]
struct Fields {
    code: Code,
    reason: std::borrow::Cow<'static, str>,
    blame: Blame,
    retry: Retry,
    retry_after: Option<Duration>,
    message: String,
    violations: Vec<FieldViolation>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error with the blame and retry class that `code` usually means.
    pub fn new(code: Code, reason: Reason, message: impl Into<String>) -> Self {
        let blame = match code {
            Code::Unavailable | Code::DeadlineExceeded => Blame::Dependency,
            Code::Internal | Code::Unknown | Code::DataLoss | Code::Unimplemented => Blame::Service,
            _ => Blame::Caller,
        };
        let retry = match code {
            Code::Unavailable | Code::Aborted | Code::DeadlineExceeded => Retry::IfIdempotent,
            Code::ResourceExhausted => Retry::Safe,
            _ => Retry::Never,
        };
        Self(Arc::new(Fields {
            code,
            reason: reason.0.into(),
            blame,
            retry,
            retry_after: None,
            message: message.into(),
            violations: Vec::new(),
            source: None,
        }))
    }

    /// Refuses a request because of `field`.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let violation = FieldViolation { field: field.into(), description: description.into() };
        let message = format!("{}: {}", violation.field, violation.description);
        Self::new(Code::InvalidArgument, Reason::INVALID_FIELD, message).with_violation(violation)
    }

    /// Says that `what` with this id does not exist (or is not the caller's to see).
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(Code::NotFound, Reason::NOT_FOUND, format!("there is no {what} {id:?}"))
    }

    pub fn already_exists(message: impl Into<String>) -> Self {
        Self::new(Code::AlreadyExists, Reason::ALREADY_EXISTS, message)
    }

    /// Refuses because of the state of things: the same request may work later, but not by itself.
    pub fn failed_precondition(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, reason, message)
    }

    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, Reason::UNAUTHENTICATED, message)
    }

    pub fn permission_denied(message: impl Into<String>) -> Self {
        Self::new(Code::PermissionDenied, Reason::PERMISSION_DENIED, message)
    }

    /// Refuses because a bound is reached; the request was not executed.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self::new(Code::ResourceExhausted, Reason::OVERLOADED, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, Reason::UNAVAILABLE, message)
    }

    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(Code::Unimplemented, Reason::UNIMPLEMENTED, message)
    }

    pub fn deadline_exceeded() -> Self {
        Self::new(
            Code::DeadlineExceeded,
            Reason::DEADLINE_EXCEEDED,
            "the deadline passed before the work was done",
        )
    }

    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(Code::Cancelled, Reason::CANCELLED, message)
    }

    /// Says that stored or received data cannot be what it claims to be.
    pub fn data_loss(message: impl Into<String>) -> Self {
        Self::new(Code::DataLoss, Reason::DATA_LOSS, message)
    }

    /// Wraps a fault of our own. The client reads only that one happened; `source` is for the log.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Code::Internal, Reason::INTERNAL, "an internal error happened").with_source(source)
    }

    /// Says that the service is moving between processes; the call was not executed.
    pub fn moving(service: &str) -> Self {
        Self::new(Code::Unavailable, Reason::SERVICE_MOVING, format!("service {service} is moving"))
            .with_retry(Retry::Safe)
    }

    /// Rebuilds an error that came over a wire. `reason` may be one this build does not know.
    pub fn from_wire(code: Code, reason: Option<String>, message: String) -> Self {
        let mut error = Self::new(code, Reason(""), message);
        error.edit(|f| f.reason = reason.map_or_else(|| code.name().into(), Into::into));
        error
    }

    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let source: Box<dyn std::error::Error + Send + Sync> = source.into();
        self.edit(|f| f.source = Some(source.into()));
        self
    }

    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.edit(|f| f.retry = retry);
        self
    }

    /// Says when to try again at the earliest.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.edit(|f| f.retry_after = Some(after));
        self
    }

    pub fn with_blame(mut self, blame: Blame) -> Self {
        self.edit(|f| f.blame = blame);
        self
    }

    /// Adds a problem with a field, for requests that have several.
    pub fn with_violation(mut self, violation: FieldViolation) -> Self {
        self.edit(|f| f.violations.push(violation));
        self
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Returns the stable reason, for example `INSUFFICIENT_STOCK`.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    pub fn is(&self, reason: Reason) -> bool {
        self.0.reason == reason.0
    }

    pub fn blame(&self) -> Blame {
        self.0.blame
    }

    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns what the client may read.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn violations(&self) -> &[FieldViolation] {
        &self.0.violations
    }

    fn edit(&mut self, change: impl FnOnce(&mut Fields)) {
        change(Arc::make_mut(&mut self.0));
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.0.code.name(), self.0.reason, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_their_wire_values() {
        for value in 1..=16 {
            assert_eq!(Code::from_wire(value) as i32, value);
        }
        assert_eq!(Code::from_wire(0), Code::Unknown);
        assert_eq!(Code::from_wire(99), Code::Unknown);
    }

    #[test]
    fn a_source_is_logged_but_never_shown() {
        let error = Error::internal("password=hunter2");
        assert!(!error.to_string().contains("hunter2"));
        assert!(format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn an_invalid_field_is_named() {
        let error = Error::invalid("items[2].quantity", "must be at least 1");
        assert_eq!(error.violations()[0].field, "items[2].quantity");
        assert_eq!(error.code().http_status(), 400);
    }
}
