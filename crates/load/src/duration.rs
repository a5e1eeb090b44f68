//! Durations as people write them.

use std::time::Duration;

/// The units, in nanoseconds; `ms` before `m` and `s`, because a unit is read by its beginning.
const UNITS: [(&str, f64); 6] =
    [("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3_600e9), ("d", 86_400e9)];

/// Reads `250ms`, `1.5s`, `10m`, `1m30s`, `2h`, `1d`.
///
/// # Errors
/// What was expected instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is no duration; expected a number with its unit, for example 250ms, 30s, 5m");
    let mut rest = text.trim();
    let mut nanos = 0.0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let letters = &rest[digits..];
        let end = letters.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(letters.len());
        let unit = UNITS.iter().find(|(name, _)| *name == &letters[..end]).ok_or_else(wrong)?;
        nanos += number * unit.1;
        rest = &letters[end..];
    }
    // Above the largest number of nanoseconds the cast saturates, and every limit refuses it.
    Ok(Duration::from_nanos(nanos as u64))
}

/// Writes a duration as [`duration`] reads it, in the largest unit that needs no fraction.
pub fn written(duration: Duration) -> String {
    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
    match (secs, nanos) {
        (0, 0) => "0s".to_owned(),
        (secs, 0) if secs % 3_600 == 0 => format!("{}h", secs / 3_600),
        (secs, 0) if secs % 60 == 0 => format!("{}m", secs / 60),
        (secs, 0) => format!("{secs}s"),
        (0, nanos) if nanos % 1_000_000 == 0 => format!("{}ms", nanos / 1_000_000),
        (0, nanos) => format!("{}us", nanos / 1_000),
        (secs, nanos) => format!("{:.3}s", secs as f64 + f64::from(nanos) / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, ms) in [
            ("250ms", 250),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["250ms", "90s", "2m", "3h", "1.500s", "7us", "0s"] {
            assert_eq!(written(duration(text).unwrap()), text);
        }
        for bad in ["", "10", "s", "10 s", "-1s", "1.2.3s", "5min", "1s1", "10parsecs"] {
            assert!(duration(bad).unwrap_err().contains("no duration"), "{bad}");
        }
    }
}
