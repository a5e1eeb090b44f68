//! The examination of a server, healthy and otherwise.

use banyan_cache::{CacheExamination, CacheProvider, SharedOptions};
use banyan_core::{Check, Env, Finding, Verdict};
use banyan_engines::{Engine, Kind, Options};
use banyan_redis::RedisCaches;
use std::time::Duration;

const SKEW_MS: u64 = 600_000;

fn asked(env: Env, limit: Duration) -> CacheExamination {
    let options = SharedOptions { system: "shop".to_owned() };
    CacheExamination { options, env, connections: 3, limit }
}

async fn examine(url: &str) -> Vec<Finding> {
    RedisCaches.examine(url, asked(Env::default(), Duration::from_secs(60))).await
}

#[tokio::test]
async fn a_healthy_server_is_fine_and_a_clock_that_is_off_is_told() {
    let redis = Engine::shared(Kind::Redis).await.unwrap();
    let findings = examine(redis.url()).await;
    for (check, subject) in [
        (Check::Reachable, "server"),
        (Check::Version, "server"),
        (Check::Clock, "server"),
        (Check::Permissions, "keys and scripts"),
        (Check::Limits, "maxclients"),
        (Check::Durability, "persistence"),
    ] {
        assert_eq!(Finding::of(&findings, check, subject).verdict, Verdict::Ok, "{findings:#?}");
    }
    let memory = Finding::of(&findings, Check::Limits, "maxmemory");
    assert!(memory.verdict == Verdict::Warn && memory.found.contains("no bound"), "{memory:?}");

    let behind = Env::simulated(1, Env::default().clock.unix_ms() - SKEW_MS);
    let findings = RedisCaches.examine(redis.url(), asked(behind, Duration::from_secs(60))).await;
    let clock = Finding::of(&findings, Check::Clock, "server");
    assert!(clock.verdict == Verdict::Fail && clock.found.starts_with("+"), "{clock:?}");
}

#[tokio::test]
async fn rights_passwords_and_silence_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let reader = "user reader on >hunter2 ~* +@read +ping +info +time";
    let options = Options::in_folder(folder.path()).arguments(reader.split(' ').fold(
        vec!["--user".to_owned()],
        |mut all, word| {
            if word != "user" {
                all.push(word.to_owned());
            }
            all
        },
    ));
    let engine = Engine::start(Kind::Redis, options).await.unwrap();
    let place = format!("127.0.0.1:{}", engine.port());
    let findings = examine(&format!("redis://reader:hunter2@{place}")).await;
    let keys = Finding::of(&findings, Check::Permissions, "keys and scripts");
    assert!(keys.verdict == Verdict::Fail && keys.found.contains("NOPERM"), "{findings:#?}");
    let findings = examine(&format!("redis://reader:hunter3@{place}")).await;
    let refused = Finding::of(&findings, Check::Reachable, "server");
    assert!(refused.found.contains("credentials"), "{refused:?}");
    assert!(!format!("{findings:?}").contains("hunter"), "{findings:?}");

    let limit = Duration::from_secs(1);
    engine.pause().await.unwrap();
    let silent = RedisCaches.examine(engine.url(), asked(Env::default(), limit)).await;
    assert_eq!(Finding::of(&silent, Check::Reachable, "server").verdict, Verdict::Fail, "{silent:?}");
    engine.resume().await.unwrap();
    engine.kill().await.unwrap();
    let gone = examine(engine.url()).await;
    let gone = Finding::of(&gone, Check::Reachable, "server");
    assert!(gone.next_step.as_deref().is_some_and(|next| next.contains("start the server")), "{gone:?}");
}
