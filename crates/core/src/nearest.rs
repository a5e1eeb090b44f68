//! The name that somebody may have meant.

/// How alike two names must be for one to be offered instead of the other: 0 to 1, the Jaro similarity with Winkler's
/// weight for a common beginning.
const ALIKE_MIN: f64 = 0.8;

/// Says which of `known` an unknown `name` may have meant; which there are, if it is like none of them.
pub fn suggestion<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let alike = known.iter().map(|other| (likeness(name, other), other));
    match alike.max_by(|a, b| a.0.total_cmp(&b.0)) {
        None => "there are none".to_owned(),
        Some((alike, nearest)) if alike >= ALIKE_MIN => format!("the nearest is {nearest:?}"),
        Some(_) => format!("there are {}", known.join(", ")),
    }
}

/// Returns how alike two names are: 0 to 1.
fn likeness(name: &str, other: &str) -> f64 {
    match strsim::damerau_levenshtein(name, other) {
        // One slip of a finger, which weighs too much in a short name.
        0 | 1 => 1.0,
        _ => strsim::jaro_winkler(name, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let known = ["drain_ms_max", "topic_partitions", "log_bytes_max"];
        for (typo, nearest) in [
            ("drian_ms_max", known[0]),
            ("drain_ms", known[0]),
            ("topic_partition", known[1]),
            ("log_bytes", known[2]),
        ] {
            assert_eq!(suggestion(typo, known), format!("the nearest is {nearest:?}"), "{typo}");
        }
        assert_eq!(suggestion("evn", ["file", "env"]), "the nearest is \"env\"");
        assert_eq!(suggestion("xyz", known), "there are drain_ms_max, topic_partitions, log_bytes_max");
        assert_eq!(suggestion("xyz", []), "there are none");
    }
}
