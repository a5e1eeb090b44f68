//! Real engines: each starts, answers, is killed, and comes back on its port with its data.

mod engines;
mod guard;
mod proxy;
mod shared;
