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
        if map.is_some_and(|map| !map.contains(&format!("`{}`", package.name)) && !map.contains(folder)) {
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

#[cfg(test)]
mod tests {
    use super::takes_workspace_lints;

    #[test]
    fn the_lints_section_itself_has_to_say_workspace() {
        assert!(takes_workspace_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(!takes_workspace_lints("[package]\nname = \"a\"\n"));
        assert!(!takes_workspace_lints("[lints]\n[package]\nworkspace = true\n"));
    }
}
