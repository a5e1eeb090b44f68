//! A TCP proxy on loopback that does to connections what networks do: cuts, refusals, silence, delays, little bandwidth.
//!
//! A test puts it in front of an engine (or of anything that speaks TCP), gives clients the proxy's URL, and changes the
//! weather while they work.

mod connection;

use crate::{Engine, ports};
use anyhow::{Context, Result};
use connection::{Connection, Link};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How many connections a proxy serves at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;

/// Where bytes flow, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What happens to connections that exist or are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Path {
    #[default]
    Pass,
    /// Nobody listens; existing connections go on.
    Refuse,
    /// Connections are accepted and nothing moves, but nothing is lost.
    Stall,
    /// Connections are accepted and what comes is thrown away.
    BlackHole,
}

/// Faults that a seed decides, for connections that are opened later.
#[derive(Clone, Debug)]
pub struct RandomFaults {
    /// Each connection is cut after a number of bytes (both directions together) from this range.
    pub cut_after_bytes: Range<u64>,
    /// Each piece of data, at most 16 KiB, is held back for a time from this range.
    pub delay: Range<Duration>,
}

/// The weather at this moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    path: Path,
    delay: Duration,
    bytes_per_second: Option<u64>,
    random: Option<(u64, RandomFaults)>,
    /// How many times all connections were cut; a connection that was accepted at another count ends.
    cuts: u64,
}

/// What went through a proxy since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that are open.
    pub open: u64,
    /// Connections that the proxy ended.
    pub cut: u64,
    /// Bytes that were passed to the server.
    pub bytes_up: u64,
    /// Bytes that were passed to the client.
    pub bytes_down: u64,
    /// Bytes that a black hole threw away.
    pub bytes_lost: u64,
}

/// What the proxy and its connections share.
pub(crate) struct Control {
    upstream: SocketAddr,
    weather: watch::Sender<Weather>,
    counts: watch::Sender<Counts>,
    /// How many more bytes may pass in a direction before everything is cut.
    budgets: Mutex<[Option<u64>; 2]>,
}

/// A proxy on a loopback port of its own. Dropping it cuts every connection.
pub struct FaultProxy {
    address: SocketAddr,
    control: Arc<Control>,
    _tasks: JoinSet<()>,
}

impl FaultProxy {
    /// Starts a proxy in front of an engine. Kafka, whose brokers tell clients where to connect to, is restarted for it:
    /// clients reach it at [`FaultProxy::address`], and past the proxy at the engine's own address.
    pub async fn before(engine: &Engine) -> Result<Self> {
        let proxy = Self::start(SocketAddr::from(([127, 0, 0, 1], engine.proxied_port()))).await?;
        engine.announce(proxy.address.port()).await?;
        Ok(proxy)
    }

    /// Starts a proxy in front of `upstream`, which may start, stop and start again.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let [port] = ports::free()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
        let control = Arc::new(Control {
            upstream,
            weather: watch::Sender::default(),
            counts: watch::Sender::default(),
            budgets: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(address, listener, control.clone()));
        Ok(Self { address, control, _tasks: tasks })
    }

    /// Returns where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `upstream_url` with the proxy's port in place of the server's.
    pub fn url(&self, upstream_url: &str) -> String {
        let port = |address: SocketAddr| format!(":{}", address.port());
        upstream_url.replacen(&port(self.control.upstream), &port(self.address), 1)
    }

    /// Lets everything pass again: no refusal, silence, delay, limit or random fault; a pending [`cut_after`] is forgotten.
    ///
    /// Connections from which a black hole took bytes are cut.
    ///
    /// [`cut_after`]: Self::cut_after
    pub fn pass(&self) {
        *self.control.budgets() = [None; 2];
        self.change(|weather| *weather = Weather { cuts: weather.cuts, ..Weather::default() });
    }

    /// Cuts every connection at once with a reset, as a crashed peer or a firewall does.
    pub fn cut(&self) {
        self.control.cut();
    }

    /// Cuts every connection after exactly `bytes` more bytes in one direction, over all connections. What comes before
    /// the cut is delivered, so a message is broken in its middle.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.control.budgets()[direction as usize] = Some(bytes);
    }

    /// Refuses new connections (nobody listens); existing ones go on until they are cut.
    pub fn refuse(&self) {
        self.change(|weather| weather.path = Path::Refuse);
    }

    /// Holds everything back without losing it: connections are accepted and stay open, and nothing moves.
    pub fn stall(&self) {
        self.change(|weather| weather.path = Path::Stall);
    }

    /// Accepts connections and throws away what comes, in both directions.
    pub fn black_hole(&self) {
        self.change(|weather| weather.path = Path::BlackHole);
    }

    /// Holds each piece of data (at most 16 KiB) back for this long, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.change(|weather| weather.delay = delay);
    }

    /// Lets at most this many bytes a second pass, in each direction of each connection.
    pub fn limit(&self, bytes_per_second: u64) {
        self.change(|weather| weather.bytes_per_second = Some(bytes_per_second.max(1)));
    }

    /// Lets `seed` decide when each later connection is cut and how long its data are held back.
    ///
    /// The decisions depend on the seed, on the connection's number and on the bytes it carries: print the seed.
    pub fn random(&self, seed: u64, faults: RandomFaults) {
        self.change(|weather| weather.random = Some((seed, faults)));
    }

    /// Returns what went through so far.
    pub fn counts(&self) -> Counts {
        *self.control.counts.borrow()
    }

    /// Waits until the counts are as the test wants them; an error with the last counts after `limit`.
    pub async fn until(&self, limit: Duration, reached: impl Fn(&Counts) -> bool) -> Result<Counts> {
        let mut counts = self.control.counts.subscribe();
        let outcome = tokio::time::timeout(limit, counts.wait_for(|counts| reached(counts))).await;
        match outcome {
            Ok(counts) => Ok(*counts.context("the proxy is gone")?),
            Err(_) => anyhow::bail!("not reached within {limit:?}: {:?}", self.counts()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.control.weather.send_modify(|weather| {
            let before = weather.path;
            change(weather);
            if before == Path::BlackHole && weather.path != before {
                weather.cuts += 1;
            }
        });
    }
}

impl Control {
    fn budgets(&self) -> std::sync::MutexGuard<'_, [Option<u64>; 2]> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Takes from the bytes that may still pass; returns how many of `wanted` do, and whether that was the last.
    fn take(&self, direction: Direction, wanted: usize) -> (usize, bool) {
        let mut budgets = self.budgets();
        let Some(left) = budgets[direction as usize] else { return (wanted, false) };
        let allowed = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
        let rest = left - allowed as u64;
        budgets[direction as usize] = (rest > 0).then_some(rest);
        (allowed, rest == 0)
    }
}

/// Accepts connections while the weather lets them in; while it does not, nobody listens on the port.
async fn accept(address: SocketAddr, listener: TcpListener, control: Arc<Control>) {
    let mut weather = control.weather.subscribe();
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        while connections.try_join_next().is_some() {}
        let refuses = weather.borrow_and_update().path == Path::Refuse;
        if refuses {
            listener = None;
        } else if listener.is_none() {
            // The port is outside the range of outgoing connections, so it is still free.
            listener = TcpListener::bind(address).await.ok();
        }
        let has_room = connections.len() < CONNECTIONS_MAX;
        let accepted = async {
            match &listener {
                Some(listener) if has_room => listener.accept().await.ok(),
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = weather.changed() => if changed.is_err() { return },
            accepted = accepted => if let Some((client, _)) = accepted {
                let link = Link::new(&control, &weather.borrow());
                connections.spawn(Connection { client, link }.run());
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
