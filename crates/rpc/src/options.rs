//! The settings of calls, and the secret by which the processes of one system know each other.

use banyan_core::{Backoff, Error, Result};
use banyan_resilience::RetryBudgetOptions;
use http::HeaderValue;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The largest message, in bytes, that a client or a server takes unless told otherwise.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// How the channels of a [`crate::Directory`] call.
#[derive(Clone, Debug)]
pub struct DirectoryOptions {
    /// The bounds of calls at first; see [`crate::Directory::set_limits`].
    pub limits: CallLimits,
    /// Largest message in bytes, sent or received, when the service is remote.
    pub message_bytes_max: usize,
    /// HTTP/2 connections to each endpoint.
    pub connections_per_endpoint: usize,
    pub connect_timeout: Duration,
    /// How long an endpoint that refused a connection is passed over while others are there.
    pub endpoint_rest: Duration,
    /// How often an idle connection is probed; one that does not answer in the same time is closed.
    pub keepalive: Duration,
    /// Proves to servers of the same system that the identity of a call can be trusted.
    pub peer_secret: Option<PeerSecret>,
}

/// Those bounds of calls that may change while the system works.
#[derive(Clone, Debug, PartialEq)]
pub struct CallLimits {
    /// Deadline of a unary call whose context has none.
    pub timeout_default: Duration,
    /// Attempts of one call and the waits between them.
    pub attempts: Backoff,
    /// Bounds the retries of each service's callers together.
    pub retry_budget: RetryBudgetOptions,
    /// Calls that may wait for one service to get a place; more are refused with `OVERLOADED`.
    pub waiting_calls_max: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        let initial = Duration::from_millis(20);
        Self {
            timeout_default: Duration::from_secs(10),
            attempts: Backoff { initial, max: Duration::from_secs(1), multiplier: 2.0, attempts_max: 5 },
            retry_budget: RetryBudgetOptions::default(),
            waiting_calls_max: 10_000,
        }
    }
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self {
            limits: CallLimits::default(),
            message_bytes_max: MESSAGE_BYTES_MAX,
            connections_per_endpoint: 2,
            connect_timeout: Duration::from_secs(1),
            endpoint_rest: Duration::from_secs(1),
            keepalive: Duration::from_secs(10),
            peer_secret: None,
        }
    }
}

/// Where a process serves contract services over gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    authority: Arc<str>,
    external: bool,
}

impl Endpoint {
    /// Names an endpoint of this system: `host:port`.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] if it is not that.
    pub fn new(authority: &str) -> Result<Self> {
        let parsed = authority.parse::<http::uri::Authority>().ok();
        if parsed.is_none_or(|a| a.port_u16().is_none() || a.as_str().contains('@')) {
            return Err(Error::invalid("endpoint", format!("{authority:?} is not host:port")));
        }
        Ok(Self { authority: authority.into(), external: false })
    }

    /// Marks an endpoint outside this system: it is sent neither the peer secret nor the identity of the caller.
    pub fn external(self) -> Self {
        Self { external: true, ..self }
    }

    /// Returns `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub fn is_external(&self) -> bool {
        self.external
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { authority: address.to_string().into(), external: false }
    }
}

/// What the processes of one system share, and nobody else has. Cheap to clone.
#[derive(Clone)]
pub struct PeerSecret(HeaderValue);

impl PeerSecret {
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] if it is empty or not visible ASCII.
    pub fn new(secret: &str) -> Result<Self> {
        let visible = !secret.is_empty() && secret.bytes().all(|b| b.is_ascii_graphic());
        let value = HeaderValue::from_str(secret).ok().filter(|_| visible);
        let mut value = value
            .ok_or_else(|| Error::invalid("peer_secret", "must be one or more visible ASCII characters"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Compares in a time that depends on the lengths alone.
    pub(crate) fn matches(&self, presented: &[u8]) -> bool {
        let secret = self.0.as_bytes();
        let difference =
            secret.iter().zip(presented).fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
        secret.len() == presented.len() && difference == 0
    }
}

impl std::fmt::Debug for PeerSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_itself_only_and_is_not_shown() {
        let secret = PeerSecret::new("a-long-secret").unwrap();
        assert!(secret.matches(b"a-long-secret"));
        for other in [&b""[..], b"a-long-secre", b"a-long-secret-", b"A-long-secret"] {
            assert!(!secret.matches(other));
        }
        assert!(!format!("{secret:?}").contains("long"));
        assert!(PeerSecret::new("").is_err() && PeerSecret::new("a\nb").is_err());
    }

    #[test]
    fn an_endpoint_has_a_port() {
        assert_eq!(Endpoint::new("localhost:80").unwrap().authority(), "localhost:80");
        for bad in ["", "localhost", "http://localhost:80", "user@localhost:80"] {
            assert!(Endpoint::new(bad).is_err(), "{bad}");
        }
    }
}
