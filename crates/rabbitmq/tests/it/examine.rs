//! The examination of a server, healthy and otherwise.

use banyan_core::{Check, Env, Finding, Verdict};
use banyan_engines::{Engine, Kind};
use banyan_event_log::{Capability, LogExamination, LogOptions, LogProvider, Retention};
use banyan_rabbitmq::RabbitLogs;
use std::time::Duration;

fn asked(limit: Duration) -> LogExamination {
    let options = LogOptions {
        system: "doctor".to_owned(),
        client: "doctor".to_owned(),
        env: Env::default(),
        partitions_default: 3,
        retention_default: Retention { age_ms_max: Some(1_000), partition_bytes_max: None },
    };
    LogExamination { options, needs: vec![Capability::Deduplication], limit }
}

#[tokio::test]
async fn a_healthy_server_is_fine_and_what_is_refused_is_told() {
    let rabbit = Engine::shared(Kind::RabbitMq).await.unwrap();
    let limit = Duration::from_secs(60);
    let findings = RabbitLogs.examine(rabbit.url(), asked(limit)).await;
    for (check, subject) in [
        (Check::Reachable, "server"),
        (Check::Version, "server"),
        (Check::Permissions, "streams"),
        (Check::Limits, "channel_max"),
    ] {
        assert_eq!(Finding::of(&findings, check, subject).verdict, Verdict::Ok, "{findings:#?}");
    }
    assert_eq!(Finding::of(&findings, Check::Clock, "server").verdict, Verdict::Unknown);
    let lacks = Finding::of(&findings, Check::Guarantees, "events.needs");
    assert_eq!(lacks.verdict, Verdict::Fail, "{lacks:?}");

    let (place, _) = rabbit.url().rsplit_once('/').unwrap();
    let findings = RabbitLogs.examine(&format!("{place}/absent"), asked(limit)).await;
    let absent = Finding::of(&findings, Check::Permissions, "virtual host");
    assert!(absent.next_step.as_deref().is_some_and(|next| next.contains("add_vhost")), "{absent:?}");
    let wrong = rabbit.url().replace("guest:guest", "guest:hunter2");
    let findings = RabbitLogs.examine(&wrong, asked(limit)).await;
    let refused = Finding::of(&findings, Check::Reachable, "server");
    assert!(refused.found.contains("credentials"), "{refused:?}");
    assert!(!format!("{findings:?}").contains("hunter2"), "{findings:?}");
    let findings = RabbitLogs.examine("amqp://guest:guest@127.0.0.1:1/%2f", asked(limit)).await;
    let gone = Finding::of(&findings, Check::Reachable, "server");
    assert!(gone.next_step.as_deref().is_some_and(|next| next.contains("start the server")), "{gone:?}");
}
