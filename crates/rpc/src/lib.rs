//! Contracts at run time.
//!
//! A [`Service`] is the table of a contract service's handlers. A [`Directory`] says where each service lives: in this
//! process, behind endpoints, or nowhere at the moment. A [`Channel`] calls a service wherever it lives, with the same
//! errors, deadline, identity and retries; typed clients ([`Client`]) are thin and generated.

mod bounded;
mod call;
mod channel;
mod codec;
mod connection;
mod directory;
mod from_tonic;
mod gate;
mod http_service;
mod message;
mod metadata;
mod method;
mod options;
mod proto;
mod remote;
mod server;
mod service;
mod status;
mod streaming;
mod upload;

pub use banyan_transcoding::{Access, AggregateRoute, Document};
pub use call::SERVICE_UNPLACED;
pub use channel::{Channel, Client};
pub use directory::{Directory, Target};
pub use http_service::{BODY_BYTES_MAX, HttpChannel, http_contract, is_event_stream};
pub use method::{Idempotency, Kind, MethodInfo};
pub use options::{CallLimits, DirectoryOptions, Endpoint, PeerSecret};
pub use server::{
    Arrival, Edge, Fitness, METHOD_NOT_ALLOWED, Peer, ROUTE_NOT_FOUND, Server, ServerBuilder, ServerOptions,
    UNSUPPORTED_MEDIA_TYPE, contract_methods, problem,
};
pub use service::{MALFORMED_MESSAGE, Service, ServiceBuilder};
pub use status::MESSAGE_TOO_LARGE;
pub use streaming::{Sender, Streaming};
