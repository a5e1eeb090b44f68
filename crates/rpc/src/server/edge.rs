//! Who may call what from outside: the step between routing and dispatch.

use banyan_core::{ActiveSpan, BoxFuture, Context, Result};
use banyan_transcoding::Method;
use http::HeaderMap;
use std::net::IpAddr;

/// Decides about every call that enters through a [`crate::Server`], over gRPC and JSON alike.
pub trait Edge: Send + Sync + 'static {
    /// Returns the context the call is to have, usually `cx` with the identity that its headers prove.
    ///
    /// `cx` has what the headers say of deadline, trace and keys; its identity is anonymous unless the peer is a
    /// process of this system. Fails if the caller may not call the method. What is put into `told` is among the headers of
    /// the answer, whatever that is.
    fn authorize<'a>(
        &'a self,
        arrival: Arrival<'a>,
        cx: Context,
        told: &'a mut HeaderMap,
    ) -> BoxFuture<'a, Result<Context>>;
}

/// A call that is about to enter.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// The other end of its connection: the client, or a proxy before it.
    pub peer: IpAddr,
}

/// The other end of the connection of a request: what handlers of merged routers find in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// What is known of a request while it is answered.
pub(crate) struct Call {
    pub(crate) cx: Context,
    pub(crate) peer: IpAddr,
    /// Headers of the answer.
    pub(crate) told: HeaderMap,
    /// Its span, at the edge of the system.
    pub(crate) span: Option<ActiveSpan>,
}

impl Call {
    pub(crate) fn new(cx: Context, peer: IpAddr) -> Self {
        Self { cx, peer, told: HeaderMap::new(), span: None }
    }
}
