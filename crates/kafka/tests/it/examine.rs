//! The examination of a cluster, healthy and otherwise.

use banyan_core::{Check, Env, Finding, Verdict};
use banyan_engines::{Engine, Kind, Options};
use banyan_event_log::{Capability, LogExamination, LogOptions, LogProvider, Retention};
use banyan_kafka::KafkaLogs;
use std::time::Duration;

fn asked(limit: Duration) -> LogExamination {
    let options = LogOptions {
        system: "shop".to_owned(),
        client: "doctor".to_owned(),
        env: Env::default(),
        partitions_default: 3,
        retention_default: Retention { age_ms_max: Some(1_000), partition_bytes_max: None },
    };
    LogExamination { options, needs: vec![Capability::ReplayTime], limit }
}

#[tokio::test]
async fn a_healthy_cluster_is_fine_and_stays_as_it_is() {
    let kafka = Engine::shared(Kind::Kafka).await.unwrap();
    let url = format!("kafka://{}", kafka.url());
    let findings = KafkaLogs.examine(&url, asked(Duration::from_secs(40))).await;
    for (check, subject) in [
        (Check::Reachable, "cluster"),
        (Check::Durability, "replicas"),
        (Check::Permissions, "make topics"),
        (Check::Permissions, "see groups"),
        (Check::Guarantees, "events.needs"),
        (Check::Limits, "message.max.bytes"),
    ] {
        assert_eq!(Finding::of(&findings, check, subject).verdict, Verdict::Ok, "{findings:#?}");
    }
    let clock = Finding::of(&findings, Check::Clock, "cluster");
    assert!(clock.verdict == Verdict::Unknown && clock.found.starts_with("cannot tell"), "{clock:?}");
    let again = KafkaLogs.examine(&url, asked(Duration::from_secs(40))).await;
    assert!(!format!("{again:?}").contains("banyan_doctor"), "{again:?}");

    let findings = KafkaLogs.examine(&format!("{url}?replicas=3"), asked(Duration::from_secs(40))).await;
    let few = Finding::of(&findings, Check::Durability, "replicas");
    assert!(few.verdict == Verdict::Fail && few.found.starts_with("1 broker"), "{few:?}");
    assert_eq!(
        Finding::of(&findings, Check::Permissions, "make topics").verdict,
        Verdict::Fail,
        "{findings:#?}"
    );
}

#[tokio::test]
async fn a_broker_that_is_silent_or_gone_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(Kind::Kafka, Options::in_folder(folder.path())).await.unwrap();
    let url = format!("kafka://{}", engine.url());
    engine.pause().await.unwrap();
    for _ in 0..2 {
        let findings = KafkaLogs.examine(&url, asked(Duration::from_secs(2))).await;
        let gone = Finding::of(&findings, Check::Reachable, "cluster");
        assert!(gone.verdict == Verdict::Fail && gone.next_step.is_some(), "{gone:?}");
        // Silent first, then gone.
        let _ = engine.kill().await;
    }
}
