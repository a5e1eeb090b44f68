//! The event log on RabbitMQ streams.
//!
//! A partition of a topic is one stream (a queue of the type `stream`), which keeps events for every reader; a quorum queue
//! forgets what is acknowledged and could replay nothing (docs/decisions/0010-rabbitmq-streams.md). All goes over AMQP
//! 0-9-1: no plugin has to be enabled. Events travel as CloudEvents 1.0 in AMQP's binary mode (see [`cloud_event`]), with
//! publisher confirms, and are routed by CRC-32C of their key, as in the embedded log.
//!
//! | stream | holds |
//! |---|---|
//! | `PREFIX.topic.TOPIC.PARTITION` | the events, behind a mark that is no event |
//! | `PREFIX.catalog` | the topics, with the number of their partitions, and the groups |
//! | `PREFIX.group.GROUP` | the group's journal: joins, leaves, releases, commits, seeks |
//!
//! A server that is killed while it makes a stream has no use for that name any more: the catalog then holds the name that
//! took its place (`PREFIX.topic~1.TOPIC.PARTITION`).
//!
//! Single active consumers of streams need RabbitMQ 3.11 and offsets on the server the stream protocol, so neither is used.
//! What members agree on is the order that the server gives to the records of their group's journal: everybody folds the
//! same records to the same owners and offsets, and a commit of a former owner, or from before a seek, counts for nobody.
//! A member lives as long as the server counts the consumer of its own queue `PREFIX.member.TOKEN`; whoever follows it in
//! the group writes that it is out. The only clock is a member's own: silent for its session timeout, it leaves.
//!
//! # What it does not guarantee
//!
//! - **Deduplication.** AMQP publishers cannot be known again after a new connection: a publish that is repeated after an
//!   error is kept twice. Handlers are idempotent by the event's id.
//! - **Atomic publish.** After an error the first events of a partition may be kept, in their order, the others not.
//! - **Contiguous offsets.** Where the server begins a new segment, its own records may take an offset. The count of events
//!   that a group has still to handle is then too high by as much, and 0 where it has handled all.
//! - **Power cuts.** The server confirms what a majority of the stream's replicas have written, and does not wait for disks:
//!   what one server confirmed survives its process, not its machine. Durable means a cluster of three. A server that has
//!   never kept a stream notes that it does half a second after the first one was made; killed before, it loses them all.
//! - **The server's time.** An event's `appended_ms`, and so a seek to a time, follows the clock of its publisher; clocks that
//!   differ by more than a minute may hide an event from such a seek, or make it fail.
//! - **Retention** is fixed when a topic is made, but for a shorter age ([`RABBITMQ_RETENTION_FIXED`]); the server forgets
//!   whole segments. Sizes are not known: `PartitionInfo::bytes` is `None`.
//! - **Positions cost a reader.** The server confirms without saying where; a publisher reads what is written to the
//!   partitions that it writes to.
//! - **TLS.** `amqps` needs the feature `tls`, which is off: the client brings two dozen crates for it.
//! - **Channels and connections.** A process has one connection for itself and one for each of its members; the partitions
//!   that it writes to take a channel each, of which a connection has 2,047.
//! - The journal of a group that is not durable is deleted by the last member that leaves in order; one that all members
//!   crashed out of is no longer listed, but stays on the server.

mod catalog;
pub mod cloud_event;
mod connection;
mod errors;
mod examine;
mod group;
mod log;
mod names;
mod options;
mod publish;
mod stream;
mod topics;
mod writer;

pub use errors::{
    RABBITMQ_NAME_SPOILED, RABBITMQ_STREAM_DOWN, RABBITMQ_VHOST_REFUSED, RABBITMQ_WITHOUT_STREAMS,
};
pub use log::{RabbitLog, RabbitLogs};
pub use names::{partition_of, stream_name};
pub use options::RabbitOptions;
pub use topics::RABBITMQ_RETENTION_FIXED;
