//! What one span costs: begun, described, ended, measured and packed, held and forgotten; in processor time of this process.

use crate::clock;
use crate::settings::Settings;
use anyhow::{Context as _, Result};
use banyan_core::{BoxFuture, Context, Env, Identity, Signals, SpanKind, Tasks};
use banyan_telemetry::{Collector, Exchange, Keeper, Recorder, TelemetryOptions};
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// Threads that work at the same time: alone, and as the shop's do.
pub(super) const THREADS: [usize; 2] = [1, 2];
/// Spans that a thread makes at once. A shop makes as many in the pause, when it is busy.
const BURST: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(10);
/// The work that has the spans.
const WORK: &str = "shop.orders.v1.OrderService/PlaceOrder";

/// One round, in nanoseconds a span, for each of [`THREADS`].
pub(super) struct Round(pub(super) [f64; THREADS.len()]);

/// Measures spans that are recorded against spans that are not, in turns.
pub(super) async fn measure(settings: &Settings) -> Result<Vec<Round>> {
    let (tasks, recorder) = (Tasks::new(), Arc::new(Recorder::default()));
    let (off, options) = (Env::default(), TelemetryOptions::default());
    let on = Env { signals: Signals::new(recorder.clone(), "orders"), ..off.clone() };
    let collector = Collector::new(recorder, Arc::new(Nobody), "bench", &options, &off);
    tasks.spawn("collector", collector.run(tasks.clone()));
    let mut rounds = Vec::new();
    // The first round warms up.
    for _ in 0..=settings.rounds {
        let mut round = Round(Default::default());
        for (cost, threads) in round.0.iter_mut().zip(THREADS) {
            let recorded = turn(&on, threads, settings.turn).await?;
            *cost = recorded - turn(&off, threads, settings.turn).await?;
        }
        rounds.push(round);
    }
    rounds.remove(0);
    tasks.stop();
    Ok(rounds)
}

/// Who is told what is kept, and keeps nothing.
struct Nobody;

impl Keeper for Nobody {
    fn exchange(&self, batch: Arc<Exchange>) -> BoxFuture<'_, banyan_core::Result<Vec<u128>>> {
        black_box(batch);
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Makes spans for the length of a turn; returns the processor time of one, in nanoseconds.
async fn turn(env: &Env, threads: usize, length: Duration) -> Result<f64> {
    let cx = Context::new(env, Identity::service("gateway"));
    let work = move || {
        let (before, began) = (process_ns(), clock::now());
        let bursts = (length.as_nanos() / PAUSE.as_nanos()).max(1) as usize;
        let together = Barrier::new(threads);
        let bursts_of_spans = || {
            for burst in 0..bursts {
                let due = PAUSE * burst as u32;
                pause(due.saturating_sub(began.elapsed()));
                together.wait();
                (0..BURST).for_each(|_| span(&cx));
            }
            thread_ns(Path::new("/proc/thread-self"))
        };
        let used: f64 = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(bursts_of_spans)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or(f64::NAN)).sum()
        });
        // Those that are left: the collector's.
        (used + process_ns() - before) / (threads * bursts * BURST) as f64
    };
    tokio::task::spawn_blocking(work).await.context("the spans are made")
}

#[expect(
    clippy::disallowed_methods,
    reason = "there is no event to wait for: the pace is what is measured at"
)]
fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// A span as most are: a name, a constant, a text and a number.
fn span(cx: &Context) {
    let (cx, mut span) = cx.begin(SpanKind::Server, WORK);
    span.constants(&[("rpc.system.name", "grpc")]);
    span.attribute("server.address", "orders");
    span.attribute("attempt", 1_u64);
    drop(black_box(cx));
    span.end(&Ok(()));
}

/// Returns the processor time that the threads of this process that are there used so far.
fn process_ns() -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.map(|thread| thread_ns(&thread.path())).sum()
}

/// Returns the processor time that a thread used so far, the first field of its `schedstat`; 0 if it has ended.
fn thread_ns(thread: &Path) -> f64 {
    let schedstat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}
