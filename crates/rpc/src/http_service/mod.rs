//! An HTTP router as a service: `banyan.http.v1.HttpService` (`proto/banyan/http/v1/http.proto`).
//!
//! The service's side is [`Service::from_router`](crate::Service::from_router), the caller's, for a gateway, is
//! [`HttpChannel`]. A request goes with its whole body; a response comes in pieces, so that a stream of events flows.

mod channel;
mod headers;
mod router;
#[cfg(test)]
mod tests;
mod wire;

pub use channel::{BODY_BYTES_MAX, HttpChannel};
pub use headers::is_event_stream;

use crate::{Idempotency, Kind, MethodInfo};
use parking_lot::Mutex;
use std::collections::HashMap;

/// The contract of one service's router. Made at run time and kept for ever, once for each service of a system.
struct HttpContract {
    name: &'static str,
    handle: MethodInfo,
    read: MethodInfo,
}

static CONTRACTS: Mutex<Option<HashMap<String, &'static HttpContract>>> = Mutex::new(None);

/// Returns the name under which directories and servers know the router of the service `service`.
///
/// # Panics
/// If the name of the service is not made of letters, digits, `-`, `_` and `.`: a mistake in the program.
pub fn http_contract(service: &str) -> &'static str {
    contract(service).name
}

fn contract(service: &str) -> &'static HttpContract {
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    assert!(!service.is_empty() && service.bytes().all(valid), "{service:?} cannot name a router's service");
    let mut contracts = CONTRACTS.lock();
    let contracts = contracts.get_or_insert_default();
    if let Some(contract) = contracts.get(service) {
        return contract;
    }
    let name: &'static str = format!("http:{service}").leak();
    let method = |method: &'static str, idempotency| MethodInfo {
        service: name,
        name: method,
        path: format!("/{name}/{method}").leak(),
        kind: Kind::ServerStreaming,
        idempotency,
    };
    let contract: &'static HttpContract = Box::leak(Box::new(HttpContract {
        name,
        handle: method("Handle", Idempotency::Unknown),
        read: method("Read", Idempotency::NoSideEffects),
    }));
    contracts.insert(service.to_owned(), contract);
    contract
}

impl HttpContract {
    /// Returns the method for a request: what only reads may be sent twice.
    fn method(&'static self, http: &http::Method) -> &'static MethodInfo {
        match *http {
            http::Method::GET | http::Method::HEAD => &self.read,
            _ => &self.handle,
        }
    }
}
