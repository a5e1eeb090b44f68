//! Closed loops: callers that each begin the next operation when the last one has ended.

use crate::clock;
use crate::stats::Latencies;
use anyhow::Result;
use std::time::Duration;
use tokio::task::JoinSet;

/// Somebody who does one operation after another.
pub(crate) trait Caller: Send + 'static {
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// What a closed loop did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) latencies: Latencies,
    pub(crate) elapsed: Duration,
}

impl Done {
    /// Returns the operations of a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Lets all `callers` work for `duration`.
///
/// # Errors
/// The first failure of a caller.
pub(crate) async fn closed_loop<C: Caller>(
    callers: impl IntoIterator<Item = C>,
    duration: Duration,
) -> Result<Done> {
    let began = clock::now();
    let mut loops = JoinSet::new();
    for mut caller in callers {
        loops.spawn(async move {
            let mut latencies = Latencies::new();
            let mut last = clock::now();
            while last - began < duration {
                caller.call().await?;
                let now = clock::now();
                latencies.record(now - last);
                last = now;
            }
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut latencies = Latencies::new();
    while let Some(ended) = loops.join_next().await {
        latencies.add(&ended??);
    }
    Ok(Done { latencies, elapsed: began.elapsed() })
}

/// As [`closed_loop`], for work that blocks: each of `callers` threads does one piece after the other.
///
/// # Errors
/// The first failure of a thread.
pub(crate) fn closed_loop_threads(
    callers: usize,
    duration: Duration,
    work: impl Fn() -> Result<()> + Sync,
) -> Result<Done> {
    let began = clock::now();
    let one = || {
        let mut latencies = Latencies::new();
        let mut last = clock::now();
        while last - began < duration {
            work()?;
            let now = clock::now();
            latencies.record(now - last);
            last = now;
        }
        Ok::<_, anyhow::Error>(latencies)
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(one)).collect();
        let panicked = |_| Err(anyhow::anyhow!("a thread panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let elapsed = began.elapsed();
    let mut latencies = Latencies::new();
    for outcome in outcomes {
        latencies.add(&outcome?);
    }
    Ok(Done { latencies, elapsed })
}
