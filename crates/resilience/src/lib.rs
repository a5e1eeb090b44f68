//! What keeps one failure from becoming many.
//!
//! A [`RetryBudget`] bounds how much load retries may add, a [`Bulkhead`] bounds how much happens (and waits) at
//! once, and a [`FaultInjector`] makes the failures that both exist for, reproducibly.

mod bulkhead;
mod faults;
mod retry_budget;

pub use bulkhead::{Bulkhead, Permit};
pub use faults::{Fault, FaultInjector, FaultOptions};
pub use retry_budget::{RetryBudget, RetryBudgetOptions};
