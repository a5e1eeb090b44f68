//! The same call in one process: through a trait object, and through a channel.

use super::message::{ECHO, Parcel, SERVICE, descriptors, parcel};
use crate::clock;
use crate::settings::Settings;
use anyhow::Result;
use banyan_core::{BoxFuture, Context, Env, Identity};
use banyan_rpc::{Channel, Directory, Service, Target};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Deadline of a turn's calls: as a request from the edge has one, and far away.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Calls between two looks at the clock.
const BATCH: u64 = 2048;

/// One round, in nanoseconds a call.
pub(super) struct Round {
    pub(super) bare_ns: f64,
    pub(super) channel_ns: f64,
}

/// The least that an asynchronous call through an object-safe seam costs.
trait Echo: Send + Sync {
    fn echo(&self, parcel: Parcel) -> BoxFuture<'_, Parcel>;
}

struct Bare {
    yields: bool,
}

impl Echo for Bare {
    fn echo(&self, parcel: Parcel) -> BoxFuture<'_, Parcel> {
        Box::pin(answer(parcel, self.yields))
    }
}

async fn answer(parcel: Parcel, yields: bool) -> Parcel {
    if yields {
        tokio::task::yield_now().await;
    }
    parcel
}

/// Measures both, in turns.
pub(super) async fn measure(settings: &Settings, in_flight: usize) -> Result<Vec<Round>> {
    let callee = Callee::new(in_flight)?;
    let mut rounds = Vec::new();
    // The first round warms up.
    for _ in 0..=settings.rounds {
        rounds.push(Round {
            bare_ns: callee.bare(settings.turn).await?,
            channel_ns: callee.channel(settings.turn).await?,
        });
    }
    rounds.remove(0);
    Ok(rounds)
}

/// Calls one way and then the other, each for the length of a turn; returns nanoseconds a call.
pub(crate) async fn profile(in_flight: usize, turn: Duration) -> Result<(f64, f64)> {
    let callee = Callee::new(in_flight)?;
    Ok((callee.bare(turn).await?, callee.channel(turn).await?))
}

/// The callee, and both ways to it.
struct Callee {
    in_flight: usize,
    bare: Arc<dyn Echo>,
    env: Env,
    channel: Channel,
}

impl Callee {
    fn new(in_flight: usize) -> Result<Self> {
        let yields = in_flight > 1;
        let env = Env::default();
        let directory = Directory::new(&env);
        let service = Service::builder(SERVICE, descriptors()?)
            .unary(&ECHO, move |_: Context, parcel: Parcel| async move { Ok(answer(parcel, yields).await) })
            .build();
        directory.set(SERVICE, Target::Local(service));
        Ok(Self { in_flight, bare: Arc::new(Bare { yields }), env, channel: directory.channel(SERVICE) })
    }

    async fn bare(&self, length: Duration) -> Result<f64> {
        turn(self.in_flight, length, || through_trait(self.bare.clone())).await
    }

    async fn channel(&self, length: Duration) -> Result<f64> {
        let user = Identity::user("01938c2e-0b1d-7f3a-8e44-d2c9b6a7f015", &[]);
        let cx = Context::new(&self.env, user).with_timeout(TIMEOUT);
        turn(self.in_flight, length, || through_channel(self.channel.clone(), cx.clone())).await
    }
}

async fn through_trait(bare: Arc<dyn Echo>) -> Result<()> {
    let template = parcel();
    for _ in 0..BATCH {
        black_box(bare.echo(black_box(&template).clone()).await);
    }
    Ok(())
}

async fn through_channel(channel: Channel, cx: Context) -> Result<()> {
    let template = parcel();
    for _ in 0..BATCH {
        black_box(channel.unary::<_, Parcel>(&cx, &ECHO, black_box(&template).clone()).await?);
    }
    Ok(())
}

/// Lets `in_flight` tasks do batches for the length of a turn; returns nanoseconds a call.
async fn turn<F>(in_flight: usize, length: Duration, batch: impl Fn() -> F) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let began = clock::now();
    let mut calls = 0;
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        tasks.spawn(batch());
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
        calls += BATCH;
        if began.elapsed() < length {
            tasks.spawn(batch());
        }
    }
    Ok(began.elapsed().as_nanos() as f64 / calls as f64)
}
