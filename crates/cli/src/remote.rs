//! The way from a command line to the system that runs.

use banyan_control::contract::ControlServiceClient;
use banyan_control::root::client_at;
use banyan_control::{RemoteLog, RunFile};
use banyan_core::{Context, Env, Identity, Result};
use std::path::Path;
use std::time::Duration;

/// How long an operator's call may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running system, as a command line reaches it.
pub struct Remote {
    env: Env,
    run: RunFile,
}

impl Remote {
    /// Finds the system that runs with the folder `data`.
    ///
    /// # Errors
    /// If there is none; the message says what to do.
    pub fn find(data: &Path) -> Result<Self> {
        Ok(Self { env: Env::default(), run: RunFile::read(data)? })
    }

    /// Returns the gateway's address.
    pub fn url(&self) -> &str {
        &self.run.url
    }

    /// Starts an operator's work, bounded in time.
    pub fn context(&self) -> Context {
        Context::new(&self.env, Identity::service("operator")).with_timeout(TIMEOUT)
    }

    /// Returns the client of the system's control contract.
    ///
    /// # Errors
    /// If the run file is damaged.
    pub fn control(&self) -> Result<ControlServiceClient> {
        client_at(&self.env, &self.run.peer_secret, &self.run.control_address)
    }

    /// Returns the system's event log.
    ///
    /// # Errors
    /// If the run file is damaged.
    pub fn log(&self) -> Result<RemoteLog> {
        let client = client_at(&self.env, &self.run.peer_secret, &self.run.control_address)?;
        Ok(RemoteLog::new(client, "operator", self.env.clone()))
    }
}
