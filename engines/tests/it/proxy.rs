//! The fault proxy: in front of an echo server, and in front of a real engine.

use anyhow::{Context, Result};
use banyan_engines::{Direction, Engine, FaultProxy, Kind, Options, RandomFaults};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Bound of everything that is waited for.
const LIMIT: Duration = Duration::from_secs(60);
/// How long silence is listened to before it counts as silence.
const SILENCE: Duration = Duration::from_millis(200);

/// A server that sends back what it gets.
struct Echo {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

async fn echo() -> Result<Echo> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut from, mut to) = stream.split();
                // A cut connection is what these tests are about.
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Ok(Echo { address, _tasks: tasks })
}

async fn proxied() -> Result<(Echo, FaultProxy)> {
    let echo = echo().await?;
    let proxy = FaultProxy::start(echo.address).await?;
    Ok((echo, proxy))
}

/// Sends `text` and reads it back.
async fn round_trip(stream: &mut TcpStream, text: &[u8]) -> Result<()> {
    stream.write_all(text).await?;
    let mut back = vec![0; text.len()];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut back)).await.context("no echo")??;
    assert_eq!(back, text);
    Ok(())
}

/// Reads until the connection ends; returns what came and how it ended.
async fn rest(stream: &mut TcpStream) -> Result<(Vec<u8>, Option<ErrorKind>)> {
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(LIMIT, stream.read_to_end(&mut bytes)).await.context("it never ends")?;
    Ok((bytes, end.err().map(|error| error.kind())))
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    tokio::time::timeout(SILENCE, stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn bytes_pass_are_counted_and_half_closed_connections_are_kept() -> Result<()> {
    let (_echo, proxy) = proxied().await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    round_trip(&mut stream, &vec![7; 100_000]).await?;
    stream.write_all(b"last words").await?;
    stream.shutdown().await?;
    assert_eq!(rest(&mut stream).await?, (b"last words".to_vec(), None));
    let counts = proxy.until(LIMIT, |counts| counts.open == 0).await?;
    assert_eq!((counts.accepted, counts.cut, counts.bytes_lost), (1, 0, 0));
    assert_eq!((counts.bytes_up, counts.bytes_down), (100_010, 100_010));
    Ok(())
}

#[tokio::test]
async fn a_cut_resets_every_connection_and_new_ones_pass() -> Result<()> {
    let (_echo, proxy) = proxied().await?;
    let mut streams =
        [TcpStream::connect(proxy.address()).await?, TcpStream::connect(proxy.address()).await?];
    for stream in &mut streams {
        round_trip(stream, b"before").await?;
    }
    proxy.cut();
    for stream in &mut streams {
        assert_eq!(rest(stream).await?, (Vec::new(), Some(ErrorKind::ConnectionReset)));
    }
    assert_eq!(proxy.until(LIMIT, |counts| counts.open == 0).await?.cut, 2);
    round_trip(&mut TcpStream::connect(proxy.address()).await?, b"after").await
}

#[tokio::test]
async fn a_message_is_broken_in_its_middle() -> Result<()> {
    let (_echo, proxy) = proxied().await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    round_trip(&mut stream, b"whole").await?;
    proxy.cut_after(Direction::Down, 4);
    stream.write_all(b"broken").await?;
    assert_eq!(rest(&mut stream).await?.0, b"brok");
    let mut stream = TcpStream::connect(proxy.address()).await?;
    round_trip(&mut stream, b"only once").await?;
    proxy.cut_after(Direction::Up, 3);
    stream.write_all(b"broken").await?;
    let (back, _) = rest(&mut stream).await?;
    assert!(b"bro".starts_with(&back), "{back:?}");
    assert_eq!(proxy.until(LIMIT, |counts| counts.open == 0).await?.bytes_up, 5 + 6 + 9 + 3);
    Ok(())
}

#[tokio::test]
async fn new_connections_are_refused_while_old_ones_go_on() -> Result<()> {
    let (_echo, proxy) = proxied().await?;
    let mut old = TcpStream::connect(proxy.address()).await?;
    round_trip(&mut old, b"before").await?;
    proxy.refuse();
    let refused = async {
        while TcpStream::connect(proxy.address()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.context("never refused")?;
    round_trip(&mut old, b"still here").await?;
    proxy.pass();
    let accepted = async {
        loop {
            match TcpStream::connect(proxy.address()).await {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let mut new = tokio::time::timeout(LIMIT, accepted).await.context("never accepted again")?;
    round_trip(&mut new, b"after").await?;
    round_trip(&mut old, b"and the old one").await
}

#[tokio::test]
async fn a_stall_loses_nothing_and_a_black_hole_everything() -> Result<()> {
    let (_echo, proxy) = proxied().await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    round_trip(&mut stream, b"before").await?;
    proxy.stall();
    stream.write_all(b"held").await?;
    assert!(is_silent(&mut stream).await);
    proxy.pass();
    let mut back = [0; 4];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut back)).await.context("the stall lost it")??;
    assert_eq!(&back, b"held");

    proxy.black_hole();
    stream.write_all(b"gone").await?;
    let mut new = TcpStream::connect(proxy.address()).await?;
    new.write_all(b"too").await?;
    assert_eq!(proxy.until(LIMIT, |counts| counts.bytes_lost == 7).await?.open, 2);
    assert!(is_silent(&mut stream).await && is_silent(&mut new).await);
    proxy.pass();
    assert_eq!(rest(&mut stream).await?.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(rest(&mut new).await?.1, Some(ErrorKind::ConnectionReset));
    Ok(())
}

#[tokio::test]
async fn data_are_held_back_and_limited() -> Result<()> {
    let (_echo, proxy) = proxied().await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    let started = tokio::time::Instant::now();
    proxy.delay(Duration::from_millis(100));
    round_trip(&mut stream, b"late").await?;
    assert!(started.elapsed() >= Duration::from_millis(200), "once in each direction");
    proxy.pass();
    proxy.limit(40_000);
    let started = tokio::time::Instant::now();
    round_trip(&mut stream, &[1; 8_000]).await?;
    round_trip(&mut stream, &[2; 8_000]).await?;
    assert!(started.elapsed() >= Duration::from_millis(200), "the second message waits for the first");
    Ok(())
}

#[tokio::test]
async fn a_seed_repeats_its_faults() -> Result<()> {
    async fn lengths(seed: u64) -> Result<Vec<u64>> {
        let (_echo, proxy) = proxied().await?;
        proxy.random(
            seed,
            RandomFaults { cut_after_bytes: 100..5_000, delay: Duration::ZERO..Duration::from_millis(1) },
        );
        let mut lengths = Vec::new();
        for _ in 0..4 {
            let before = proxy.counts();
            let mut stream = TcpStream::connect(proxy.address()).await?;
            // More than any budget; the write or the reading ends with the cut.
            let _ = stream.write_all(&[0; 10_000]).await;
            rest(&mut stream).await?;
            let after = proxy.until(LIMIT, |counts| counts.cut > before.cut && counts.open == 0).await?;
            lengths.push(after.bytes_up + after.bytes_down - before.bytes_up - before.bytes_down);
        }
        Ok(lengths)
    }
    let seed = 20_261_121;
    println!("seed {seed}");
    let first = lengths(seed).await?;
    assert_eq!(lengths(seed).await?, first);
    assert!(first.iter().all(|length| (100..5_000).contains(length)), "{first:?}");
    assert_ne!(lengths(seed + 1).await?, first);
    Ok(())
}

#[tokio::test]
async fn an_engine_is_reached_again_after_a_cut_and_after_its_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let engine = Engine::start(Kind::Redis, Options::in_folder(folder.path())).await?;
    let proxy = FaultProxy::before(&engine).await?;
    assert_eq!(proxy.url(engine.url()), format!("redis://127.0.0.1:{}", proxy.address().port()));
    let set = b"SET order 1\r\n";
    let mut stream = TcpStream::connect(proxy.address()).await?;
    proxy.cut_after(Direction::Up, set.len() as u64 - 1);
    stream.write_all(set).await?;
    assert_eq!(rest(&mut stream).await?.0, b"", "a command without its end has no answer");
    assert_eq!(answer(&proxy, b"GET order\r\n").await?, b"$-1\r\n", "and no effect");
    assert_eq!(answer(&proxy, set).await?, b"+OK\r\n");
    engine.kill().await?;
    assert_eq!(answer(&proxy, b"GET order\r\n").await?, b"", "nobody is behind the proxy");
    engine.restart().await?;
    assert_eq!(answer(&proxy, b"GET order\r\n").await?, b"$1\r\n1\r\n", "it was written before the kill");
    Ok(())
}

async fn answer(proxy: &FaultProxy, command: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(proxy.address()).await?;
    stream.write_all(command).await?;
    stream.shutdown().await?;
    Ok(rest(&mut stream).await?.0)
}
