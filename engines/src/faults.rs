//! What the conformance suites can do to an engine and to the way there, and an engine of a test's own to do it to.

use crate::{Direction, Engine, FaultProxy, Kind, Options, SlowDisk};
use anyhow::{Context, Result};
use futures::future::BoxFuture;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Mutex;

/// Faults of an engine and of the way there, as the conformance suites make them. They panic when they cannot be made.
pub trait Faults: Send + Sync {
    /// Breaks the present connections of the provider under test; new ones work, and so does everything from now on.
    fn cut(&self);

    /// Breaks the present connections when they have carried `bytes` more of the engine's answers, until the next
    /// [`Faults::cut`].
    fn cut_answers_after(&self, bytes: u64);

    /// Lets nothing pass between the provider under test and its engine, until [`Faults::release`].
    fn hold(&self);

    /// Lets everything pass again; what was held breaks or arrives late.
    fn release(&self);

    /// Kills the engine as a power cut would (SIGKILL), for everybody.
    fn kill(&self) -> BoxFuture<'_, ()>;

    /// Starts the killed engine again, with its data and a fast disk; returns when it is ready.
    fn restart(&self) -> BoxFuture<'_, ()>;

    /// Makes every flush of the engine to its disk last `delay` longer; zero makes the disk fast again.
    fn slow_disk(&self, delay: Duration) -> BoxFuture<'_, ()>;
}

/// An engine of a test's own, in a temporary folder and behind a proxy.
pub struct Mortal {
    slow: Mutex<Option<SlowDisk>>,
    proxy: FaultProxy,
    engine: Engine,
    url: String,
    folder: TempDir,
}

impl Mortal {
    /// Starts an engine that acknowledges nothing before it is flushed (see [`Options::flushed`]), and a proxy before it.
    pub async fn start(kind: Kind) -> Result<Self> {
        let folder = TempDir::new().context("make a folder for an engine")?;
        let engine = Engine::start(kind, Options::in_folder(folder.path()).flushed()).await?;
        let proxy = FaultProxy::before(&engine).await?;
        let url = match kind {
            // Behind the proxy Kafka listens on a port of its own.
            Kind::Kafka => proxy.address().to_string(),
            _ => proxy.url(engine.url()),
        };
        Ok(Self { slow: Mutex::default(), proxy, engine, url, folder })
    }

    /// Returns what a client connects to through the proxy; [`Engine::url`] leads past it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the proxy before the engine.
    pub fn proxy(&self) -> &FaultProxy {
        &self.proxy
    }

    /// Returns the folder, in which a test may keep something too.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Faults for Mortal {
    fn cut(&self) {
        self.proxy.cut();
        self.proxy.pass();
    }

    fn cut_answers_after(&self, bytes: u64) {
        self.proxy.cut_after(Direction::Down, bytes);
    }

    fn hold(&self) {
        self.proxy.black_hole();
    }

    fn release(&self) {
        self.proxy.pass();
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.engine.kill().await.expect("the engine is killed");
            *self.slow.lock().await = None;
        })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            *self.slow.lock().await = None;
            self.engine.restart().await.expect("the engine starts again");
        })
    }

    fn slow_disk(&self, delay: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut slow = self.slow.lock().await;
            // One tracer at a time.
            *slow = None;
            if !delay.is_zero() {
                *slow = Some(self.engine.slow_disk(delay).await.expect("the engine's disk is made slow"));
            }
        })
    }
}
