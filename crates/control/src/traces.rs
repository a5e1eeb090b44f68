//! The traces of a system: every process records, the root keeps.

use crate::contract as api;
use banyan::{Config, Entry, Origin, System};
use banyan_core::{BoxFuture, Context, Env, Error, Identity, Result, Signals, Tasks, rfc3339};
use banyan_telemetry::metrics::Snapshot;
use banyan_telemetry::{Collector, Exchange, Keeper, Memory, Recorder, RunDetails, otlp, slo};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// How long an exchange with the root may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Settings in which any two runs may differ, without being different.
const OF_ONE_RUN: [&str; 4] = ["console.port", "data", "port", "telemetry.label"];
/// The bytes of a trace's id.
const ID_BYTES: usize = 16;

/// Returns where the system of a data folder keeps its traces.
pub fn memory_path(data: &Path) -> PathBuf {
    data.join("telemetry.db")
}

/// Opens the memory of a system; `None` if it records nothing, or the file cannot be used: then it works without.
pub(crate) fn open_memory(system: &System, config: &Config, env: &Env) -> Option<Memory> {
    if !config.telemetry.enabled {
        return None;
    }
    let opened = Memory::open(&memory_path(&config.data), &config.telemetry, env).and_then(|memory| {
        memory.describe_run(&details(system, config)?)?;
        Ok(memory)
    });
    match opened {
        Ok(memory) => Some(memory),
        Err(error) => {
            tracing::warn!(?error, "no traces are kept");
            None
        }
    }
}

/// Says what a run is, so that it can be set beside another one.
fn details(system: &System, config: &Config) -> Result<RunDetails> {
    let program = std::env::current_exe().and_then(|path| path.metadata()).and_then(|file| file.modified());
    let built = program.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    // What nobody set is the program's: its build tells that, and what it found for itself differs each time.
    let set = |entry: &Entry| entry.origin != Origin::Default && !OF_ONE_RUN.contains(&entry.key.as_str());
    let told = system.entries(config)?.into_iter().filter(set);
    Ok(RunDetails {
        build: built.map_or_else(String::new, |since| rfc3339(since.as_millis() as u64)),
        settings: told.map(|entry| (entry.key, entry.value.to_string())).collect(),
        objectives: slo::objectives(&config.slo),
    })
}

/// Starts recording in this process; returns the environment for all work that is recorded.
pub(crate) fn record(
    config: &Config,
    env: &Env,
    process: &str,
    keeper: Arc<dyn Keeper>,
    tasks: &Tasks,
) -> Env {
    let recorder = Arc::new(Recorder::default());
    let collector = Collector::new(recorder.clone(), keeper, process, &config.telemetry, env);
    tasks.spawn("traces", collector.run(tasks.clone()));
    Env { signals: Signals::new(recorder, process), ..env.clone() }
}

/// The root's memory, as a child reaches it.
pub(crate) struct RemoteKeeper {
    pub(crate) control: api::ControlServiceClient,
    /// Without signals: what is done for traces leaves none.
    pub(crate) env: Env,
    pub(crate) process: String,
}

impl Keeper for RemoteKeeper {
    fn exchange(&self, batch: Arc<Exchange>) -> BoxFuture<'_, Result<Vec<u128>>> {
        Box::pin(async move {
            let cx = Context::new(&self.env, Identity::service(&self.process)).with_timeout(EXCHANGE_TIMEOUT);
            let request = api::ExchangeTracesRequest {
                process: self.process.clone(),
                spans: otlp::encode(&batch.spans).into(),
                keep: ids_to_bytes(&batch.keep).into(),
                measured: batch
                    .measured
                    .as_ref()
                    .map_or_else(Vec::new, |m| m.encode(&self.process, 0, 0))
                    .into(),
                lines: match batch.lines.is_empty() {
                    true => Vec::new().into(),
                    false => serde_json::to_vec(&batch.lines).map_err(Error::internal)?.into(),
                },
            };
            ids_from_bytes(&self.control.exchange_traces(&cx, request).await?.keep)
        })
    }
}

/// Answers a child.
pub(crate) async fn exchange(
    memory: Option<&Memory>,
    request: api::ExchangeTracesRequest,
) -> Result<api::ExchangeTracesResponse> {
    let batch = Exchange {
        process: request.process,
        spans: otlp::decode(&request.spans)?,
        keep: ids_from_bytes(&request.keep)?,
        measured: match request.measured.is_empty() {
            true => None,
            false => Some(Snapshot::decode(&request.measured)?),
        },
        lines: match request.lines.is_empty() {
            true => Vec::new(),
            false => serde_json::from_slice(&request.lines)
                .map_err(|_| Error::data_loss("these are no log lines"))?,
        },
    };
    let keep = match memory {
        Some(memory) => memory.exchange(Arc::new(batch)).await?,
        None => Vec::new(),
    };
    Ok(api::ExchangeTracesResponse { keep: ids_to_bytes(&keep).into() })
}

fn ids_to_bytes(ids: &[u128]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_be_bytes()).collect()
}

fn ids_from_bytes(bytes: &[u8]) -> Result<Vec<u128>> {
    let (ids, rest) = bytes.as_chunks::<ID_BYTES>();
    if !rest.is_empty() {
        return Err(Error::invalid("keep", "must be ids of 16 bytes"));
    }
    Ok(ids.iter().map(|id| u128::from_be_bytes(*id)).collect())
}
