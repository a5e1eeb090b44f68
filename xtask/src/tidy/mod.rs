//! `cargo xtask tidy`: the house rules a program can check. Every problem is reported, not only the first.

mod floors;
mod manifests;
mod reasons;
mod text;

use crate::workspace;
use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

/// What a check found: one line each, beginning with the place.
type Problems = Vec<String>;

pub(crate) fn run() -> Result<()> {
    let root = workspace::root();
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("read the workspace with `cargo metadata`")?;
    let packages: Vec<_> = metadata.workspace_packages();
    let files = workspace::text_files(&root)?;

    let problems: Problems = [
        floors::check(&packages),
        manifests::check(&root, &packages, &files),
        reasons::check(&files),
        text::check(&files),
    ]
    .concat();
    for problem in &problems {
        println!("{problem}");
    }
    anyhow::ensure!(problems.is_empty(), "tidy found {} problems, see above", problems.len());
    println!("tidy: {} crates and {} files are in order", packages.len(), files.len());
    Ok(())
}
