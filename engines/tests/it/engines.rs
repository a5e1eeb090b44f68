//! The life of each engine.

use anyhow::Result;
use banyan_engines::{Engine, Faults as _, Kind, Mortal, Options, Parent, Peer};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

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
    engine.pause().await?;
    engine.resume().await?;
    engine.stop().await?;
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens after a stop");
    // A collector passes on what it gets.
    let in_use = kind == Kind::Rotel || engine.folder().join("data").read_dir()?.next().is_some();
    assert!(in_use, "the data folder is in use");
    Ok(())
}

/// Redis that acknowledges after a flush answers late while its disk is slow, and at once when it is fast again; what was
/// not flushed is not acknowledged when it is killed.
#[tokio::test]
async fn a_slow_disk_delays_what_waits_for_it() -> Result<()> {
    let redis = Mortal::start(Kind::Redis).await?;
    let port = redis.engine().port();
    let set = || async move {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"SET key value\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        anyhow::ensure!(answer == *b"+OK\r\n", "{answer:?}");
        anyhow::Ok(())
    };
    set().await?;
    redis.slow_disk(Duration::from_secs(3_600)).await;
    let mut held = Box::pin(set());
    assert!(timeout(Duration::from_millis(300), &mut held).await.is_err(), "nothing is acknowledged");
    redis.slow_disk(Duration::ZERO).await;
    timeout(Duration::from_secs(60), held).await??;
    redis.slow_disk(Duration::from_secs(3_600)).await;
    redis.kill().await;
    redis.restart().await;
    timeout(Duration::from_secs(60), set()).await?
}

/// Kafka, of many threads, can be killed while some of them wait for a disk that hangs.
#[tokio::test]
async fn an_engine_whose_disk_hangs_can_be_killed() -> Result<()> {
    let kafka = Mortal::start(Kind::Kafka).await?;
    kafka.slow_disk(Duration::from_secs(3_600)).await;
    // Heartbeats and checkpoints reach the disk by themselves.
    tokio::time::sleep(Duration::from_secs(2)).await;
    kafka.kill().await;
    kafka.restart().await;
    Ok(())
}

/// A peer says and hears lines, can be paused, and is gone when it is killed.
#[tokio::test]
async fn a_peer_is_a_process_of_its_own() -> Result<()> {
    if let Some(mut parent) = Parent::of_this_process() {
        parent.say(parent.argument())?;
        loop {
            let line = parent.hear().await;
            parent.say(&format!("heard {line}"))?;
        }
    }
    let mut peer = Peer::start(concat!(module_path!(), "::a_peer_is_a_process_of_its_own"), "a word").await?;
    assert_eq!(peer.hear().await?, "a word");
    peer.tell("one").await?;
    assert_eq!(peer.hear().await?, "heard one");
    peer.pause().await?;
    peer.tell("two").await?;
    assert!(timeout(Duration::from_millis(200), peer.hear()).await.is_err(), "it is paused");
    peer.resume()?;
    assert_eq!(peer.hear().await?, "heard two");
    peer.kill().await?;
    assert!(peer.hear().await.is_err() && peer.pid().is_none());
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

#[tokio::test]
async fn prometheus_lives() -> Result<()> {
    lives(Kind::Prometheus).await
}

#[tokio::test]
async fn alertmanager_lives() -> Result<()> {
    lives(Kind::Alertmanager).await
}

#[tokio::test]
async fn rotel_lives() -> Result<()> {
    lives(Kind::Rotel).await
}
