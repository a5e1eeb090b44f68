//! How a system opens an event log on a server.

use crate::{EventLog, Retention};
use banyan_core::{BoxFuture, Env, Result};
use std::sync::Arc;

/// Opens event logs on an engine that is a server.
pub trait LogProvider: Send + Sync + 'static {
    /// Returns the schemes of the URLs that this provider opens, for example `nats`.
    fn schemes(&self) -> &'static [&'static str];

    /// Connects to the log at `url`.
    ///
    /// # Errors
    /// [`banyan_core::Code::Unavailable`] if the server does not answer; [`banyan_core::Code::FailedPrecondition`] if it
    /// is none that can keep a log. No message and no source holds the URL's password.
    fn open<'a>(&'a self, url: &'a str, options: LogOptions) -> BoxFuture<'a, Result<Arc<dyn EventLog>>>;
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
