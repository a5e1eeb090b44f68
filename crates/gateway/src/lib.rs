//! The single entry of a system.
//!
//! A [`Gateway`] serves every contract of a [`banyan::System`] on one port, over gRPC and JSON, wherever the services
//! run. What may be called from outside, and by whom, stands in the contracts (`banyan.v1.access`); who calls is proven
//! by a bearer token, verified against keys that the system itself announces ([`Tokens`]). An [`Aggregate`] answers
//! one request from several services at once, in part if some of them fail. Services that were written without contracts
//! are reached under the prefixes that their definitions announce ([`banyan::ServiceDef::router`]). `/openapi.json`
//! describes all of it but those, and `/errors/REASON` explains what a request was refused for.

mod aggregate;
mod gate;
mod gateway;
mod mount;
mod pages;

pub use aggregate::{Aggregate, Part};
pub use gate::Tokens;
pub use gateway::{Gateway, GatewayOptions, GatewayParts};
