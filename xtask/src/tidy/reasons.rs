//! Every stable reason has its page, and every page its reason: in `docs/errors/` the platform's, in `shop/shop/docs/errors/` the
//! shop's.

use super::Problems;
use crate::workspace::SourceFile;
use std::collections::{BTreeMap, BTreeSet};

/// Where the sources are whose pages are in a folder; the first that fits.
const PAGES: [(&str, &str); 2] = [("shop/", "shop/shop/docs/errors/"), ("", "docs/errors/")];
const CONSTRUCTOR: &str = concat!("Reason", "::new(");

pub(super) fn check(files: &[SourceFile]) -> Problems {
    // Pages by their paths, and what needs them.
    let mut needed: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust() && !is_test(&file.path)) {
        for reason in reasons_in(without_tests(&file.text)) {
            needed.entry(page_of(reason, &file.path)).or_insert((reason, &file.path));
        }
    }
    let is_page = |path: &&str| {
        let name = PAGES.iter().find_map(|(_, folder)| path.strip_prefix(folder)?.strip_suffix(".md"));
        name.is_some_and(|name| name != "README")
    };
    let pages: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).filter(is_page).collect();

    let missing = needed
        .iter()
        .filter(|(page, _)| !pages.contains(page.as_str()))
        .map(|(page, (reason, path))| format!("{path}: the reason {reason} has no page {page}"));
    let unused = pages
        .iter()
        .filter(|page| !needed.contains_key(**page))
        .map(|page| format!("{page}: no source that belongs to it has the reason"));
    missing.chain(unused).collect()
}

/// Returns the path of the page of a reason that the source at `path` has.
fn page_of(reason: &str, path: &str) -> String {
    let folder = PAGES.iter().find(|(sources, _)| path.starts_with(sources)).map_or("", |(_, folder)| folder);
    format!("{folder}{reason}.md")
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
            file("shop/x/src/lib.rs", format!("const C: Reason = {CONSTRUCTOR}\"C\");")),
            file("shop/shop/docs/errors/C.md", String::new()),
            file("shop/shop/docs/errors/A.md", String::new()),
            file("docs/errors/A.md", String::new()),
            file("docs/errors/OLD.md", String::new()),
            file("docs/errors/README.md", String::new()),
        ];
        let problems = check(&files);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("reason B has no page"), "{problems:?}");
        assert!(problems[1].starts_with("docs/errors/OLD.md"), "{problems:?}");
        assert!(problems[2].starts_with("shop/shop/docs/errors/A.md"), "{problems:?}");
    }
}
