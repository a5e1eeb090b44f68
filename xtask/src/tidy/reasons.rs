//! Every stable reason has its page in `docs/errors/`, and every page its reason.

use super::Problems;
use crate::workspace::SourceFile;
use std::collections::{BTreeMap, BTreeSet};

const PAGES: &str = "docs/errors/";
const CONSTRUCTOR: &str = concat!("Reason", "::new(");

pub(super) fn check(files: &[SourceFile]) -> Problems {
    let mut reasons: BTreeMap<&str, &str> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust() && !is_test(&file.path)) {
        for reason in reasons_in(without_tests(&file.text)) {
            reasons.entry(reason).or_insert(&file.path);
        }
    }
    let pages: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix(PAGES)?.strip_suffix(".md"))
        .filter(|page| *page != "README")
        .collect();

    let missing = reasons
        .iter()
        .filter(|(reason, _)| !pages.contains(*reason))
        .map(|(reason, path)| format!("{path}: the reason {reason} has no page {PAGES}{reason}.md"));
    let unused = pages
        .iter()
        .filter(|page| !reasons.contains_key(*page))
        .map(|page| format!("{PAGES}{page}.md: no source has the reason {page}"));
    missing.chain(unused).collect()
}

/// Tells whether a file is an integration test or a conformance suite, whose invented reasons need no page.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.contains("/conformance")
}

/// Returns the part of a source file before its unit tests, whose invented reasons need no page.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn reasons_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(CONSTRUCTOR).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: String) -> SourceFile {
        SourceFile { path: path.to_owned(), text }
    }

    #[test]
    fn a_reason_without_a_page_and_a_page_without_a_reason_are_reported() {
        let source =
            format!("const A: Reason = {CONSTRUCTOR}\"A\");\nconst B: Reason = {CONSTRUCTOR}\n  \"B\");\n");
        let tests = format!("#[cfg(test)]\nmod tests {{ {CONSTRUCTOR}\"INVENTED\"); }}");
        let files = [
            file("crates/x/src/lib.rs", source + &tests),
            file("docs/errors/A.md", String::new()),
            file("docs/errors/OLD.md", String::new()),
            file("docs/errors/README.md", String::new()),
        ];
        let problems = check(&files);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("reason B has no page"), "{problems:?}");
        assert!(problems[1].starts_with("docs/errors/OLD.md"), "{problems:?}");
    }
}
