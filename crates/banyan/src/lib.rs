//! What a service author imports.
//!
//! A service is a contract, a store and a function that wires them:
//!
//! ```ignore
//! pub fn service() -> ServiceDef {
//!     ServiceDef::new("orders", [OrderServiceClient::SERVICE], |host| async move {
//!         let store = host.store(MIGRATIONS, STATEMENTS).await?;
//!         let orders = Arc::new(Orders { store, inventory: host.client() });
//!         host.serve(order_service(orders.clone()));
//!         host.subscribe::<ShipmentDelivered, _>(orders);
//!         Ok(())
//!     })
//! }
//! ```
//!
//! A [`System`] is a list of such services. A [`Process`] runs any part of a system: it gives each service a [`Host`],
//! starts what the service declared (handlers, subscriptions, sagas, timers, the outbox relay) and can stop it again
//! without losing a call. Where a service runs is configuration ([`Config`]); the service cannot tell.

mod config;
mod doctor;
mod engines;
mod health;
mod host;
mod instance;
mod invalidation;
mod live;
mod mount;
mod process;
mod relay;
mod schema;
mod service;

pub use banyan_rpc::Access;
pub use config::{
    Apart, CONFIG_INVALID, Caches, Calls, Central, Config, ConsoleRole, ConsoleSettings, ConsoleUser,
    Difference, Entry, Events, GatewaySettings, Handover, InvariantSettings, Layers, Limits, Logging, Origin,
    Per, Placement, ROOT_PROCESS, RateLimit, SECRET_SOURCE_UNKNOWN, Sources, StoreAway, Supervision, Takes,
    suggestion, valid_process_name,
};
pub use doctor::{DoctorOptions, EngineReport, Report};
pub use engines::ENGINE_UNKNOWN;
pub use health::{HealthNode, HealthSource, HealthStatus, NOT_READY, ServiceHealth, not_ready};
pub use host::Host;
pub use live::Live;
pub use mount::Mount;
pub use process::{Process, ProcessParts};
pub use schema::StoreSchema;
pub use service::{ServiceDef, Subscriber, System};

pub use banyan_cache as cache;
pub use banyan_core as core;
pub use banyan_event_log as event_log;
pub use banyan_resilience as resilience;
pub use banyan_rpc as rpc;
pub use banyan_saga as saga;
pub use banyan_store as store;

/// The names that nearly every service uses.
pub mod prelude {
    pub use crate::{Access, Host, Live, ServiceDef, Subscriber, System};
    pub use banyan_cache::{Cache, CacheOptions};
    pub use banyan_core::{
        Backoff, Code, Context, Env, Error, Event, Identity, IdentityKind, Payload, Reason, Result,
    };
    pub use banyan_rpc::{Client, Streaming};
    pub use banyan_saga::{Outcome, Saga, Sagas, Workflow};
    pub use banyan_store::{Migration, Query, Row, Statement, Store, Tx, Value, params, statements};
    pub use std::sync::Arc;
    pub use std::time::Duration;
}
