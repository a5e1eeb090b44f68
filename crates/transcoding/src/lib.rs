//! Speaks HTTP/JSON for a protobuf contract.
//!
//! A [`Transcoder`] is built once from encoded file descriptor sets and the names of the services to expose. From the
//! `google.api.http` option of their methods it [routes](Transcoder::route) an HTTP method and path,
//! [decodes](Transcoder::decode_request) path, query and JSON body into one protobuf message,
//! [encodes](Transcoder::encode_response) the answer as canonical proto3 JSON, and
//! [describes](Transcoder::openapi) it all as an OpenAPI 3.1 document. Nothing is generated and nothing does I/O.
//!
//! ```
//! # fn main() -> banyan_core::Result<()> {
//! use banyan_transcoding::{RouteMatch, Transcoder};
//!
//! let transcoder = Transcoder::new(&[], &[])?;
//! assert!(matches!(transcoder.route("GET", "/v1/orders/7"), RouteMatch::NotFound));
//! # Ok(())
//! # }
//! ```
//!
//! A request that does not fit its contract fails with `InvalidArgument` and names every field that is wrong, for example
//! `items[2].quantity`, in the client's spelling; [`Transcoder::respell`] does the same for what services refuse. No
//! input panics.

mod behavior;
mod binding;
mod descriptors;
mod json;
mod lenient;
mod method;
mod nesting;
mod openapi;
mod percent;
mod query;
mod redact;
mod routes;
mod spelling;
mod template;
mod text;
mod tracked;
mod transcoder;
mod violations;

pub use method::{Access, Idempotency, Method};
pub use openapi::{AggregateRoute, Document};
pub use routes::{Match, RouteMatch};
pub use transcoder::Transcoder;
