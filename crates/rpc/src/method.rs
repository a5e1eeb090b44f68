//! What a channel and a server must know about a method, beside its messages.

/// A method of a contract service. Generated as a constant next to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MethodInfo {
    /// Full name of the contract service, for example `shop.orders.v1.OrderService`.
    pub service: &'static str,
    /// Name of the method, for example `PlaceOrder`.
    pub name: &'static str,
    /// The gRPC path, `/service/name`.
    pub path: &'static str,
    pub kind: Kind,
    pub idempotency: Idempotency,
}

/// Which sides of a method are streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Unary,
    ServerStreaming,
    ClientStreaming,
    Bidirectional,
}

/// What executing a method twice means; the contract's `idempotency_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// Nothing is promised: a second execution may have a second effect.
    Unknown,
    /// It only reads.
    NoSideEffects,
    /// A second execution of the same request has no further effect.
    Idempotent,
}

impl Kind {
    /// Tells whether the request is a stream.
    pub fn streams_request(self) -> bool {
        matches!(self, Kind::ClientStreaming | Kind::Bidirectional)
    }

    /// Tells whether the response is a stream.
    pub fn streams_response(self) -> bool {
        matches!(self, Kind::ServerStreaming | Kind::Bidirectional)
    }
}
