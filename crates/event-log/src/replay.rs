//! Moving a consumer group that exists, in a topic that it reads: replay, or skip.

use crate::api::{EventLog, SeekTo};
use banyan_core::{Code, Error, Reason, Result};

/// Moves a group to another place of a topic that it reads; durable when it returns.
///
/// [`EventLog::seek`] makes what is not there: by a wrong name it would leave a group, or a group's place in a topic, that nobody
/// reads and whose lag only grows. Whoever takes names from a person moves groups by this function.
///
/// # Errors
/// [`Code::NotFound`] for a group or a topic that there is not; [`Code::InvalidArgument`] naming `topic` if the group does not
/// read it, with those that it reads; what [`EventLog::seek`] fails with.
pub async fn replay(log: &dyn EventLog, group: &str, topic: &str, to: SeekTo) -> Result<()> {
    let groups = log.groups().await?;
    let Some(info) = groups.iter().find(|info| info.group == group) else {
        return Err(unknown("consumer group", group, groups.iter().map(|info| info.group.as_str())));
    };
    let topics = log.topics().await?;
    if !topics.iter().any(|info| info.topic == topic) {
        return Err(unknown("topic", topic, topics.iter().map(|info| info.topic.as_str())));
    }
    let read = info.topics();
    if !read.contains(&topic) {
        let problem = match read.as_slice() {
            [] => format!("the group {group} reads no topic yet"),
            read => format!("the group {group} does not read {topic:?}; it reads {}", read.join(", ")),
        };
        return Err(Error::invalid("topic", problem));
    }
    log.seek(group, topic, to).await
}

fn unknown<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> Error {
    let known: Vec<_> = known.collect();
    let message = format!("there is no {what} {name:?}; there are {}", known.join(", "));
    Error::new(Code::NotFound, Reason::NOT_FOUND, message)
}
