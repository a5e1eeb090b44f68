//! The commands, one file each.

#[cfg(feature = "postgres")]
pub(crate) mod cdc;
pub(crate) mod config;
pub(crate) mod console_password;
pub(crate) mod copy;
pub(crate) mod dead_letters;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod health;
pub(crate) mod load;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod move_service;
pub(crate) mod operations;
pub(crate) mod process;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod sagas;
pub(crate) mod slos;
pub(crate) mod status;
pub(crate) mod topics;
pub(crate) mod traces;
