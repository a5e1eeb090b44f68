//! Topics, consumer groups, replay and dead letters.
//!
//! [`EventLog`] is the seam: publish envelopes, subscribe as a member of a consumer group, read, seek. The provider
//! in this crate, [`EmbeddedLog`], serves one machine; it claims nothing beyond that. Everything else works on any
//! provider: [`Consumer`] runs a [`Handler`] with order by key, retries and dead letters; [`dead_letters`] lists,
//! redrives and drops what failed for good; [`replay()`] moves a group; [`request_reply`] asks over topics and waits for the
//! answer.
//!
//! Delivery is at least once. A handler is idempotent by the envelope's id, which it finds as the idempotency key of
//! its [`banyan_core::Context`].

mod api;
pub mod assignment;
mod capabilities;
#[cfg(feature = "cloud-events")]
pub mod cloud_event;
#[cfg(feature = "conformance")]
pub mod conformance;
mod consumer;
pub mod dead_letters;
mod embedded;
mod fields;
mod provider;
mod replay;
pub mod request_reply;
pub mod url;

pub use api::{
    CONSUMER_FENCED, Delivery, EventLog, GroupInfo, GroupPartition, MemberInfo, OFFSET_OUT_OF_RANGE, Page,
    PartitionInfo, Position, RECORD_CORRUPT, ReadFrom, Record, Retention, SeekTo, StartAt, Subscription,
    SubscriptionSpec, TOPIC_PARTITIONS_FIXED, TopicConfig, TopicInfo,
};
pub use capabilities::{CAPABILITY_MISSING, Capabilities, Capability};
pub use consumer::{Consumer, ConsumerLimits, ConsumerOptions, Handler, Mode, handler_fn};
pub use dead_letters::DeadLetter;
pub use embedded::{Damage, EmbeddedLog, EmbeddedOptions, LOG_IN_USE, LOG_WRITE_FAILED, Recovery};
pub use provider::{LogExamination, LogOptions, LogProvider, OpenLog};
pub use replay::replay;
