//! The examination of a server, healthy and otherwise.

use banyan_core::{Check, Env, Finding, Verdict};
use banyan_engines::{Engine, Kind, Options};
use banyan_event_log::{Capability, LogExamination, LogOptions, LogProvider, Retention};
use banyan_nats::NatsLogs;
use std::time::Duration;

const SKEW_MS: u64 = 600_000;

fn asked(env: Env, limit: Duration) -> LogExamination {
    let options = LogOptions {
        system: "shop".to_owned(),
        client: "doctor".to_owned(),
        env,
        partitions_default: 3,
        retention_default: Retention { age_ms_max: Some(1_000), partition_bytes_max: None },
    };
    LogExamination { options, needs: vec![Capability::ReplayTime, Capability::AtomicPublish], limit }
}

async fn examine(url: &str) -> Vec<Finding> {
    NatsLogs.examine(url, asked(Env::default(), Duration::from_secs(60))).await
}

#[tokio::test]
async fn a_healthy_server_is_fine_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(Kind::Nats, Options::in_folder(folder.path())).await.unwrap();
    let findings = examine(engine.url()).await;
    for (check, subject) in [
        (Check::Reachable, "server"),
        (Check::Version, "server"),
        (Check::Clock, "server"),
        (Check::Permissions, "JetStream"),
        (Check::Permissions, "streams"),
        (Check::Limits, "max_payload"),
        (Check::Limits, "storage"),
    ] {
        assert_eq!(Finding::of(&findings, check, subject).verdict, Verdict::Ok, "{findings:#?}");
    }
    let lacks = Finding::of(&findings, Check::Guarantees, "events.needs");
    assert!(lacks.verdict == Verdict::Fail && lacks.found == "nats lacks atomic-publish", "{lacks:?}");
    let client = async_nats::connect(engine.url()).await.unwrap();
    let account = async_nats::jetstream::new(client).query_account().await.unwrap();
    assert_eq!(account.streams, 0, "nothing stays");

    let ahead = Env::simulated(1, Env::default().clock.unix_ms() + SKEW_MS);
    let findings = NatsLogs.examine(engine.url(), asked(ahead, Duration::from_secs(60))).await;
    let clock = Finding::of(&findings, Check::Clock, "server");
    assert!(clock.verdict == Verdict::Fail && clock.found.starts_with("-"), "{clock:?}");

    engine.pause().await.unwrap();
    let silent = NatsLogs.examine(engine.url(), asked(Env::default(), Duration::from_secs(1))).await;
    assert_eq!(Finding::of(&silent, Check::Reachable, "server").verdict, Verdict::Fail, "{silent:?}");
    engine.resume().await.unwrap();
    engine.kill().await.unwrap();
    let gone = examine(engine.url()).await;
    let gone = Finding::of(&gone, Check::Reachable, "server");
    assert!(gone.next_step.as_deref().is_some_and(|next| next.contains("start the server")), "{gone:?}");
}

#[tokio::test]
async fn rights_passwords_and_a_missing_jetstream_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("accounts.conf");
    // What the system may publish leaves out the making of streams; the other account has no JetStream.
    let text = "accounts {
        SHOP { jetstream: enabled, users: [{ user: shop, password: hunter2, permissions: {
            publish: [\"$JS.API.INFO\"], subscribe: [\"_INBOX.>\"] } }] }
        OFF { users: [{ user: nobody, password: hunter2 }] } }
        no_auth_user: nobody";
    std::fs::write(&configuration, text).unwrap();
    let configured = ["-c".to_owned(), configuration.display().to_string()];
    let options = Options::in_folder(folder.path().join("nats")).arguments(configured);
    let engine = Engine::start(Kind::Nats, options).await.unwrap();
    let url = |who: &str| format!("nats://{who}@127.0.0.1:{}", engine.port());
    let findings = examine(&url("nobody:hunter2")).await;
    let off = Finding::of(&findings, Check::Permissions, "JetStream");
    assert!(off.verdict == Verdict::Fail && off.found.contains("without JetStream"), "{off:?}");
    let limit = Duration::from_secs(3);
    let findings = NatsLogs.examine(&url("shop:hunter2"), asked(Env::default(), limit)).await;
    let streams = Finding::of(&findings, Check::Permissions, "streams");
    assert!(streams.verdict == Verdict::Fail && streams.next_step.is_some(), "{findings:#?}");
    let findings = examine(&url("shop:hunter3")).await;
    let refused = Finding::of(&findings, Check::Reachable, "server");
    assert!(refused.found.contains("does not accept the credentials"), "{refused:?}");
    assert!(!format!("{findings:?}").contains("hunter"), "{findings:?}");
}
