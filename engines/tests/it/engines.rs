//! The life of each engine.

use anyhow::Result;
use banyan_engines::{Engine, Kind, Options};

/// Starts an engine, kills it, restarts it, pauses it, stops it; port and data folder stay.
async fn lives(kind: Kind) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let engine = Engine::start(kind, Options::in_folder(folder.path())).await?;
    let (url, port, pid) = (engine.url().to_owned(), engine.port(), engine.pid().await);
    assert!(url.contains(&port.to_string()), "{url} names port {port}");
    engine.kill().await?;
    assert_eq!(engine.pid().await, None);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens after a kill");
    engine.restart().await?;
    assert_ne!(engine.pid().await, pid, "a new process");
    assert_eq!((engine.url(), engine.port()), (url.as_str(), port));
    assert!(engine.folder().join("data").read_dir()?.next().is_some(), "the data folder is in use");
    engine.pause().await?;
    engine.resume().await?;
    engine.stop().await?;
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens after a stop");
    Ok(())
}

#[tokio::test]
async fn nats_lives() -> Result<()> {
    lives(Kind::Nats).await
}

#[tokio::test]
async fn postgres_lives() -> Result<()> {
    lives(Kind::Postgres).await
}

#[tokio::test]
async fn mariadb_lives() -> Result<()> {
    lives(Kind::MariaDb).await
}

#[tokio::test]
async fn rabbitmq_lives() -> Result<()> {
    lives(Kind::RabbitMq).await
}

#[tokio::test]
async fn redis_lives() -> Result<()> {
    lives(Kind::Redis).await
}

#[tokio::test]
async fn etcd_lives() -> Result<()> {
    lives(Kind::Etcd).await
}

#[tokio::test]
async fn openbao_lives() -> Result<()> {
    lives(Kind::OpenBao).await
}

#[tokio::test]
async fn kafka_lives() -> Result<()> {
    lives(Kind::Kafka).await
}
