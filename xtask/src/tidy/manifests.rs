//! Every crate takes the workspace's lints, and ARCHITECTURE.md knows every crate.

use super::Problems;
use crate::workspace::SourceFile;
use cargo_metadata::Package;
use std::path::Path;

const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check(root: &Path, packages: &[&Package], files: &[SourceFile]) -> Problems {
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let map = text_of(MAP);
    let mut problems = Problems::new();
    for package in packages {
        let manifest =
            package.manifest_path.strip_prefix(root).map_or(package.manifest_path.as_path(), |path| path);
        let folder = manifest.parent().map(|folder| folder.as_str()).unwrap_or_default();
        let text = text_of(manifest.as_str()).unwrap_or_default();
        if !takes_workspace_lints(text) {
            problems.push(format!("{manifest}: needs a section [lints] with `workspace = true`"));
        }
        if map.is_some_and(|map| !mentions(map, &package.name, folder)) {
            problems.push(format!("{MAP}: does not mention the crate `{}` ({folder})", package.name));
        }
    }
    problems
}

fn takes_workspace_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim);
    lines.any(|line| line == "[lints]")
        && lines.take_while(|line| !line.starts_with('[')).any(|line| line == "workspace = true")
}

/// A map mentions a crate by its name, its folder, or, in a list of crates that share a row, the folder's last part.
fn mentions(map: &str, package: &str, folder: &str) -> bool {
    let last = folder.rsplit('/').next().unwrap_or(folder);
    let mut words = map.split(|letter: char| !letter.is_alphanumeric() && letter != '-');
    map.contains(&format!("`{package}`")) || map.contains(folder) || words.any(|word| word == last)
}

#[cfg(test)]
mod tests {
    use super::{mentions, takes_workspace_lints};

    #[test]
    fn a_crate_is_mentioned_by_name_folder_or_in_a_list() {
        assert!(mentions("| `banyan-core` |", "banyan-core", "crates/core"));
        assert!(mentions("see `crates/core`", "banyan-core", "crates/core"));
        assert!(mentions("`shop/<service>`: users, cart", "shop-cart", "shop/cart"));
        assert!(!mentions("`shop/<service>`: users, carts", "shop-cart", "shop/cart"));
    }

    #[test]
    fn the_lints_section_itself_has_to_say_workspace() {
        assert!(takes_workspace_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(!takes_workspace_lints("[package]\nname = \"a\"\n"));
        assert!(!takes_workspace_lints("[lints]\n[package]\nworkspace = true\n"));
    }
}
