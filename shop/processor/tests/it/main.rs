//! The processor over real HTTP: cards, idempotency, the ledger, bad input, and a SIGKILL in the middle.

mod cards;
mod client;
mod crash;
mod idempotency;
mod input;
mod ledger;
