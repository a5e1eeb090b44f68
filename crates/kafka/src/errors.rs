//! Kafka's errors as ours.

use banyan_core::{Code, Error};
use banyan_event_log::{CONSUMER_FENCED, RECORD_CORRUPT};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Says that `what` could not be done, and what the code means for the caller.
pub(crate) fn failed(what: &str, error: KafkaError) -> Error {
    use RDKafkaErrorCode as E;
    let Some(code) = error.rdkafka_error_code() else {
        return Error::unavailable(format!("{what}: Kafka's client failed")).with_source(error);
    };
    let message = format!("{what}: {code}");
    let mapped = match code {
        E::TopicAuthorizationFailed | E::GroupAuthorizationFailed | E::ClusterAuthorizationFailed => {
            Error::permission_denied(message)
        }
        E::SaslAuthenticationFailed | E::Authentication => Error::unauthenticated(message),
        E::MessageSizeTooLarge => Error::invalid("payload", "is larger than the topic takes"),
        E::InvalidTopic => Error::invalid("topic", "is no name that Kafka takes"),
        E::InvalidSessionTimeout => {
            let bounds =
                "is outside the broker's group.min.session.timeout.ms and group.max.session.timeout.ms";
            Error::invalid("session_timeout", bounds)
        }
        E::InconsistentGroupProtocol => Error::invalid(
            "group",
            "has members that share partitions in another way than cooperative-sticky",
        ),
        E::InvalidReplicationFactor => Error::invalid("kafka.replicas", "the cluster has fewer brokers"),
        E::QueueFull => Error::overloaded(message),
        E::BadMessage | E::InvalidMessage => Error::new(Code::DataLoss, RECORD_CORRUPT, message),
        _ => Error::unavailable(message),
    };
    mapped.with_source(error)
}

/// Says that a member is out of its group.
pub(crate) fn fenced(group: &str, why: &str) -> Error {
    Error::failed_precondition(CONSUMER_FENCED, format!("this consumer is no longer in group {group}: {why}"))
}

/// Tells whether the broker does not know this member, or knows a newer one.
pub(crate) fn is_fencing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(code, E::UnknownMemberId | E::FencedInstanceId | E::Fatal | E::AssignmentLost | E::PollExceeded)
}

/// Tells whether the group is just being shared out anew: the same request may work in a moment.
pub(crate) fn is_rebalance(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::RebalanceInProgress | RDKafkaErrorCode::IllegalGeneration)
}

/// Tells whether a topic or partition is not there.
pub(crate) fn is_unknown(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(code, E::UnknownTopicOrPartition | E::UnknownTopic | E::UnknownPartition)
}

/// Tells whether the cluster is just changing leaders: the same question may be answered in a moment.
pub(crate) fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::NotLeaderForPartition
            | E::LeaderNotAvailable
            | E::FencedLeaderEpoch
            | E::UnknownLeaderEpoch
            | E::OffsetNotAvailable
            | E::KafkaStorageError
            | E::NotCoordinator
            | E::CoordinatorNotAvailable
            | E::CoordinatorLoadInProgress
            | E::BrokerTransportFailure
            | E::WaitingForCoordinator
    )
}
