//! Copies between real servers.

mod directions;
mod interrupted;
mod refused;
mod zoo;
