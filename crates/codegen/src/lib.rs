//! Turns contracts (`.proto` files) into Rust that is committed beside them.
//!
//! The tool behind `cargo xtask codegen`. There is no protoc and no build script: protox compiles the contracts,
//! prost-build writes the messages, and this crate writes what a service and its callers need:
//!
//! - for each service a trait, a constructor of its handler table and a typed client;
//! - `Payload` for every message, `Event` for those with the option
//!   `(banyan.v1.event)`, and a `Debug` that hides fields with `debug_redact`;
//! - `descriptors.bin`, the descriptors of everything with all options and with the comments of the contracts, from
//!   which JSON, REST, the OpenAPI document and reflection are served at run time.
//!
//! One file per package: package `shop.orders.v1` becomes `shop/orders/v1.rs` below the output folder, whose `mod.rs`
//! declares them all. Contracts import `banyan/v1/options.proto`, `google/api/annotations.proto` and
//! `google/api/field_behavior.proto` without having them: they are part of this crate.

mod comments;
mod compile;
mod error;
mod files;
mod ident;
mod impls;
mod package;
mod scope;
mod service;

pub use error::{Error, Result};
pub use files::Report;

use std::path::PathBuf;

/// What to generate, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folders of contracts: every `.proto` file below them is generated. A contract is imported by its path
    /// relative to its root.
    pub roots: Vec<PathBuf>,
    /// Folders in which imports are looked up as well; nothing is generated from them.
    pub includes: Vec<PathBuf>,
    /// Packages that were generated elsewhere, with the Rust module they are found in: `("shop.types.v1",
    /// "::shop_contracts::types::v1")`.
    pub externs: Vec<(String, String)>,
    /// Folder for the generated files. Generated files in it that are no longer wanted are removed.
    pub out_dir: PathBuf,
    /// What a reader of the generated code is told to run.
    pub command: String,
}

impl Options {
    /// Generates all contracts below `root`.
    pub fn new(root: impl Into<PathBuf>, out_dir: impl Into<PathBuf>) -> Self {
        Self {
            roots: vec![root.into()],
            includes: Vec::new(),
            externs: Vec::new(),
            out_dir: out_dir.into(),
            command: "cargo xtask codegen".to_owned(),
        }
    }
}

/// Brings the output folder up to date; files that are already right are not touched.
///
/// # Errors
/// When a contract is wrong (then nothing is written) or a file cannot be read or written.
pub fn generate(options: &Options) -> Result<Report> {
    files::write(&options.out_dir, &render(options)?)
}

/// Compares the output folder with what [`generate`] would make of it; writes nothing.
///
/// # Errors
/// [`Error::Drift`] names the files that differ, are missing or are no longer wanted.
pub fn check(options: &Options) -> Result<Report> {
    files::compare(options, &render(options)?)
}

fn render(options: &Options) -> Result<files::Files> {
    let contracts = compile::compile(options)?;
    let packages = package::render(options, &contracts)?;
    Ok(files::lay_out(options, packages, contracts.descriptors))
}
