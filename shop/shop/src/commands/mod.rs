//! The commands that only the shop has, one file each.

pub(crate) mod audit;
pub(crate) mod auditor;
pub(crate) mod card_processor;
pub(crate) mod demo;
pub(crate) mod import;
pub(crate) mod invariants;
pub(crate) mod replay;
