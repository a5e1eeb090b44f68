//! The shop's contracts in Rust: messages, events, service traits and clients, one module per service.
//!
//! All of it is generated from the `.proto` files beside this crate (`cargo xtask codegen`), but for a few words that
//! every service needs: arithmetic of [`types::v1::Money`] ([`money`]), points in time ([`time`]), pages of lists
//! ([`paging`]), and what all refuse alike: bad values ([`checks`]) and strangers ([`callers`]).

pub mod callers;
pub mod checks;
mod generated;
pub mod money;
pub mod paging;
pub mod time;

pub use generated::DESCRIPTORS;
pub use generated::shop::*;
