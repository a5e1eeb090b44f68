//! The list of all topics and groups: a stream whose records everybody folds to the same state.
//!
//! The server orders the records; the first one about a topic decides how many partitions it has.

use crate::connection::Link;
use crate::names::catalog_name;
use crate::options::RabbitOptions;
use crate::stream::{Bounds, From, Tail, declare};
use crate::writer::Writer;
use banyan_core::{Code, Env, Error, Result};
use banyan_event_log::Retention;
use lapin::BasicProperties;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Messages read ahead.
const PREFETCH: u16 = 500;
/// Pause before a server that is starting is asked again.
const STARTING_PAUSE: Duration = Duration::from_millis(50);

/// What a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) partitions: u32,
    /// What its streams were declared with.
    pub(crate) made: Retention,
    /// What is asked for now.
    pub(crate) retention: Retention,
    /// Identifies who shall make the streams.
    pub(crate) maker: String,
    /// The offset in its stream of each partition's first event, once the streams are there.
    pub(crate) bases: Option<Arc<[u64]>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// Says nothing: there is always something to read.
    Opened,
    Topic {
        topic: String,
        partitions: u32,
        age_ms_max: Option<u64>,
        partition_bytes_max: Option<u64>,
        maker: String,
    },
    Ready {
        topic: String,
        bases: Vec<u64>,
    },
    Retention {
        topic: String,
        age_ms_max: Option<u64>,
        partition_bytes_max: Option<u64>,
    },
    Group {
        group: String,
    },
    GroupEnded {
        group: String,
    },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) groups: BTreeSet<String>,
    /// The newest record that is folded in.
    newest: Option<u64>,
}

impl State {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Opened => {}
            Entry::Topic { topic, partitions, age_ms_max, partition_bytes_max, maker } => {
                let retention = Retention { age_ms_max, partition_bytes_max };
                let made = Topic { partitions, made: retention, retention, maker, bases: None };
                self.topics.entry(topic).or_insert(made);
            }
            Entry::Ready { topic, bases } => {
                if let Some(topic) = self.topics.get_mut(&topic)
                    && bases.len() == topic.partitions as usize
                {
                    topic.bases.get_or_insert(bases.into());
                }
            }
            Entry::Retention { topic, age_ms_max, partition_bytes_max } => {
                if let Some(topic) = self.topics.get_mut(&topic) {
                    topic.retention = Retention { age_ms_max, partition_bytes_max };
                }
            }
            Entry::Group { group } => drop(self.groups.insert(group)),
            Entry::GroupEnded { group } => drop(self.groups.remove(&group)),
        }
    }
}

pub(crate) struct Catalog {
    link: Arc<Link>,
    options: RabbitOptions,
    env: Env,
    name: String,
    state: Mutex<State>,
    writer: Mutex<Option<Arc<Writer>>>,
}

impl Catalog {
    /// Opens the catalog, and makes it if there is none.
    pub(crate) async fn open(link: Arc<Link>, options: RabbitOptions, env: Env) -> Result<Self> {
        let name = catalog_name(&options.prefix);
        let until = env.clock.now() + options.request_timeout;
        loop {
            let channel = link.channel().await?;
            match declare(&channel, options.request_timeout, &name, Bounds::default()).await {
                Ok(()) => break,
                // A server that has just started takes connections before its streams.
                Err(error) if error.code() == Code::Unavailable && env.clock.now() < until => {
                    tokio::time::sleep(STARTING_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        let (state, writer) = (Mutex::default(), Mutex::default());
        let catalog = Self { link, options, env, name, state, writer };
        catalog.append(&Entry::Opened).await?;
        catalog.refresh().await?;
        Ok(catalog)
    }

    /// Appends a record; returns when it is kept.
    pub(crate) async fn append(&self, entry: &Entry) -> Result<()> {
        let body = serde_json::to_vec(entry).expect("texts and numbers have a JSON form");
        let properties = BasicProperties::default().with_content_type("application/json".into());
        self.writer().await?.append(vec![(properties, body.into())]).await.map(drop)
    }

    async fn writer(&self) -> Result<Arc<Writer>> {
        let mut writer = self.writer.lock().await;
        if let Some(writer) = writer.as_ref().filter(|w| !w.is_broken()) {
            return Ok(Arc::clone(writer));
        }
        let (channel, limit) = (self.link.channel().await?, self.options.request_timeout);
        let opened = Arc::new(Writer::open(channel, limit, &self.name, self.env.new_id()).await?);
        *writer = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Reads what is new and returns all.
    pub(crate) async fn refresh(&self) -> Result<State> {
        let mut state = self.state.lock().await;
        let from = state.newest.map_or(From::First, From::Offset);
        let channel = self.link.channel().await?;
        let mut tail = Tail::open(channel, self.options.request_timeout, &self.name, from, PREFETCH).await?;
        while let Some(message) = tail.next_before_end().await? {
            if state.newest.is_some_and(|newest| message.offset <= newest) {
                continue;
            }
            state.newest = Some(message.offset);
            match serde_json::from_slice(&message.delivery.data) {
                Ok(entry) => state.apply(entry),
                Err(error) => {
                    tracing::warn!(%error, offset = message.offset, "a record of the catalog is unknown")
                }
            }
        }
        Ok(state.clone())
    }

    /// Returns a topic as it was known last.
    pub(crate) async fn known(&self, topic: &str) -> Option<Topic> {
        self.state.lock().await.topics.get(topic).cloned()
    }

    /// Lists a group, if it is not yet.
    pub(crate) async fn add_group(&self, group: &str) -> Result<()> {
        if self.refresh().await?.groups.contains(group) {
            return Ok(());
        }
        self.append(&Entry::Group { group: group.to_owned() }).await
    }

    /// Makes a topic if there is none; returns what it is, with streams or still without.
    pub(crate) async fn add_topic(
        &self,
        topic: &str,
        partitions: u32,
        retention: Retention,
    ) -> Result<(Topic, bool)> {
        if let Some(known) = self.refresh().await?.topics.remove(topic) {
            return Ok((known, false));
        }
        let maker = self.env.new_id();
        let Retention { age_ms_max, partition_bytes_max } = retention;
        let (topic, me) = (topic.to_owned(), maker.clone());
        self.append(&Entry::Topic {
            topic: topic.clone(),
            partitions,
            age_ms_max,
            partition_bytes_max,
            maker,
        })
        .await?;
        let made = self.refresh().await?.topics.remove(&topic);
        let made = made.ok_or_else(|| Error::unavailable("RabbitMQ's catalog does not show a topic yet"))?;
        let mine = made.maker == me;
        Ok((made, mine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_about_a_topic_decides() {
        let mut state = State::default();
        let topic = |partitions, maker: &str| Entry::Topic {
            topic: "t".into(),
            partitions,
            age_ms_max: Some(5),
            partition_bytes_max: None,
            maker: maker.into(),
        };
        state.apply(topic(2, "a"));
        state.apply(topic(3, "b"));
        state.apply(Entry::Ready { topic: "t".into(), bases: vec![1] });
        state.apply(Entry::Ready { topic: "t".into(), bases: vec![1, 1] });
        state.apply(Entry::Ready { topic: "t".into(), bases: vec![2, 2] });
        state.apply(Entry::Retention { topic: "t".into(), age_ms_max: Some(1), partition_bytes_max: None });
        let topic = &state.topics["t"];
        assert_eq!((topic.partitions, &*topic.maker, topic.bases.as_deref()), (2, "a", Some(&[1, 1][..])));
        assert_eq!((topic.made.age_ms_max, topic.retention.age_ms_max), (Some(5), Some(1)));
    }
}
