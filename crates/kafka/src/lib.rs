//! The event log on Apache Kafka.
//!
//! Topics, partitions, offsets and consumer groups are Kafka's own, so that any Kafka client takes part: events travel
//! as CloudEvents 1.0 in Kafka's binary mode (see [`cloud_event`]). The partition of an event is the embedded log's:
//! CRC-32C of its key (see [`partition_of`]). A foreign producer that publishes to the same topic with another
//! partitioner keeps the order among its own events of a key, but not with ours.
//!
//! An acknowledged event is on all in-sync replicas (`acks=all`, idempotent producer). Kafka does not flush a record to
//! disk before it acknowledges it: what survives the loss of machines is a matter of [`KafkaOptions::replicas`] and
//! [`KafkaOptions::in_sync_replicas_min`].
//!
//! Groups use Kafka's classic group protocol with cooperative rebalancing and static membership: a member's name is its
//! `group.instance.id`, so a second member of that name takes the place of the first at once, and the broker fences the
//! first one's commits. Other clients in the same group must use the `cooperative-sticky` assignor. What Kafka cannot do
//! is declared (see [`KafkaLog::CAPABILITIES`]) and refused, most of all moving a group that has members.
//!
//! The client library, librdkafka, works on threads of its own; whatever it blocks on runs on the runtime's blocking
//! threads, at most [`KafkaOptions::blocking_calls_max`] at a time. Call [`KafkaLog::close`] at the end of a process, so
//! that its members leave their groups at once.

mod client;
pub mod cloud_event;
mod errors;
mod examine;
mod groups;
mod log;
mod member;
mod options;
mod provider;
mod publish;
mod read;
mod topics;
mod transactions;

pub use log::KafkaLog;
pub use options::KafkaOptions;
pub use provider::KafkaLogs;
pub use publish::partition_of;
pub use transactions::PRODUCER_FENCED;
