//! Orders of a data set, placed through the gateway as the customers would, and followed to their ends.
//!
//! [`plan`] decides which orders are placed with which [`cards`], and nothing else: the same arguments make the same
//! requests. [`drive`] lets them arrive, a [`shopper`] places and follows each, and a [`tally`] counts what came of it.

pub(crate) mod cards;
pub(crate) mod drive;
pub(crate) mod plan;
pub(crate) mod shopper;
pub(crate) mod tally;
