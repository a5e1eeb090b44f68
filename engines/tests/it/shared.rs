//! A server that tests share, and engines that outlive a command.

use anyhow::Result;
use banyan_engines::{Engine, Kind, standing};

#[tokio::test]
async fn tests_share_a_server_and_have_databases_of_their_own() -> Result<()> {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let shared = Engine::shared(kind).await?;
        assert!(std::ptr::eq(shared, Engine::shared(kind).await?), "one server a process");
        let (first, second) =
            (shared.create_database("orders").await?, shared.create_database("orders").await?);
        assert_ne!(first, second);
        assert_eq!(
            first.rsplit_once('/').map(|parts| parts.0),
            shared.url().rsplit_once('/').map(|parts| parts.0)
        );
        let refused = shared.create_database("Robert'); --").await.unwrap_err().to_string();
        assert!(refused.contains("no name for a database"), "{refused}");
    }
    let refused = Engine::shared(Kind::Nats).await?.create_database("orders").await.unwrap_err().to_string();
    assert!(refused.contains("nats has no databases"), "{refused}");
    Ok(())
}

/// The only test that touches `target/engines/redis`; it leaves one that was running before alone.
#[tokio::test]
async fn a_standing_engine_is_started_once_reported_and_stopped() -> Result<()> {
    if standing::status(Kind::Redis).await.pid.is_some() {
        assert!(standing::start(Kind::Redis).await?.starts_with("redis://"));
        return Ok(());
    }
    let url = standing::start(Kind::Redis).await?;
    assert_eq!(standing::start(Kind::Redis).await?, url, "one that runs is not started again");
    let status = standing::status(Kind::Redis).await;
    assert_eq!(status.url.as_deref(), Some(url.as_str()));
    assert!(status.installed && status.pid.is_some() && status.memory_bytes > Some(1 << 20), "{status:?}");
    assert!(status.version.is_some_and(|version| version.contains("Redis")));
    assert!(standing::stop(Kind::Redis).await?);
    assert!(!standing::stop(Kind::Redis).await?, "nothing is left to stop");
    assert_eq!(standing::status(Kind::Redis).await.pid, None);
    Ok(())
}
