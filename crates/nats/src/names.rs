//! Names on the server: of streams, subjects and keys.

use banyan_core::{Envelope, Error, Result};
use std::fmt::Write;

/// Longest name of a stream (it is a folder's name).
const STREAM_NAME_BYTES_MAX: usize = 255;

/// Returns the partition of an event: CRC-32C of its key, or of its id if it has no key, modulo the partitions.
pub fn partition_of(event: &Envelope, partitions: u32) -> u32 {
    let key = if event.key.is_empty() { &event.id } else { &event.key };
    crc32c::crc32c(key.as_bytes()) % partitions.max(1)
}

/// Returns the subject that events of a partition are published to: `PREFIX.TOPIC.PARTITION`.
///
/// A consumer that is not ours reads `PREFIX.TOPIC.*`. Characters of the topic other than letters, digits, `-`, `_`
/// and inner dots are written as `=XX`.
pub fn event_subject(prefix: &str, topic: &str, partition: u32) -> String {
    let has_empty_token = topic.split('.').any(str::is_empty);
    let topic = if has_empty_token {
        token(topic)
    } else {
        topic.split('.').map(token).collect::<Vec<_>>().join(".")
    };
    format!("{prefix}.{topic}.{partition}")
}

/// Returns the name of a partition's stream.
pub(crate) fn stream_name(prefix: &str, topic: &str, partition: u32) -> String {
    format!("{prefix}-{}-{partition}", token(topic))
}

/// Checks that a topic's streams can be named.
pub(crate) fn check_topic(field: &str, prefix: &str, topic: &str) -> Result<()> {
    let fits = stream_name(prefix, topic, u32::MAX).len() <= STREAM_NAME_BYTES_MAX;
    check_name(field, topic, fits)
}

pub(crate) fn check_group(field: &str, group: &str) -> Result<()> {
    check_name(field, group, token(group).len() <= STREAM_NAME_BYTES_MAX)
}

fn check_name(field: &str, name: &str, fits: bool) -> Result<()> {
    if name.is_empty() || !fits {
        return Err(Error::invalid(field, "must not be empty, nor too long for a NATS name of 255 bytes"));
    }
    Ok(())
}

/// Writes any text as one token of a subject or key: what is not a letter, digit, `-` or `_` becomes `=XX`.
pub(crate) fn token(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            out.push(char::from(byte));
        } else {
            write!(out, "={byte:02X}").expect("a string takes everything");
        }
    }
    out
}

/// Reads what [`token`] wrote.
pub(crate) fn from_token(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'=' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_token_and_comes_back() {
        for text in ["orders", "shop.orders.v1", "a/b c=d>*", "Größe", "=41"] {
            let token = token(text);
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)), "{token}");
            assert_eq!(from_token(&token).as_deref(), Some(text));
        }
        assert_eq!((from_token("=4"), from_token("=zz")), (None, None));
    }

    #[test]
    fn subjects_keep_the_dots_of_a_topic() {
        assert_eq!(event_subject("banyan", "shop.orders", 3), "banyan.shop.orders.3");
        assert_eq!(event_subject("banyan", "a..b*", 0), "banyan.a=2E=2Eb=2A.0");
        assert_eq!(stream_name("banyan", "shop.orders", 3), "banyan-shop=2Eorders-3");
    }

    #[test]
    fn names_that_are_too_long_are_refused() {
        assert!(check_topic("topic", "banyan", &"t".repeat(230)).is_ok());
        assert!(check_topic("topic", "banyan", &".".repeat(230)).is_err());
        assert!(check_group("group", "").is_err());
    }
}
