//! Visitors of the shop: they look around, search, fill carts, check out with good and bad cards, change their minds.
//!
//! An [`intent`] decides what a visitor is up to, and nothing else. A [`visit`] does it, and [`drive`] lets visitors come
//! at a rate and counts what came of them.

pub(crate) mod drive;
pub(crate) mod intent;
pub(crate) mod visit;
