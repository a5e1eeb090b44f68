//! The gateway: a server in front of every contract of a system.

use crate::aggregate::Aggregate;
use crate::gate::{Gate, Tokens};
use crate::health::{self, Health};
use crate::limits::{self, Limits};
use crate::live::Live;
use crate::mount::Mounted;
use crate::pages::{self, Pages};
use crate::routes::Routes;
use axum::Router;
use banyan::cache::RateLimitStore;
use banyan::{GatewaySettings, HealthSource, System};
use banyan_core::{Env, Error, Result, Tasks};
use banyan_rpc::{Access, Directory, Document, HttpChannel, Server, ServerOptions, http_contract};
use banyan_transcoding::Transcoder;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long requests may take to end when the gateway stops.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What a gateway does beyond the routes of the contracts.
#[derive(Clone, Default)]
pub struct GatewayOptions {
    /// What the OpenAPI document calls the system; the system's name if it is empty.
    pub title: String,
    /// What the OpenAPI document says of the system, in CommonMark; may be empty.
    pub description: String,
    /// The version of the system in the OpenAPI document; `1` if it is empty.
    pub version: String,
    /// Which bearer tokens prove a caller; without it nobody can sign in.
    pub tokens: Option<Tokens>,
    pub aggregates: Vec<Aggregate>,
    /// Streams of events for browsers.
    pub live: Vec<Live>,
    /// Routes that are no part of a contract, served as they are; not below `/errors` and `/health`.
    pub router: Option<Router>,
    /// Pages of the system's own reasons, in Markdown, by reason: served at `/errors/REASON` beside the platform's.
    pub pages: Vec<(&'static str, &'static str)>,
}

/// What a [`Gateway`] is made of.
pub struct GatewayParts {
    pub env: Env,
    pub system: System,
    /// The way to every service.
    pub directory: Directory,
    pub options: GatewayOptions,
    /// What the configuration says of the gateway.
    pub settings: GatewaySettings,
    /// Where requests under rate limits are counted; asked only if there are limits.
    pub counts: Arc<dyn RateLimitStore>,
    /// Who knows how the system is; without it the gateway is ready until it stops.
    pub health: Option<Arc<dyn HealthSource>>,
}

/// A running gateway.
pub struct Gateway {
    server: Server,
    gate: Arc<Gate>,
    health: Arc<Health>,
    /// How long it goes on after it has said that it is about to stop, in milliseconds.
    drain_delay_ms: AtomicU64,
    /// Ends streams that would not end by themselves.
    tasks: Tasks,
}

impl Gateway {
    /// Serves the system on 127.0.0.1:`port`; 0 takes a free one.
    ///
    /// # Errors
    /// If the port is taken, a contract is not described by the system's descriptors, they contradict each other, or the
    /// settings are wrong (see [`Gateway::check`]).
    pub async fn start(parts: GatewayParts, port: u16) -> Result<Self> {
        let GatewayParts { env, system, directory, options, settings, counts, health } = parts;
        let contracts: Vec<_> = contracts(&system).collect();
        let messages = Arc::new(Transcoder::with_access(system.descriptors(), &contracts)?);
        let document = document(&system, &options, &messages);
        let routes = Routes::new(&system, &options.aggregates, &messages);
        let limits = Limits::new(&settings, routes, counts, &env)?;
        let gate = Arc::new(Gate::new(options.tokens, limits, directory.clone(), env.clock.clone()));
        let untraced = health::UNTRACED;
        let server = ServerOptions { port, document, untraced, ..ServerOptions::default() };
        let health = Health::new(gate.clone(), health, &system);
        let mut builder = Server::builder(&env, server).merge(health.router()).fitness(health.clone());
        if has_pages(&system) {
            builder = builder.merge(Pages::new(&options.pages).router());
        }
        for aggregate in &options.aggregates {
            builder = builder.merge(aggregate.router(gate.clone(), directory.clone(), messages.clone()));
        }
        let tasks = Tasks::new();
        for live in &options.live {
            let router = live.router(gate.clone(), directory.clone(), messages.clone(), tasks.clone());
            builder = builder.merge(router);
        }
        for (service, mount) in system.services().iter().filter_map(|s| Some((s.name(), s.mount()?))) {
            let channel = HttpChannel::new(&directory, service, mount.prefix());
            let mounted = Mounted { gate: gate.clone(), channel, mount, tasks: tasks.clone() };
            builder = builder.merge(mounted.router());
        }
        if let Some(router) = options.router {
            builder = builder.merge(router);
        }
        for (contract, access) in contracts {
            let described = system.descriptors().iter().find_map(|d| {
                let exposed = builder.expose(contract, *d, directory.channel(contract), access);
                exposed.ok()
            });
            described.ok_or_else(|| {
                Error::invalid("contracts", format!("the system's descriptors do not describe {contract}"))
            })?;
        }
        let server = builder.edge(gate.clone()).bind().await?;
        let drain_delay_ms = AtomicU64::new(settings.drain_delay_ms);
        Ok(Self { server, gate, health, drain_delay_ms, tasks })
    }

    /// Checks the settings of a gateway before anything starts.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the key: a rate limit for a route that there is not, for example.
    pub fn check(system: &System, options: &GatewayOptions, settings: &GatewaySettings) -> Result<()> {
        let contracts: Vec<_> = contracts(system).collect();
        let messages = Transcoder::with_access(system.descriptors(), &contracts)?;
        limits::check(settings, &Routes::new(system, &options.aggregates, &messages))
    }

    /// Has other settings hold from the next request on; what was counted stays counted. If they are wrong, the present
    /// ones go on.
    ///
    /// # Errors
    /// Those of [`Gateway::check`].
    pub fn reconfigure(&self, settings: &GatewaySettings) -> Result<()> {
        settings.check()?;
        self.drain_delay_ms.store(settings.drain_delay_ms, Ordering::Relaxed);
        self.gate.limits().set(settings)
    }

    /// Returns the gateway's address, for example `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Says that it is not ready, goes on for as long as the settings say, accepts nothing more and waits for what is under
    /// way.
    pub async fn stop(self) {
        self.health.drain();
        self.server.announce_drain();
        tokio::time::sleep(Duration::from_millis(self.drain_delay_ms.load(Ordering::Relaxed))).await;
        self.tasks.stop();
        if let Err(error) = self.server.drain(DRAIN_MAX).await {
            tracing::warn!(?error, "requests were cut off when the gateway stopped");
        }
    }
}

/// Tells whether the pages of reasons are served: not if a service is mounted there.
fn has_pages(system: &System) -> bool {
    let mut mounts = system.services().iter().filter_map(|service| service.mount());
    !mounts.any(|mount| mount.prefix().starts_with(pages::PREFIX))
}

/// Makes the head of the OpenAPI document, and what it says of the gateway's own routes.
fn document(system: &System, options: &GatewayOptions, messages: &Transcoder) -> Document {
    let or = |text: &str, default: &str| if text.is_empty() { default } else { text }.to_owned();
    Document {
        title: or(&options.title, system.name()),
        description: options.description.clone(),
        version: or(&options.version, "1"),
        aggregates: options.aggregates.iter().map(Aggregate::describe).collect(),
        paths: {
            let live = options.live.iter().filter_map(|live| live.describe(messages));
            let pages = if has_pages(system) { Pages::describe() } else { Vec::new() };
            live.chain(pages).chain(Health::describe()).collect()
        },
    }
}

/// Returns the contracts that are described, and who may call the methods that do not say it themselves.
fn contracts(system: &System) -> impl Iterator<Item = (&'static str, Access)> {
    system.services().iter().flat_map(|service| {
        let router = service.mount().map(|_| http_contract(service.name()));
        let described = service.contracts().iter().filter(move |contract| Some(**contract) != router);
        described.map(|contract| (*contract, service.access_of(contract)))
    })
}
