//! The gateway: a server in front of every contract of a system.

use crate::aggregate::Aggregate;
use crate::gate::{Gate, Tokens};
use axum::Router;
use banyan::System;
use banyan_core::{Env, Error, Result};
use banyan_rpc::{Directory, Server, ServerOptions};
use banyan_transcoding::Transcoder;
use std::sync::Arc;
use std::time::Duration;

/// How long requests may take to end when the gateway stops.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What a gateway does beyond the routes of the contracts.
#[derive(Clone, Default)]
pub struct GatewayOptions {
    /// Which bearer tokens prove a caller; without it nobody can sign in.
    pub tokens: Option<Tokens>,
    pub aggregates: Vec<Aggregate>,
    /// Routes that are no part of a contract, served as they are.
    pub router: Option<Router>,
}

/// What a [`Gateway`] is made of.
pub struct GatewayParts {
    pub env: Env,
    pub system: System,
    /// The way to every service.
    pub directory: Directory,
    pub options: GatewayOptions,
}

/// A running gateway.
pub struct Gateway {
    server: Server,
}

impl Gateway {
    /// Serves the system on 127.0.0.1:`port`; 0 takes a free one.
    ///
    /// # Errors
    /// If the port is taken or a contract is not described by the system's descriptors.
    pub async fn start(parts: GatewayParts, port: u16) -> Result<Self> {
        let GatewayParts { env, system, directory, options } = parts;
        let gate = Arc::new(Gate::new(options.tokens, directory.clone(), env.clock.clone()));
        let mut builder = Server::builder(&env, ServerOptions { port, ..ServerOptions::default() });
        if !options.aggregates.is_empty() {
            let messages = Arc::new(Transcoder::new(system.descriptors(), &contracts(&system))?);
            for aggregate in &options.aggregates {
                builder = builder.merge(aggregate.router(gate.clone(), directory.clone(), messages.clone()));
            }
        }
        if let Some(router) = options.router {
            builder = builder.merge(router);
        }
        let server = builder.edge(gate).bind().await?;
        for contract in contracts(&system) {
            let described = system.descriptors().iter().find_map(|d| {
                let exposed = server.expose(contract, *d, directory.channel(contract), banyan_rpc::Access::Internal);
                exposed.ok()
            });
            described.ok_or_else(|| {
                Error::invalid("contracts", format!("the system's descriptors do not describe {contract}"))
            })?;
        }
        Ok(Self { server })
    }

    /// Returns the gateway's address, for example `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Accepts nothing more and waits for what is under way.
    pub async fn stop(self) {
        if let Err(error) = self.server.drain(DRAIN_MAX).await {
            tracing::warn!(?error, "requests were cut off when the gateway stopped");
        }
    }
}

fn contracts(system: &System) -> Vec<&'static str> {
    system.services().iter().flat_map(|s| s.contracts().iter().copied()).collect()
}
