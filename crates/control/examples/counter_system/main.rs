//! A system of two small services, for tests that kill its processes: `counter` counts in its store and hears of it as
//! events; `caller` has it count.
//!
//! `counter_system run FILE` starts the system of that configuration and serves both contracts at one address, wherever
//! the services are; `counter_system process` is what a root starts its children with.

mod contract;

use banyan::prelude::*;
use banyan::rpc::{Channel, MethodInfo, Server, ServerOptions, Service};
use banyan::{Config, System};
use banyan_control::root::Root;
use banyan_core::BoxFuture;
use contract::{ADD, Amount, CALLER, COUNTER, GET, HEARD, ORDER, WAIT};
use serde::Deserialize;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "counters",
    Statement::new(
        "CREATE TABLE counters (name TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT;
          CREATE TABLE heard (name TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT",
    ),
)];

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Where the counters begin; not below 0.
    first: i64,
    /// What is read of the counter [`LIVE`]; at most 100. Taken over while the service runs.
    live: i64,
}

/// The counter that nobody adds to: it is what a setting says at the moment.
const LIVE: &str = "live";

#[derive(Clone)]
struct Counters {
    store: Store,
    first: i64,
}

impl Counters {
    async fn add(&self, cx: &Context, amount: Amount) -> Result<Amount> {
        let (first, request) = (self.first, amount.clone());
        let work = move |tx: &mut Tx<'_>| {
            tx.execute(
                "INSERT INTO counters (name, number) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                params![amount.name.as_str(), first],
            )?;
            tx.execute(
                "UPDATE counters SET number = number + $2 WHERE name = $1",
                params![amount.name.as_str(), amount.number],
            )?;
            tx.publish(&amount)?;
            Ok(amount)
        };
        self.store.once(cx, "Add", &request, work).await
    }

    async fn read(&self, cx: &Context, sql: &'static str, name: String) -> Result<Amount> {
        let work = move |db: &mut banyan::store::Read<'_>| {
            let found = db.query_opt(sql, params![name.as_str()], |row| row.get::<i64>("number"))?;
            Ok(Amount { name, number: found.unwrap_or_default() })
        };
        self.store.read(cx, work).await
    }
}

impl Subscriber<Amount> for Counters {
    async fn on_event(&self, cx: &Context, event: Amount) -> Result<()> {
        let request = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let sql = "INSERT INTO heard (name, number) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET number = number + $2";
            tx.execute(sql, params![event.name.as_str(), event.number]).map(drop)
        };
        self.store.once(cx, "Counted", &request, work).await
    }
}

#[derive(Clone)]
struct Counter(Channel);

impl Client for Counter {
    const SERVICE: &'static str = COUNTER;

    fn new(channel: Channel) -> Self {
        Self(channel)
    }
}

async fn counter(host: Host) -> Result<()> {
    let settings: Settings = host.settings()?;
    let live = host.live_settings::<Settings>()?;
    if settings.first < 0 {
        return Err(Error::invalid("services.counter.first", "must be 0 or more"));
    }
    let store = host.store(MIGRATIONS, &[]).await?;
    let counters = Counters { store, first: settings.first };
    let (adding, getting, hearing) = (counters.clone(), counters.clone(), counters.clone());
    let service = Service::builder(COUNTER, &[])
        .unary(&ADD, move |cx, amount: Amount| {
            let counters = adding.clone();
            async move { counters.add(&cx, amount).await }
        })
        .unary(&GET, move |cx, amount: Amount| {
            let (counters, live) = (getting.clone(), live.clone());
            async move {
                if amount.name == LIVE {
                    return Ok(Amount { number: live.get().live, ..amount });
                }
                counters.read(&cx, "SELECT number FROM counters WHERE name = $1", amount.name).await
            }
        })
        .unary(&HEARD, move |cx, amount: Amount| {
            let counters = hearing.clone();
            async move { counters.read(&cx, "SELECT number FROM heard WHERE name = $1", amount.name).await }
        })
        .unary(&WAIT, |_, amount: Amount| async move {
            tracing::info!("a call waits");
            tokio::time::sleep(Duration::from_millis(amount.number.unsigned_abs())).await;
            Ok(amount)
        });
    host.serve(service.build());
    host.subscribe::<Amount, _>(Arc::new(counters));
    Ok(())
}

async fn caller(host: Host) -> Result<()> {
    let counter: Counter = host.client();
    host.serve(pass_on(CALLER, &[(&ORDER, &ADD)], &counter.0));
    Ok(())
}

/// A service each of whose methods calls another one.
fn pass_on(
    name: &'static str,
    methods: &[(&'static MethodInfo, &'static MethodInfo)],
    to: &Channel,
) -> Service {
    let builder = methods.iter().fold(Service::builder(name, &[]), |builder, (method, callee)| {
        let (callee, to) = (*callee, to.clone());
        builder.unary(method, move |cx: Context, amount: Amount| {
            let to = to.clone();
            async move { to.unary::<_, Amount>(&cx, callee, amount).await }
        })
    });
    builder.build()
}

/// Checks what may change; where the counters begin is checked by the service, for the tests of a start that fails.
fn check(settings: &Settings) -> Result<()> {
    match settings.live {
        ..=100 => Ok(()),
        _ => Err(Error::invalid("live", "must be at most 100")),
    }
}

fn system() -> System {
    System::new("counter-system")
        .service(ServiceDef::new("counter", [COUNTER], counter).settings_within(check).live(&["live"]))
        .service(ServiceDef::new("caller", [CALLER], caller))
}

async fn run(file: &Path) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::internal)?;
    let env = Env::default();
    let config = Config::read(file)?;
    let mut root = tokio::select! {
        root = Root::start(system(), config.clone(), env.clone()) => root?,
        _ = terminate.recv() => return Ok(()),
    };
    let directory = root.process().directory().clone();
    let edge = Server::builder(&env, ServerOptions::default()).bind().await?;
    let (counter, caller) = (directory.channel(COUNTER), directory.channel(CALLER));
    let counter = pass_on(COUNTER, &[(&ADD, &ADD), (&GET, &GET), (&HEARD, &HEARD), (&WAIT, &WAIT)], &counter);
    edge.add(counter);
    edge.add(pass_on(CALLER, &[(&ORDER, &ORDER)], &caller));
    let file = file.to_owned();
    let reader = move || -> BoxFuture<'static, Result<Config>> {
        let file = file.clone();
        Box::pin(async move {
            let mut config = Config::read(&file)?;
            system().resolve(&mut config).await?;
            Ok(config)
        })
    };
    root.reload_by(Arc::new(reader), config).await;
    root.announce(&edge.address().to_string(), None)?;
    terminate.recv().await;
    edge.drain(Duration::from_secs(10)).await?;
    root.stop().await;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a program's only way to say why it ends")]
fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a process may have threads");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", file] => runtime.block_on(run(Path::new(file))),
        ["process"] => runtime.block_on(banyan_control::child::run(system(), Env::default())),
        _ => Err(Error::invalid("arguments", "expected `run FILE` or `process`")),
    };
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
