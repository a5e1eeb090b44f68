//! The comments of a contract's source, if its descriptors kept them.

use prost_reflect::{DescriptorPool, FileDescriptor};
use std::collections::HashMap;

/// The path of a file's package: what its comment says holds for a service that has none.
pub(crate) const PACKAGE: [i32; 1] = [2];

/// Leading comments by file and by the path of what they stand at.
pub(crate) struct Comments(HashMap<String, HashMap<Vec<i32>, String>>);

impl Comments {
    pub(crate) fn read(pool: &DescriptorPool) -> Self {
        Self(pool.files().map(|file| (file.name().to_owned(), read_file(&file))).collect())
    }

    /// Returns the comment of the element with this path.
    pub(crate) fn of(&self, file: &FileDescriptor, path: &[i32]) -> Option<&str> {
        self.0.get(file.name())?.get(path).map(String::as_str)
    }
}

fn read_file(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let source = file.file_descriptor_proto().source_code_info.iter();
    let commented = source.flat_map(|info| &info.location).filter_map(|location| {
        let comment = location.leading_comments.as_deref().or(location.trailing_comments.as_deref())?;
        Some((location.path.clone(), clean(comment)))
    });
    commented.filter(|(_, comment)| !comment.is_empty()).collect()
}

/// Removes the space that follows the comment's slashes.
fn clean(comment: &str) -> String {
    let lines = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Returns the first sentence, on one line and without its full stop.
pub(crate) fn summary(comment: &str) -> String {
    let paragraph = comment.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let sentence = paragraph.split_once(". ").map_or(paragraph.as_str(), |(sentence, _)| sentence);
    sentence.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_sentence() {
        assert_eq!(summary("Places an\norder. Then\n\nmore"), "Places an order");
        assert_eq!(summary("Version 1.5 is here.\n\nMore."), "Version 1.5 is here");
        assert_eq!(clean(" a\n  b \n\n"), "a\n b");
    }
}
