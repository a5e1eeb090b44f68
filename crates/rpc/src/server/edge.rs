//! Who may call what from outside: the step between routing and dispatch.

use banyan_core::{BoxFuture, Context, Result};
use banyan_transcoding::Method;
use http::HeaderMap;

/// Decides about every call that enters through a [`crate::Server`], over gRPC and JSON alike.
pub trait Edge: Send + Sync + 'static {
    /// Returns the context the call is to have, usually `cx` with the identity that `headers` prove.
    ///
    /// `cx` has what the headers say of deadline, trace and keys; its identity is anonymous unless the peer is a
    /// process of this system. Fails if the caller may not call `method`.
    fn authorize<'a>(
        &'a self,
        method: &'a Method,
        headers: &'a HeaderMap,
        cx: Context,
    ) -> BoxFuture<'a, Result<Context>>;
}
