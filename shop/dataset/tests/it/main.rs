//! The seed file with counts that were taken independently, and small files with each kind of dirt.

mod dirt;
mod seed;
