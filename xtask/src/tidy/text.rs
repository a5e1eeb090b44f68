//! File lengths, file names and wording.

use super::Problems;
use crate::workspace::SourceFile;

/// A longer Rust file has more than one subject.
const FILE_LINES_MAX: usize = 600;
/// Names that say nothing about their contents.
const VAGUE_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "misc"];

/// Where a banned text may not stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Rust,
    Everywhere,
}

/// What may not be written, and why. Written in two parts, so that this table does not find itself.
const BANNED: &[(&str, Scope, &str)] = &[
    (concat!("to", "do!("), Scope::Rust, "finish it, or leave the feature out"),
    (concat!("unimple", "mented!("), Scope::Rust, "finish it, or leave the feature out"),
    (concat!("#[ig", "nore"), Scope::Rust, "a test runs or does not exist"),
    (concat!("FIX", "ME"), Scope::Everywhere, "fix it, or write an issue"),
    (
        concat!("exactly", "-once"),
        Scope::Everywhere,
        "the claim is \"effectively once\": at least once, with an inbox",
    ),
    (concat!("/ho", "me/"), Scope::Everywhere, "a path of one machine"),
    (concat!("/ro", "ot/"), Scope::Everywhere, "a path of one machine"),
    (concat!("/Us", "ers/"), Scope::Everywhere, "a path of one machine"),
    (concat!("/wo", "rk/"), Scope::Everywhere, "a path of one machine"),
    (concat!("seam", "less"), Scope::Everywhere, "say what it does, with a number"),
    (concat!("blaz", "ing"), Scope::Everywhere, "say what it does, with a number"),
];

pub(super) fn check(files: &[SourceFile]) -> Problems {
    let written = files.iter().filter(|file| !file.is_generated());
    written.flat_map(|file| [length(file), name(file), banned(file)].concat()).collect()
}

fn length(file: &SourceFile) -> Problems {
    let lines = file.text.lines().count();
    if file.is_rust() && lines > FILE_LINES_MAX {
        return vec![format!("{}: {lines} lines, at most {FILE_LINES_MAX}; split it by subject", file.path)];
    }
    Problems::new()
}

fn name(file: &SourceFile) -> Problems {
    let mut parts = file.path.trim_end_matches(".rs").split('/');
    match parts.find(|part| VAGUE_NAMES.contains(part)) {
        Some(part) if file.is_rust() => vec![format!("{}: {part:?} names no subject", file.path)],
        _ => Problems::new(),
    }
}

fn banned(file: &SourceFile) -> Problems {
    let mut problems = Problems::new();
    for (index, line) in file.text.lines().enumerate() {
        for (word, scope, reason) in BANNED {
            if line.contains(word) && (*scope == Scope::Everywhere || file.is_rust()) {
                problems.push(format!("{}:{}: {word:?}: {reason}", file.path, index + 1));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Problems {
        check(&[SourceFile { path: path.to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn a_long_file_fails_unless_it_is_generated() {
        let long = "\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(problems("crates/x/src/lib.rs", &long).len(), 1);
        assert!(problems("crates/x/src/generated/lib.rs", &long).is_empty());
        assert!(problems("crates/x/src/lib.rs", &"\n".repeat(FILE_LINES_MAX)).is_empty());
    }

    #[test]
    fn vague_names_and_banned_words_name_their_place() {
        assert!(problems("crates/x/src/utils.rs", "")[0].contains("utils"));
        let text = format!("fn f() {{\n    {}) }}\n", BANNED[0].0);
        assert!(problems("crates/x/src/lib.rs", &text)[0].starts_with("crates/x/src/lib.rs:2:"));
        assert!(problems("docs/a.md", &text).is_empty(), "the macro is only banned in Rust");
    }
}
