//! How the parts of a system are: what a probe is told, and how it is found out in one process.
//!
//! The rules are those of `docs/specs/health.md`.

mod checks;

pub(crate) use checks::{CHECKS_MAX, HealthCheck, Probes, ask};

use banyan_core::{BoxFuture, Code, Error, Reason, Result};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A service that requests need serves nowhere, or cannot work.
pub const NOT_READY: Reason = Reason::new("NOT_READY");

/// When what is not ready should be asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How a part of a system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    Ok,
    /// It works, and something that it can do without does not.
    Degraded,
    /// It does not work.
    Failed,
    /// Nobody could say.
    Unknown,
}

/// A part of a system, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthNode {
    pub name: String,
    /// What kind of part: `system`, `process`, `service`, `instance`, `store`, `outbox`, `events`, `group`, `cache`, `call` or
    /// `check`.
    pub kind: String,
    pub status: HealthStatus,
    /// How long it took to find out, in milliseconds; absent where nothing was asked.
    pub latency_ms: Option<f64>,
    /// When it was found out, in milliseconds since the Unix epoch.
    pub checked_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<HealthNode>,
}

/// What a service that runs in this process depends on, as this process sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceHealth {
    pub service: String,
    /// What the service has for itself: its store, its outbox, its cache, what it declared to its [`crate::Host`].
    pub checks: Vec<HealthNode>,
    /// The consumer groups that it belongs to.
    pub groups: Vec<String>,
    /// The contract services that it calls.
    pub calls: Vec<String>,
}

/// Who knows how a system is.
pub trait HealthSource: Send + Sync + 'static {
    /// Tells whether requests can be served, from what is known already: nobody is asked, and it does not wait.
    ///
    /// # Errors
    /// `NOT_READY`, with what is missing.
    fn ready(&self) -> Result<()>;

    /// Returns how the system is, all of it. However many ask at once, it is found out once, in bounded time, and the answer
    /// serves everybody for a moment.
    fn health(&self) -> BoxFuture<'_, Arc<HealthNode>>;
}

/// Says that something is not ready.
pub fn not_ready(message: String) -> Error {
    Error::new(Code::Unavailable, NOT_READY, message).with_retry_after(ASK_AGAIN)
}

impl HealthStatus {
    pub fn name(self) -> &'static str {
        match self {
            HealthStatus::Ok => "ok",
            HealthStatus::Degraded => "degraded",
            HealthStatus::Failed => "failed",
            HealthStatus::Unknown => "unknown",
        }
    }

    /// Reads a name; what is not known is `Unknown`.
    pub fn from_name(name: &str) -> Self {
        let all = [HealthStatus::Ok, HealthStatus::Degraded, HealthStatus::Failed];
        all.into_iter().find(|status| status.name() == name).unwrap_or(HealthStatus::Unknown)
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl HealthNode {
    /// Makes a node of which nothing was asked.
    pub fn new(name: impl Into<String>, kind: &str, status: HealthStatus, checked_ms: u64) -> Self {
        let (name, kind, latency_ms, message) = (name.into(), kind.to_owned(), None, None);
        Self { name, kind, status, latency_ms, checked_ms, message, children: Vec::new() }
    }

    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into()).filter(|message| !message.is_empty());
        self
    }

    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        // Microseconds are fine enough to be read.
        self.latency_ms = Some(latency.as_micros() as f64 / 1000.0);
        self
    }

    #[must_use]
    pub fn with_children(mut self, children: Vec<HealthNode>) -> Self {
        self.children = children;
        self
    }

    /// Tells whether the service `name` of this system can work: whether it is ok or degraded.
    ///
    /// # Errors
    /// `NOT_READY`; also if nobody could say.
    pub fn service_ready(&self, name: &str) -> Result<()> {
        let found = self.children.iter().find(|node| node.kind == "service" && node.name == name);
        match found.map_or(HealthStatus::Unknown, |node| node.status) {
            HealthStatus::Ok | HealthStatus::Degraded => Ok(()),
            status => Err(not_ready(format!("the service {name} is {status}; /health/detailed says why"))),
        }
    }

    /// Tells how a service is that has these parts in one process: it fails with its store, and can do without the rest.
    pub fn of_service(parts: &[HealthNode]) -> HealthStatus {
        let failed = |part: &HealthNode| part.kind == "store" && part.status == HealthStatus::Failed;
        match () {
            () if parts.iter().any(failed) => HealthStatus::Failed,
            () if parts.iter().all(|part| part.status == HealthStatus::Ok) => HealthStatus::Ok,
            () => HealthStatus::Degraded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: &str, status: HealthStatus) -> HealthNode {
        HealthNode::new("x", kind, status, 1)
    }

    #[test]
    fn a_service_fails_with_its_store_alone() {
        use HealthStatus::{Degraded, Failed, Ok, Unknown};
        let of = |parts: &[(&str, HealthStatus)]| {
            HealthNode::of_service(
                &parts.iter().map(|(kind, status)| node(kind, *status)).collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&[]), Ok);
        assert_eq!(of(&[("store", Ok), ("cache", Ok)]), Ok);
        assert_eq!(of(&[("store", Ok), ("check", Failed)]), Degraded);
        assert_eq!(of(&[("store", Unknown)]), Degraded);
        assert_eq!(of(&[("store", Failed), ("cache", Ok)]), Failed);
    }

    #[test]
    fn a_service_is_ready_that_works_somehow() {
        use HealthStatus::{Degraded, Failed, Ok, Unknown};
        for (status, ready) in [(Ok, true), (Degraded, true), (Failed, false), (Unknown, false)] {
            let system =
                node("system", status).with_children(vec![node("call", Ok), node("service", status)]);
            assert_eq!(system.service_ready("x").is_ok(), ready, "{status}");
            let refused = system.service_ready("y").unwrap_err();
            assert!(refused.is(NOT_READY) && refused.message().starts_with("the service y is unknown"));
        }
    }

    #[test]
    fn a_node_is_written_as_it_is_read() {
        for status in [HealthStatus::Ok, HealthStatus::Degraded, HealthStatus::Failed, HealthStatus::Unknown]
        {
            assert_eq!(HealthStatus::from_name(status.name()), status);
        }
        let leaf = node("store", HealthStatus::Ok).with_latency(Duration::from_micros(1_250));
        let text = serde_json::to_value(node("service", HealthStatus::Degraded).with_children(vec![leaf]));
        let expected = serde_json::json!({
            "name": "x", "kind": "service", "status": "degraded", "latency_ms": null, "checked_ms": 1,
            "children": [{"name": "x", "kind": "store", "status": "ok", "latency_ms": 1.25, "checked_ms": 1}],
        });
        assert_eq!(text.unwrap(), expected);
    }
}
