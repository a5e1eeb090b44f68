//! What librdkafka tells a member: rebalances, which are only noted, and logs.

use crate::client::log;
use crate::topics::TopicPartition;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaRespErr;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

/// A step of a rebalance that waits for the member's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    /// The group went on without this member.
    Lost,
}

/// Notes what librdkafka tells while it is polled. Nothing here blocks.
#[derive(Default)]
pub(super) struct Changes {
    state: Mutex<State>,
    /// Held while a step is answered, on blocking threads only: librdkafka takes a second answer for that of the next step,
    /// and waits for ever when it is closed.
    pub(super) answering: Mutex<()>,
    pub(super) arrived: Notify,
}

#[derive(Default)]
struct State {
    /// Numbered, so that none is answered twice.
    waiting: VecDeque<(u64, Change)>,
    number: u64,
    /// The member leaves: every step is answered at once.
    leaving: bool,
}

impl Changes {
    /// Returns the step that is to be answered first; it stays until [`Changes::answered`].
    pub(super) fn first(&self) -> Option<(u64, Change)> {
        self.state.lock().waiting.front().cloned()
    }

    /// Tells whether a step still waits for its answer.
    pub(super) fn waits(&self, number: u64) -> bool {
        self.state.lock().waiting.front().is_some_and(|(first, _)| *first == number)
    }

    pub(super) fn answered(&self) {
        self.state.lock().waiting.pop_front();
    }

    /// From now on every step is answered at once; returns those that are not answered yet.
    pub(super) fn leave(&self) -> Vec<Change> {
        let mut state = self.state.lock();
        state.leaving = true;
        state.waiting.drain(..).map(|(_, change)| change).collect()
    }
}

#[derive(Clone)]
pub(super) struct MemberContext(pub(super) Arc<Changes>);

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let mut state = self.0.state.lock();
        if state.leaving {
            let answered = match assigned {
                true => consumer.incremental_assign(list),
                false => consumer.incremental_unassign(list),
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "a leaving member could not answer a rebalance");
            }
            return;
        }
        let place = |e: &TopicPartitionListElem<'_>| (e.topic().to_owned(), e.partition() as u32);
        let partitions = list.elements().iter().map(place).collect();
        let change = match assigned {
            true => Change::Assigned(partitions),
            false if consumer.assignment_lost() => Change::Lost,
            false => Change::Revoked(partitions),
        };
        state.number += 1;
        let number = state.number;
        state.waiting.push_back((number, change));
        self.0.arrived.notify_one();
    }
}
