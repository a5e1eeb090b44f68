//! Names on the server, and the partition of an event.

use banyan_core::{Envelope, Error, Result};

/// Longest name of a queue that leaves room for the folder's name that the server makes of it.
const NAME_BYTES_MAX: usize = 200;

/// Returns the partition of an event: CRC-32C of its key, or of its id if it has no key, modulo the partitions.
pub fn partition_of(event: &Envelope, partitions: u32) -> u32 {
    let key = if event.key.is_empty() { &event.id } else { &event.key };
    crc32c::crc32c(key.as_bytes()) % partitions.max(1)
}

/// Returns the name of the stream that holds a partition: `PREFIX.topic.TOPIC.PARTITION`. A client that is not ours
/// publishes to it (through the default exchange) and consumes from it. A server that was killed while it made the stream
/// has no use for that name any more; then it is `PREFIX.topic~1.TOPIC.PARTITION`.
pub fn stream_name(prefix: &str, topic: &str, partition: u32) -> String {
    format!("{prefix}.topic.{topic}.{partition}")
}

/// Returns the name that a stream gets when the server has spoiled `spoiled` names of it before.
pub(crate) fn next_name(prefix: &str, name: &str, spoiled: u32) -> String {
    match name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')?.split_once('.')) {
        // No topic or group can bring such a name about: the kind is ours.
        Some((kind, rest)) if spoiled > 0 => format!("{prefix}.{kind}~{spoiled}.{rest}"),
        _ => name.to_owned(),
    }
}

/// Returns the name of the stream that lists all topics and groups.
pub(crate) fn catalog_name(prefix: &str) -> String {
    format!("{prefix}.catalog")
}

/// Returns the name of a group's journal.
pub(crate) fn journal_name(prefix: &str, group: &str) -> String {
    format!("{prefix}.group.{group}")
}

/// Returns the name of the queue that shows that a member is alive.
pub(crate) fn member_name(prefix: &str, token: &str) -> String {
    format!("{prefix}.member.{token}")
}

pub(crate) fn check_topic(field: &str, prefix: &str, topic: &str) -> Result<()> {
    check(field, topic, &stream_name(prefix, topic, u32::MAX))
}

pub(crate) fn check_group(field: &str, prefix: &str, group: &str) -> Result<()> {
    check(field, group, &journal_name(prefix, group))
}

fn check(field: &str, text: &str, name: &str) -> Result<()> {
    if text.is_empty() || name.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        let description = format!(
            "must not be empty, hold control characters, nor make a name over {NAME_BYTES_MAX} bytes"
        );
        return Err(Error::invalid(field, description));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoiled_name_has_a_next_one() {
        let name = stream_name("shop", "a.b", 3);
        assert_eq!(next_name("shop", &name, 0), "shop.topic.a.b.3");
        assert_eq!(next_name("shop", &name, 2), "shop.topic~2.a.b.3");
        assert_eq!(next_name("shop", &journal_name("shop", "g.h"), 1), "shop.group~1.g.h");
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(check_topic("topic", "banyan", &"t".repeat(170)).is_ok());
        assert!(check_topic("topic", "banyan", &"t".repeat(200)).is_err());
        assert!(check_group("group", "banyan", "").is_err());
        assert!(check_group("group", "banyan", "a\nb").is_err());
    }
}
