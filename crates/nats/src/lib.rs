//! The event log on NATS JetStream.
//!
//! A partition of a topic is one JetStream stream, so that offsets have no gaps, retention is per partition and the
//! partitions' leaders spread over a cluster. The partition of an event is the embedded log's: CRC-32C of its key.
//! Events travel as CloudEvents 1.0 in NATS's binary mode (see [`cloud_event`]), each under its id as `Nats-Msg-Id`:
//! published again within the deduplication window, it is kept once. Events of one call and partition name the one before
//! them (`Nats-Expected-Last-Msg-Id`) or are one atomic batch, so that an event that is lost on its way cannot be overtaken
//! by the next of its key.
//!
//! Members of a consumer group agree through a key-value bucket alone: a member is a key that the *server* expires
//! (per-key TTL), a partition's offset and owner are a key that changes by compare-and-set on its revision. Whoever
//! has taken a partition over has thereby changed the revision, which is what fences the former owner's commit; no
//! clock of ours decides anything.
//!
//! What NATS does otherwise than the embedded log:
//!
//! - Of a call of `publish` that fails, a beginning of each partition's events may be kept.
//! - Its acknowledgement says that the replicas have the event, not that a disk has: with one replica a power cut may
//!   lose the last events, unless the server runs with `sync_interval: always`. A killed server loses none.
//! - Session timeouts are whole seconds, at least one.
//! - Payload and attributes together must fit the server's `max_payload` (1 MiB unless set).
//!
//! A client that is not ours publishes to a topic under [`event_subject`], and keeps the order of its keys if it picks
//! the partition as [`partition_of`] does; it reads a topic under `PREFIX.TOPIC.*`.
//!
//! [`NatsConfigs`] reads a system's configuration from a key-value bucket.
//!
//! It needs NATS 2.12 (atomic batches; TTLs and batched reads are older) with JetStream enabled.

mod bucket;
pub mod cloud_event;
mod config_source;
mod connection;
mod errors;
mod examine;
mod group;
mod log;
mod names;
mod options;
mod provider;
mod publish;
mod read;
mod topics;

pub use config_source::NatsConfigs;
pub use errors::{NATS_TOO_OLD, NATS_WITHOUT_JETSTREAM};
pub use log::NatsLog;
pub use names::{event_subject, partition_of};
pub use options::NatsOptions;
pub use provider::NatsLogs;
