//! How a system opens an event log on a server.

use crate::{CAPABILITY_MISSING, Capabilities, Capability, EventLog, Retention};
use banyan_core::{BoxFuture, Check, Env, Finding, Result};
use std::sync::Arc;
use std::time::Duration;

/// Opens event logs on an engine that is a server.
pub trait LogProvider: Send + Sync + 'static {
    /// Returns the schemes of the URLs that this provider opens, for example `nats`.
    fn schemes(&self) -> &'static [&'static str];

    /// Checks what can be checked of `url` without reaching the server.
    ///
    /// # Errors
    /// What is wrong with it, without its password.
    fn check(&self, url: &str, options: LogOptions) -> Result<()> {
        let _ = (url, options);
        Ok(())
    }

    /// Connects to the log at `url`.
    ///
    /// # Errors
    /// [`banyan_core::Code::Unavailable`] if the server does not answer; [`banyan_core::Code::FailedPrecondition`] if it
    /// is none that can keep a log. No message and no source holds the URL's password.
    fn open<'a>(&'a self, url: &'a str, options: LogOptions) -> BoxFuture<'a, Result<OpenLog>>;

    /// Looks whether the log at `url` can be used as `asked`, and says what to do where it cannot. Changes nothing that
    /// stays. No finding holds the URL's password.
    fn examine<'a>(&'a self, url: &'a str, asked: LogExamination) -> BoxFuture<'a, Vec<Finding>> {
        let _ = (url, asked);
        let found = "cannot tell: this provider does not examine its server";
        Box::pin(std::future::ready(vec![Finding::unknown(Check::Reachable, "server", found)]))
    }
}

/// What a log is examined for.
#[derive(Clone, Debug)]
pub struct LogExamination {
    /// As the log would be opened.
    pub options: LogOptions,
    /// The guarantees that the configuration asks for.
    pub needs: Vec<Capability>,
    /// How long the whole may take; what is still asked then is dropped.
    pub limit: Duration,
}

impl LogExamination {
    /// Says whether a log that has `capabilities` has what is needed.
    pub fn guarantees(&self, capabilities: Capabilities) -> Finding {
        let subject = "events.needs";
        let names = |of: &[Capability]| of.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ");
        let missing = capabilities.missing(&self.needs);
        if missing.is_empty() {
            let found = match self.needs.as_slice() {
                [] => "nothing beyond what every log guarantees is asked for".to_owned(),
                some => format!("{} has {}", capabilities.provider(), names(some)),
            };
            return Finding::ok(Check::Guarantees, subject, found);
        }
        let found = format!("{} lacks {}", capabilities.provider(), names(&missing));
        let next = format!(
            "take it out of events.needs, or choose another log (docs/semantics.md; {})",
            CAPABILITY_MISSING.as_str()
        );
        Finding::fail(Check::Guarantees, subject, found, next)
    }
}

/// An open event log, with the way to close it.
pub struct OpenLog {
    log: Arc<dyn EventLog>,
    close: Box<dyn FnOnce(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl OpenLog {
    /// Wraps a log; `close` gets the time it may take.
    pub fn new(
        log: Arc<dyn EventLog>,
        close: impl FnOnce(Duration) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self { log, close: Box::new(close) }
    }

    pub fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    /// Leaves every group and lets go of the log, within `limit`: a process that ends without it holds its partitions until
    /// its sessions end.
    pub async fn close(self, limit: Duration) {
        (self.close)(limit).await;
    }
}

/// What a system asks of its event log, whoever keeps it.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The system's name: on a server that several systems share, everything of this one is named after it.
    pub system: String,
    /// The name by which the server knows this process.
    pub client: String,
    pub env: Env,
    /// Partitions of a topic that is made on first use.
    pub partitions_default: u32,
    /// What is kept of a topic that is made on first use.
    pub retention_default: Retention,
}
