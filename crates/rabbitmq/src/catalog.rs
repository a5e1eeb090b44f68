//! The list of all topics and groups: a stream whose records everybody folds to the same state.
//!
//! The server orders the records; the first one about a topic decides how many partitions it has.

use crate::connection::Link;
use crate::names::{catalog_name, journal_name, stream_name};
use crate::options::RabbitOptions;
use crate::stream::{Bounds, From, Tail, declare};
use crate::writer::Writer;
use banyan_core::{Code, Env, Error, Result};
use banyan_event_log::Retention;
use lapin::BasicProperties;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
    /// Each partition's stream, once they are there.
    pub(crate) streams: Option<Arc<[Stream]>>,
}

/// The stream of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) name: String,
    /// The offset in it of the partition's first event.
    pub(crate) base: u64,
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
    /// The streams of a topic are there, under the names that a catalog had always given unless it says others.
    Ready {
        topic: String,
        bases: Vec<u64>,
        #[serde(default)]
        names: Vec<String>,
    },
    Retention {
        topic: String,
        age_ms_max: Option<u64>,
        partition_bytes_max: Option<u64>,
    },
    /// A group, and the stream that is its journal.
    Group {
        group: String,
        #[serde(default)]
        journal: Option<String>,
    },
    GroupEnded {
        group: String,
    },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    prefix: String,
    pub(crate) topics: BTreeMap<String, Topic>,
    /// The journals of groups.
    pub(crate) groups: BTreeMap<String, String>,
    /// The newest record that is folded in.
    newest: Option<u64>,
}

impl State {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Opened => {}
            Entry::Topic { topic, partitions, age_ms_max, partition_bytes_max, maker } => {
                let retention = Retention { age_ms_max, partition_bytes_max };
                let made = Topic { partitions, made: retention, retention, maker, streams: None };
                self.topics.entry(topic).or_insert(made);
            }
            Entry::Ready { topic: name, bases, names } => {
                if let Some(topic) = self.topics.get_mut(&name)
                    && bases.len() == topic.partitions as usize
                {
                    let stream = |(partition, base): (u32, u64)| Stream {
                        name: match names.get(partition as usize) {
                            Some(name) => name.clone(),
                            None => stream_name(&self.prefix, &name, partition),
                        },
                        base,
                    };
                    topic.streams.get_or_insert_with(|| (0..).zip(bases).map(stream).collect());
                }
            }
            Entry::Retention { topic, age_ms_max, partition_bytes_max } => {
                if let Some(topic) = self.topics.get_mut(&topic) {
                    topic.retention = Retention { age_ms_max, partition_bytes_max };
                }
            }
            Entry::Group { group, journal } => {
                let journal = journal.unwrap_or_else(|| journal_name(&self.prefix, &group));
                self.groups.entry(group).or_insert(journal);
            }
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
        let state = State { prefix: options.prefix.clone(), ..State::default() };
        let (state, writer) = (Mutex::new(state), Mutex::default());
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
        let mut state = State { prefix: "shop".into(), ..State::default() };
        let topic = |partitions, maker: &str| Entry::Topic {
            topic: "t".into(),
            partitions,
            age_ms_max: Some(5),
            partition_bytes_max: None,
            maker: maker.into(),
        };
        state.apply(topic(2, "a"));
        state.apply(topic(3, "b"));
        let ready = |bases: &[u64], names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            Entry::Ready { topic: "t".into(), bases: bases.to_vec(), names }
        };
        state.apply(ready(&[1], &[]));
        state.apply(ready(&[1, 1], &["t~1"]));
        state.apply(ready(&[2, 2], &[]));
        state.apply(Entry::Retention { topic: "t".into(), age_ms_max: Some(1), partition_bytes_max: None });
        let topic = &state.topics["t"];
        assert_eq!((topic.partitions, &*topic.maker), (2, "a"));
        let stream = |name: &str| Stream { name: name.into(), base: 1 };
        assert_eq!(topic.streams.as_deref(), Some(&[stream("t~1"), stream("shop.topic.t.1")][..]));
        assert_eq!((topic.made.age_ms_max, topic.retention.age_ms_max), (Some(5), Some(1)));
    }
}
