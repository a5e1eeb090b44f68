//! The transcoder against contracts that are compiled here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod construction;
mod contracts;
mod decode;
mod encode;
mod openapi;
mod robustness;
mod routing;
mod violations;
