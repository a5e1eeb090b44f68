//! The shop's contracts in Rust: messages, events, service traits and clients, one module per service.
//!
//! All of it is generated from the `.proto` files beside this crate (`cargo xtask codegen`), but for a few words that
//! every service needs: arithmetic of [`types::v1::Money`] ([`money`]) and points in time ([`time`]).

mod generated;
pub mod money;
pub mod time;

pub use generated::DESCRIPTORS;
pub use generated::shop::*;
