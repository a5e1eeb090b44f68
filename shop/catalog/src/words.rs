//! How names and queries become words.

use std::collections::BTreeSet;

/// Characters of a word that count; the rest is cut off, in names and queries alike.
const WORD_CHARS_MAX: usize = 32;

/// Splits `text` into its words: runs of letters and digits, in lower case, in their order.
pub(crate) fn in_order(text: &str) -> impl Iterator<Item = String> + '_ {
    // Lower case letter by letter: by word, a Greek sigma would depend on where the word ends, and a beginning of a
    // word could not be found.
    let lower = |word: &str| word.chars().flat_map(char::to_lowercase).take(WORD_CHARS_MAX).collect();
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(lower)
}

/// Returns every word of `text` once.
pub(crate) fn set(text: &str) -> BTreeSet<String> {
    in_order(text).collect()
}

/// Returns the last text that begins with `prefix`, as far as words go: no word has that character.
pub(crate) fn last_with(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        let words = |text| in_order(text).collect::<Vec<_>>();
        assert_eq!(words("WHITE HANGING T-LIGHT"), ["white", "hanging", "t", "light"]);
        assert_eq!(words("set/6 3D  'Café'"), ["set", "6", "3d", "café"]);
        assert_eq!(words(" -- '"), Vec::<String>::new());
        assert_eq!(words("ΟΔΟΣ"), ["οδοσ"]);
        assert_eq!(words(&"x".repeat(40)), ["x".repeat(WORD_CHARS_MAX)]);
    }

    #[test]
    fn a_word_lies_between_its_beginning_and_the_last_with_it() {
        for (prefix, word, inside) in [
            ("hea", "heart", true),
            ("hea", "hea", true),
            ("hea", "hea𝟗", true),
            ("hea", "heb", false),
            ("hea", "he", false),
        ] {
            let range = prefix.to_owned()..=last_with(prefix);
            assert_eq!(range.contains(&word.to_owned()), inside, "{prefix} {word}");
        }
    }
}
