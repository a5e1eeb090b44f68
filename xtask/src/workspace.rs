//! Where the project is, and which of its files people write.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing people write.
const SKIPPED: &[&str] = &["target", "node_modules", ".git"];
/// Bound of the walk; the project is far below it.
const FILES_MAX: usize = 20_000;

/// Returns the root of the checkout.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask is a folder of the checkout").to_path_buf()
}

/// A file of the checkout, by its path from the root with `/` between the parts.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Tells whether a program wrote this file.
    pub(crate) fn is_generated(&self) -> bool {
        self.path.split('/').any(|part| part == "generated")
    }
}

/// Reads every text file that people write: sources, manifests, contracts, documents, scripts.
pub(crate) fn text_files(root: &Path) -> Result<Vec<SourceFile>> {
    let mut folders = vec![root.to_path_buf()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                // `/data` is where a running shop keeps its stores.
                if !SKIPPED.contains(&name) && path != root.join("data") {
                    folders.push(path);
                }
                continue;
            }
            if !is_text(name) {
                continue;
            }
            anyhow::ensure!(files.len() < FILES_MAX, "more than {FILES_MAX} files under {}", root.display());
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let relative = path.strip_prefix(root).expect("the walk starts at the root");
            files.push(SourceFile { path: relative.to_string_lossy().replace('\\', "/"), text });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn is_text(name: &str) -> bool {
    const ENDINGS: &[&str] =
        &[".rs", ".toml", ".md", ".proto", ".sh", ".sql", ".yaml", ".yml", ".css", ".ts", ".html"];
    name == "run" || ENDINGS.iter().any(|ending| name.ends_with(ending))
}
