//! The single entry of a system.
//!
//! A [`Gateway`] serves every contract of a [`banyan::System`] on one port, over gRPC and JSON, wherever the services
//! run. What may be called from outside, and by whom, stands in the contracts (`banyan.v1.access`); who calls is proven
//! by a bearer token, verified against keys that the system itself announces ([`Tokens`]). An [`Aggregate`] answers
//! one request from several services at once, in part if some of them fail. A [`Live`] route streams to a browser what a
//! method streams. Services that were written without contracts
//! are reached under the prefixes that their definitions announce ([`banyan::ServiceDef::router`]). `/openapi.json`
//! describes all of it but those, and `/errors/REASON` explains what a request was refused for. How often a client may ask
//! is configuration ([`banyan::GatewaySettings`]): each request of a contract, an aggregate or a mounted router is counted
//! once, after it is known who calls and before anything is done for him. Beside it, a [`Site`] serves the embedded pages of an
//! application that runs in the browser.

mod aggregate;
mod client;
mod gate;
mod gateway;
mod health;
mod limits;
mod live;
mod mount;
mod pages;
mod routes;
mod site;

pub use aggregate::{Aggregate, Part};
pub use gate::Tokens;
pub use gateway::{Gateway, GatewayOptions, GatewayParts};
pub use health::DRAINING;
pub use limits::RATE_LIMIT_EXCEEDED;
pub use live::Live;
pub use pages::is_platform_reason;
pub use site::Site;
