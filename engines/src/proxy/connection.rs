//! One connection through the proxy.

use super::{Control, Counts, Direction, Path, RandomFaults, Weather};
use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// The largest piece that is moved, held back and counted as one.
const PIECE_BYTES: usize = 16 * 1024;

/// What one connection knows of the weather.
pub(super) struct Link {
    control: Arc<Control>,
    weather: watch::Receiver<Weather>,
    /// The count of cuts when the connection was accepted.
    cuts: u64,
    random: Option<RandomLink>,
}

/// The faults that the seed decided for this connection.
struct RandomLink {
    bytes_left: AtomicU64,
    delay: std::ops::Range<Duration>,
    rng: Mutex<fastrand::Rng>,
}

/// How a connection ended.
#[derive(PartialEq)]
enum End {
    /// One of the two sides.
    Peer,
    /// The proxy, with a reset.
    Cut,
    /// The proxy, after the bytes that were to be delivered.
    CutAfterBytes,
}

impl Link {
    pub(super) fn new(control: &Arc<Control>, weather: &Weather) -> Self {
        control.counts.send_modify(|counts| {
            counts.accepted += 1;
            counts.open += 1;
        });
        let number = control.counts.borrow().accepted;
        let random = weather.random.as_ref().map(|(seed, faults)| RandomLink::new(*seed, number, faults));
        Self { control: control.clone(), weather: control.weather.subscribe(), cuts: weather.cuts, random }
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.control.counts.send_modify(change);
    }

    /// Returns when all connections are cut.
    async fn cut(&self) {
        let mut weather = self.weather.clone();
        // An error means that the proxy is gone: a cut, too.
        let _ = weather.wait_for(|weather| weather.cuts != self.cuts).await;
    }

    /// Waits while nothing moves, and returns the weather after that.
    async fn moving(&self) -> (Path, Duration, Option<u64>) {
        let mut weather = self.weather.clone();
        let moving = weather.wait_for(|weather| weather.path != Path::Stall).await;
        let known = moving.ok().map(|weather| (weather.path, weather.delay, weather.bytes_per_second));
        match known {
            Some(known) => known,
            // The proxy is gone; `cut` ends this connection.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.count(|counts| counts.open -= 1);
    }
}

impl RandomLink {
    fn new(seed: u64, number: u64, faults: &RandomFaults) -> Self {
        // Neighbouring seeds give unrelated connections.
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number));
        let bytes = &faults.cut_after_bytes;
        let left = if bytes.is_empty() { bytes.start } else { rng.u64(bytes.clone()) };
        Self { bytes_left: AtomicU64::new(left), delay: faults.delay.clone(), rng: Mutex::new(rng) }
    }

    fn delay(&self) -> Duration {
        if self.delay.is_empty() {
            return self.delay.start;
        }
        let share = self.rng.lock().unwrap_or_else(PoisonError::into_inner).f64();
        self.delay.start + (self.delay.end - self.delay.start).mul_f64(share)
    }

    /// Takes from the bytes that may still pass; returns how many of `wanted` do, and whether that was the last.
    fn take(&self, wanted: usize) -> (usize, bool) {
        let take = |left: u64| Some(left.saturating_sub(wanted as u64));
        let before = self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        let before = before.unwrap_or_else(|left| left);
        let allowed = wanted.min(usize::try_from(before).unwrap_or(usize::MAX));
        (allowed, before <= wanted as u64)
    }
}

pub(super) struct Connection {
    pub(super) client: TcpStream,
    pub(super) link: Link,
}

impl Connection {
    /// Moves bytes until one side ends the connection or the proxy cuts it.
    pub(super) async fn run(self) {
        let Self { mut client, link } = self;
        let end = tokio::select! {
            end = serve(&mut client, &link) => end.unwrap_or(End::Peer),
            () = link.cut() => End::Cut,
        };
        if end != End::Peer {
            link.count(|counts| counts.cut += 1);
        }
        if end == End::Cut {
            let _ = client.set_zero_linger();
        }
        // Whoever sees in the counts that this connection is gone finds it closed.
        drop(client);
        drop(link);
    }
}

async fn serve(client: &mut TcpStream, link: &Link) -> Result<End> {
    // A black hole needs no server; the weather's change ends this connection.
    if link.moving().await.0 == Path::BlackHole {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = client.read(&mut piece).await?;
            if read == 0 {
                return Ok(End::Peer);
            }
            link.count(|counts| counts.bytes_lost += read as u64);
        }
    }
    let mut server = TcpStream::connect(link.control.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = pump(from_client, to_server, Direction::Up, link);
    let down = pump(from_server, to_client, Direction::Down, link);
    tokio::pin!(up, down);
    // A side that has only finished sending still receives.
    let (first, other_is_up) = tokio::select! {
        end = &mut up => (end?, false),
        end = &mut down => (end?, true),
    };
    match (first, other_is_up) {
        (End::Peer, true) => up.await,
        (End::Peer, false) => down.await,
        (cut, _) => Ok(cut),
    }
}

/// Moves bytes in one direction until its sender ends or the last byte that may pass has passed.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    link: &Link,
) -> Result<End> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = from.read(&mut piece).await?;
        let (path, delay, limit) = link.moving().await;
        if path == Path::BlackHole {
            link.count(|counts| counts.bytes_lost += read as u64);
            if read == 0 {
                return std::future::pending().await;
            }
            continue;
        }
        if read == 0 {
            to.shutdown().await?;
            return Ok(End::Peer);
        }
        let random_delay = link.random.as_ref().map(RandomLink::delay).unwrap_or_default();
        pause(delay + random_delay).await;
        let (allowed, last) = link.control.take(direction, read);
        let (allowed, last_of_link) = match &link.random {
            Some(random) => random.take(allowed),
            None => (allowed, false),
        };
        to.write_all(&piece[..allowed]).await?;
        link.count(|counts| match direction {
            Direction::Up => counts.bytes_up += allowed as u64,
            Direction::Down => counts.bytes_down += allowed as u64,
        });
        if last {
            link.control.cut();
        }
        if last || last_of_link {
            return Ok(End::CutAfterBytes);
        }
        if let Some(limit) = limit {
            pause(Duration::from_secs_f64(allowed as f64 / limit as f64)).await;
        }
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
