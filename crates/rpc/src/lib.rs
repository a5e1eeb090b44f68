//! Contracts at run time.
//!
//! A [`Service`] is the table of a contract service's handlers. A [`Directory`] says where each service lives: in this
//! process, behind endpoints, or nowhere at the moment. A [`Channel`] calls a service wherever it lives, with the same
//! errors, deadline, identity and retries; typed clients ([`Client`]) are thin and generated.

mod channel;
mod directory;
mod gate;
mod message;
mod method;
mod service;
mod streaming;

pub use channel::{Channel, Client};
pub use directory::{Directory, Target};
pub use method::{Idempotency, Kind, MethodInfo};
pub use service::{Service, ServiceBuilder};
pub use streaming::{Sender, Streaming};
