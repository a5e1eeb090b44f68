//! Looks whether a Kafka cluster can be used, and changes nothing.

use crate::client::Shared;
use crate::errors::failed;
use crate::log::KafkaLog;
use crate::options::KafkaOptions;
use banyan_core::{Check, Error, Finding, Result};
use banyan_event_log::LogExamination;
use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Times that the smallest question is asked; the fastest answer counts.
const LATENCY_ROUNDS: usize = 3;
/// Part of the time of an examination that one question may take: one in so many.
const QUESTION_PART: u32 = 2;

/// What the brokers say of the cluster.
struct Cluster {
    brokers: Vec<i32>,
    took: Duration,
    topics: usize,
}

pub(crate) async fn examine(options: Result<KafkaOptions>, asked: LogExamination) -> Vec<Finding> {
    let made = options.and_then(|options| {
        let request_timeout = options.request_timeout.min(asked.limit / QUESTION_PART);
        Shared::new(KafkaOptions { request_timeout, ..options }, asked.options.env.clone())
    });
    let shared = match made {
        Ok(shared) => Arc::new(shared),
        Err(error) => {
            return vec![Finding::of_error(Check::Configuration, "URL", &error, "correct events.url")];
        }
    };
    let mut findings = vec![asked.guarantees(KafkaLog::capabilities_with(&shared.options))];
    match shared.blocking(cluster).await {
        Ok(cluster) => {
            findings.push(Finding::reached("cluster", cluster.took));
            findings.push(Finding::no_clock("cluster"));
            findings.push(replicas(&cluster, &shared.options));
            settings(&shared, &cluster, &mut findings).await;
            findings.push(make_topics(&shared, &asked).await);
            findings.push(see_groups(&shared).await);
        }
        Err(error) => {
            let found = format!("no Kafka broker answers at {}", shared.options.bootstrap);
            let error = Error::unavailable(found).with_source(error);
            let next = "start the brokers, or correct hosts and ports in events.url; their advertised.listeners must be \
                        reachable from here";
            findings.push(Finding::of_error(Check::Reachable, "cluster", &error, next));
        }
    }
    findings
}

fn cluster(shared: &Shared) -> Result<Cluster> {
    let limit = shared.options.request_timeout;
    let mut cluster: Option<Cluster> = None;
    for _ in 0..LATENCY_ROUNDS {
        let began = shared.env.clock.now();
        let metadata = shared.ask(|| shared.control.fetch_metadata(None, limit));
        let metadata = metadata.map_err(|error| failed("the brokers could not be asked", error))?;
        let took = shared.env.clock.now() - began;
        let took = cluster.map_or(took, |known| known.took.min(took));
        let brokers = metadata.brokers().iter().map(|broker| broker.id()).collect();
        cluster = Some(Cluster { brokers, took, topics: metadata.topics().len() });
    }
    cluster.ok_or_else(|| Error::unavailable("the brokers were not asked"))
}

fn replicas(cluster: &Cluster, options: &KafkaOptions) -> Finding {
    let (brokers, replicas) = (cluster.brokers.len(), usize::from(options.replicas));
    let found = format!(
        "{brokers} {}, {} topics; each event is kept by {replicas}",
        if brokers == 1 { "broker" } else { "brokers" },
        cluster.topics
    );
    match () {
        () if replicas > brokers => {
            let next = format!("add brokers, or write replicas={brokers} in events.url");
            Finding::fail(Check::Durability, "replicas", found, next)
        }
        () if replicas == 1 && brokers > 1 => {
            let found = format!("{found}: a broker that is lost takes events with it");
            Finding::warn(
                Check::Durability,
                "replicas",
                found,
                "write replicas=3 in events.url before topics are made",
            )
        }
        () => Finding::ok(Check::Durability, "replicas", found),
    }
}

/// Looks into the settings of one broker: the others should have the same.
async fn settings(shared: &Arc<Shared>, cluster: &Cluster, findings: &mut Vec<Finding>) {
    let Some(broker) = cluster.brokers.first() else { return };
    let limits = AdminOptions::new().request_timeout(Some(shared.options.request_timeout));
    let described = shared.admin.describe_configs([&ResourceSpecifier::Broker(*broker)], &limits).await;
    let described = match described.map(|mut all| all.pop()) {
        Ok(Some(Ok(resource))) => resource,
        Ok(Some(Err(code))) => return findings.push(not_described(&KafkaError::AdminOp(code))),
        Ok(None) => return,
        Err(error) => return findings.push(not_described(&error)),
    };
    let values: BTreeMap<String, String> =
        described.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
    findings.push(version(&values));
    let number = |name: &str| values.get(name).and_then(|value| value.parse::<u64>().ok());
    if let Some(most) = number("message.max.bytes") {
        let wanted = shared.options.record_bytes_max() as u64;
        let found =
            format!("{most}; topics of this system take {wanted}, whatever the brokers' own bound is");
        findings.push(Finding::ok(Check::Limits, "message.max.bytes", found));
    }
    if let (Some(fetch), wanted) =
        (number("replica.fetch.max.bytes"), shared.options.record_bytes_max() as u64)
        && shared.options.replicas > 1
        && fetch < wanted
    {
        let found = format!("{fetch}: less than the largest record ({wanted}); replication is slow for such");
        let next = format!("set replica.fetch.max.bytes={wanted} on the brokers");
        findings.push(Finding::warn(Check::Limits, "replica.fetch.max.bytes", found, next));
    }
    if values.get("unclean.leader.election.enable").is_some_and(|value| value == "true") {
        let found = "unclean.leader.election.enable = true: a new leader may lack acknowledged events";
        let next = "set unclean.leader.election.enable=false on the brokers";
        findings.push(Finding::warn(Check::Durability, "leaders", found, next));
    }
}

fn version(values: &BTreeMap<String, String>) -> Finding {
    let said = values.get("inter.broker.protocol.version").or_else(|| values.get("metadata.version"));
    match said {
        Some(version) => Finding::ok(Check::Version, "cluster", format!("speaks {version}")),
        None => Finding::unknown(
            Check::Version,
            "cluster",
            "cannot tell: the brokers do not say it (4 is tested)",
        ),
    }
}

fn not_described(error: &KafkaError) -> Finding {
    let found = format!("cannot tell: the brokers' settings may not be read ({error})");
    Finding::unknown(Check::Version, "cluster", found)
}

/// Asks the cluster whether it would make a topic as the system makes them; it is not made.
async fn make_topics(shared: &Arc<Shared>, asked: &LogExamination) -> Finding {
    let subject = "make topics";
    let name = format!("banyan_doctor_{}", asked.options.env.new_id());
    let options = &shared.options;
    let record_bytes_max = options.record_bytes_max().to_string();
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(i32::from(options.replicas)))
        .set("cleanup.policy", "delete")
        .set("message.timestamp.type", "LogAppendTime")
        .set("max.message.bytes", &record_bytes_max);
    let limit = Some(options.request_timeout);
    let only_asked = AdminOptions::new().request_timeout(limit).operation_timeout(limit).validate_only(true);
    let answer = shared.admin.create_topics([&topic], &only_asked).await;
    let error = match answer.map(|mut all| all.pop()) {
        Ok(None | Some(Ok(_))) => {
            return Finding::ok(Check::Permissions, subject, "may (asked, none was made)");
        }
        Ok(Some(Err((_, code)))) => KafkaError::AdminOp(code),
        Err(error) => error,
    };
    let next = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::InvalidReplicationFactor) => {
            "write fewer replicas= in events.url, or add brokers".to_owned()
        }
        _ => "kafka-acls.sh --add --allow-principal User:NAME --operation Create --operation Describe --operation Write \
              --operation Read --topic '*'"
            .to_owned(),
    };
    Finding::of_error(Check::Permissions, subject, &failed("the cluster refuses a topic", error), next)
}

/// Asks for the groups, which every member does.
async fn see_groups(shared: &Arc<Shared>) -> Finding {
    let subject = "see groups";
    let asked = shared.blocking(|shared| {
        let limit = shared.options.request_timeout;
        let groups = shared.ask(|| shared.control.fetch_group_list(None, limit));
        groups.map(|list| list.groups().len()).map_err(|error| failed("groups could not be listed", error))
    });
    match asked.await {
        Ok(count) => Finding::ok(Check::Permissions, subject, format!("may; there are {count}")),
        Err(error) => {
            let next = "kafka-acls.sh --add --allow-principal User:NAME --operation Read --operation Describe --group '*'";
            Finding::of_error(Check::Permissions, subject, &error, next)
        }
    }
}
