//! Joining a group.

use super::context::{Changes, MemberContext};
use super::state::State;
use super::{KafkaSubscription, Member, guard};
use crate::client::Shared;
use crate::errors::failed;
use crate::options::millis;
use crate::topics::{TopicPartition, ensure};
use banyan_core::{Error, Result};
use banyan_event_log::{StartAt, SubscriptionSpec};
use parking_lot::Mutex;
use rdkafka::Offset;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long the other members wait for one that gives up partitions, or has not called since the group changed.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest name of a group or member.
const NAME_BYTES_MAX: usize = 249;

/// Joins the group of `spec`; its topics are made if they do not exist.
pub(crate) async fn join(shared: &Arc<Shared>, spec: SubscriptionSpec) -> Result<KafkaSubscription> {
    for (field, name) in [("group", &spec.group), ("member", &spec.member)] {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::invalid(field, format!("must have 1 to {NAME_BYTES_MAX} bytes")));
        }
    }
    let mut partitions = Vec::new();
    for topic in &spec.topics {
        partitions.extend((0..ensure(shared, topic).await?).map(|p| (topic.clone(), p)));
    }
    let (group, start) = (spec.group.clone(), spec.start);
    let starts = shared.blocking(move |shared| begin(shared, &group, &partitions, start)).await?;

    let changes = Arc::new(Changes::default());
    let context = MemberContext(Arc::clone(&changes));
    let consumer: StreamConsumer<_> =
        StreamConsumer::from_config_and_context(&settings(shared, &spec), context)
            .map_err(|error| Error::invalid("subscription", format!("{error}")))?;
    let topics: Vec<&str> = spec.topics.iter().map(String::as_str).collect();
    let subscribed = consumer.subscribe(&topics);
    let member = Arc::new(Member {
        shared: Arc::clone(shared),
        group: spec.group,
        name: spec.member,
        durable: spec.durable,
        session_timeout: spec.session_timeout,
        starts,
        changes,
        state: Mutex::new(State::new(shared.env.clock.now())),
        consumer: Mutex::new(Some(Arc::new(consumer))),
        writing: Mutex::default(),
        noted: Notify::new(),
        ended: Notify::new(),
    });
    guard::watch(&member);
    let subscription = KafkaSubscription { member };
    subscribed.map_err(|error| failed("a group cannot be joined", error))?;
    Ok(subscription)
}

fn settings(shared: &Shared, spec: &SubscriptionSpec) -> ClientConfig {
    let heartbeat = (spec.session_timeout / 5).min(shared.options.heartbeat_interval_max);
    let mut config = shared.options.group(&spec.group);
    config
        .set("group.protocol", "classic")
        .set("group.instance.id", &spec.member)
        .set("client.id", &spec.member)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", millis(spec.session_timeout))
        .set("heartbeat.interval.ms", millis(heartbeat.max(Duration::from_millis(1))))
        .set("max.poll.interval.ms", millis(REBALANCE_TIMEOUT.max(3 * spec.session_timeout)));
    config
}

/// Gives a group its place in every partition that it has none in, and returns the places it could not be given: the group
/// has members, who were the first and have done so. Blocks.
///
/// The place is kept before the member joins, so that what is published before its first commit is not skipped after a
/// restart, and so that [`StartAt::End`] means now.
fn begin(
    shared: &Shared,
    group: &str,
    partitions: &[TopicPartition],
    start: StartAt,
) -> Result<HashMap<TopicPartition, u64>> {
    let unplaced = |known: &HashMap<TopicPartition, u64>| {
        let new = partitions.iter().filter(|at| !known.contains_key(*at));
        new.cloned().collect::<Vec<_>>()
    };
    let new = unplaced(&shared.committed(group, partitions)?);
    let at = if start == StartAt::Start { Offset::Beginning } else { Offset::End };
    let found = shared.offsets_at(&new, at)?;
    let mut starts: HashMap<_, _> = found.into_iter().map(|(at, offset)| (at, offset.unwrap_or(0))).collect();
    match shared.set_offsets(group, &starts) {
        Ok(()) => Ok(HashMap::new()),
        Err(None) => {
            let new = unplaced(&shared.committed(group, partitions)?);
            starts.retain(|at, _| new.contains(at));
            Ok(starts)
        }
        Err(Some(error)) => Err(error),
    }
}
