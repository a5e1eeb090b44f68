//! The console: what a running system does, and what operators do to it, in a browser.
//!
//! A [`Console`] serves the pages of `web/` and the endpoints that they ask, on a port of its own. It has the powers of the
//! command line and no others: it goes through the contracts of `banyan.control.v1`, the event log's traits and the local
//! memory, which [`ConsoleParts`] holds.
//!
//! It listens on loopback unless `[console]` says otherwise ([`banyan::ConsoleSettings`]), and answers only requests that
//! name it as one of its own: a page of somebody else in an operator's browser cannot reach it under another name.

mod answer;
mod app;
pub mod audit;
mod contracts;
mod dead_letters;
mod door;
mod events;
mod health;
mod listener;
mod live;
mod logs;
mod map;
mod measured;
mod router;
mod runs;
mod sagas;
mod searches;
mod services;
mod sessions;
mod streams;
mod system;
mod topics;
mod traces;

use crate::app::App;

use banyan::event_log::EventLog;
use banyan::{ConsoleSettings, System};
use banyan_control::contract::ControlServiceClient;
use banyan_control::root::Root;
use banyan_core::{Env, Error, Result, Tasks};
use banyan_rpc::Directory;
use banyan_telemetry::Memory;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long requests may take to end when the console stops.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// What a console shows and works on.
#[derive(Clone)]
pub struct ConsoleParts {
    pub env: Env,
    pub system: System,
    pub settings: ConsoleSettings,
    /// The data folder.
    pub data: PathBuf,
    /// Where the gateway is, a URL.
    pub gateway: String,
    pub control: ControlServiceClient,
    pub log: Arc<dyn EventLog>,
    /// The way to every service, for calls that an operator makes.
    pub directory: Directory,
    /// Absent if nothing is recorded.
    pub memory: Option<Memory>,
}

/// A running console.
pub struct Console {
    url: String,
    tasks: Tasks,
}

impl ConsoleParts {
    /// Takes them from the root process, whose gateway is at the URL `gateway`.
    ///
    /// # Errors
    /// If the control contract cannot be reached.
    pub fn of(root: &Root, gateway: &str) -> Result<Self> {
        let process = root.process();
        let config = process.config();
        Ok(Self {
            env: process.env().for_service("console"),
            system: process.system().clone(),
            settings: config.console.clone(),
            data: config.data.clone(),
            gateway: gateway.to_owned(),
            control: root.control()?,
            log: process.log(),
            directory: process.directory().clone(),
            memory: root.memory().cloned(),
        })
    }
}

impl Console {
    /// Starts a console on `port` of the address that its settings name (0: any free port).
    ///
    /// # Errors
    /// [`banyan_core::Code::Unavailable`] if the port is taken; [`banyan_core::Code::InvalidArgument`] for a certificate that
    /// cannot be read.
    pub async fn start(parts: ConsoleParts, port: u16) -> Result<Self> {
        let settings = parts.settings.clone();
        let wanted = SocketAddr::new(settings.listen, port);
        let tasks = Tasks::new();
        let app = App::new(parts, &tasks)?;
        let listener = listener::bind(wanted, &settings, &tasks).await?;
        tasks.spawn_until_stopped("console live", live::follow(app.clone()));
        let address = listener.address();
        let scheme = if settings.tls_cert.is_some() { "https" } else { "http" };
        let router = router::router(app);
        let stopping = tasks.clone();
        tasks.spawn("console", async move {
            let stopped = async move { stopping.stopping().await };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::warn!(?error, "the console ended");
            }
        });
        Ok(Self { url: format!("{scheme}://{address}"), tasks })
    }

    /// Returns where it listens, a URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it: streams end at once, other requests have a moment.
    pub async fn stop(self) {
        if self.tasks.drain(DRAIN_MAX).await.is_err() {
            tracing::warn!("requests to the console were cut off");
        }
    }
}

/// Says why an address cannot be listened on.
fn taken(address: SocketAddr, error: std::io::Error) -> Error {
    Error::unavailable(format!("the console cannot listen on {address}")).with_source(error)
}
