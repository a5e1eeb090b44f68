//! A new configuration for the running system: read and checked whole by the root, then handed to every process.
//!
//! What may not change while the system runs stays as it was, and is told. If anything is wrong, all stays as it was.

use crate::contract as api;
use crate::supervisor::Supervisor;
use banyan::{Config, Difference, Handover, Takes};
use banyan_core::{Backoff, BoxFuture, Error, Reason, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The program does not say how its configuration is read again.
const CONFIG_NOT_REREADABLE: Reason = Reason::new("CONFIG_NOT_REREADABLE");
/// How long one process may take to take a configuration over before the answer goes without it; it is told again.
const UPDATE_MAX: Duration = Duration::from_secs(5);

/// How long it waits before secrets are asked for again that could not be read.
const RETRY: Backoff = Backoff {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(10),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};

/// Reads the configuration again, with its secrets, and checks it.
pub type Reader = Arc<dyn Fn() -> BoxFuture<'static, Result<Config>> + Send + Sync>;

/// What is known of the configuration beyond what holds.
#[derive(Default)]
pub(crate) struct Reloading {
    /// Rises with each configuration that takes hold; 0 at the start.
    version: AtomicU64,
    /// Held while one is read and handed out: one at a time.
    state: tokio::sync::Mutex<Option<State>>,
    status: parking_lot::Mutex<api::ConfigStatus>,
}

struct State {
    reader: Reader,
    /// As it was read at the start: what needs a restart differs from this one.
    started: Config,
    /// As it was read the last time that nothing was wrong with it.
    read: Config,
}

impl Reloading {
    /// Has configurations read by `reader` from now on; `read` is what the system was started with, before its program
    /// added to it.
    pub(crate) async fn begin(&self, reader: Reader, read: Config, now_ms: u64) {
        self.status.lock().read_ms = now_ms;
        *self.state.lock().await = Some(State { reader, started: read.clone(), read });
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn status(&self) -> api::ConfigStatus {
        self.status.lock().clone()
    }

    /// Notes how the central source is; `problem` is empty while it answers.
    pub(crate) fn note_source(&self, place: &str, problem: &str) {
        let mut status = self.status.lock();
        place.clone_into(&mut status.source);
        problem.clone_into(&mut status.source_problem);
    }
}

impl Supervisor {
    /// Reads the configuration again and has what may change of it hold everywhere. Once begun it goes on if nobody waits for it
    /// any more.
    ///
    /// # Errors
    /// What is wrong with the new configuration, or why it cannot be read: then all stays as it was.
    pub(crate) async fn reload(self: &Arc<Self>, cause: &str) -> Result<api::ReloadConfigResponse> {
        let (this, cause) = (Arc::clone(self), cause.to_owned());
        let (sender, outcome) = tokio::sync::oneshot::channel();
        self.parts.tasks.spawn_until_stopped("reload", async move {
            drop(sender.send(this.reload_now(&cause).await));
        });
        outcome.await.unwrap_or_else(|_| Err(Error::unavailable("the system is being stopped")))
    }

    async fn reload_now(self: &Arc<Self>, cause: &str) -> Result<api::ReloadConfigResponse> {
        let mut state = self.reloading.state.lock().await;
        let Some(state) = state.as_mut() else {
            let message = "this program does not say how its configuration is read again; start it anew";
            return Err(Error::failed_precondition(CONFIG_NOT_REREADABLE, message));
        };
        let now_ms = self.parts.env.clock.unix_ms();
        let new = match (state.reader)().await {
            Ok(new) => new,
            Err(error) => {
                tracing::warn!(cause, %error, "the new configuration is refused; the running one stays");
                let mut status = self.reloading.status.lock();
                error.message().clone_into(&mut status.refused);
                status.refused_ms = now_ms;
                return Err(error);
            }
        };
        let system = &self.parts.system;
        let changes = system.differences(&state.read, &new)?;
        let (live, _): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| takes(change) == Takes::Live);
        let mut restart = system.differences(&state.started, &new)?;
        restart.retain(|change| takes(change) == Takes::Restart);
        let taken = match live.is_empty() {
            true => Vec::new(),
            false => {
                // Compared with what was read: what the program itself added at its start stays.
                let keys: BTreeSet<String> = live.iter().map(|change| key(change).to_owned()).collect();
                let next = self.config().taking(&new, &keys)?;
                self.hand_out(next).await
            }
        };
        state.read = new;
        let (changed, restart): (Vec<_>, Vec<_>) =
            (live.iter().map(told).collect(), restart.iter().map(told).collect());
        let version = self.reloading.version();
        self.note(&changed, &restart, cause, now_ms);
        Ok(api::ReloadConfigResponse { version, changed, restart, taken })
    }

    /// Keeps the secrets of the configuration valid for as long as the future is polled. Where a source had to replace some,
    /// every process gets the new ones, and its stores connect with them. Never ends.
    pub(crate) async fn keep_secrets(self: &Arc<Self>) {
        let replaced = watch::Sender::new(BTreeSet::new());
        let mut news = replaced.subscribe();
        let told = |schemes: &'static [&'static str]| {
            replaced.send_modify(|known: &mut BTreeSet<&'static str>| known.extend(schemes));
        };
        let hand_out = async {
            while news.changed().await.is_ok() {
                let schemes = news.borrow_and_update().clone();
                let mut attempt = 1;
                while let Err(error) = self.renew_secrets(&schemes).await {
                    tracing::error!(%error, "secrets that were replaced cannot be handed out; it is tried again");
                    tokio::time::sleep(RETRY.delay(attempt, &self.parts.env.rng)).await;
                    attempt = attempt.saturating_add(1);
                }
            }
        };
        tokio::join!(self.parts.system.keep_secrets(&told), hand_out);
    }

    /// Reads the secrets of these schemes again, and has them hold in every process.
    async fn renew_secrets(self: &Arc<Self>, schemes: &BTreeSet<&'static str>) -> Result<()> {
        // One configuration is handed out at a time.
        let mut state = self.reloading.state.lock().await;
        let (newest, keys) = self.parts.system.newest_secrets(&self.config(), schemes).await?;
        if keys.is_empty() {
            return Ok(());
        }
        if let Some(state) = state.as_mut() {
            state.started.take_secrets(&newest);
            state.read.take_secrets(&newest);
        }
        for key in keys.iter().filter(|key| !follows(key)) {
            tracing::error!(key, "its secret was replaced, and it holds only after a restart");
        }
        let taken = self.hand_out(newest).await;
        let keys: Vec<_> = keys.iter().filter(|key| follows(key)).collect();
        tracing::info!(?keys, processes = taken.len(), "secrets were replaced");
        for problem in taken.iter().filter(|taken| !taken.problem.is_empty()) {
            tracing::warn!(process = problem.process, problem = problem.problem, "it is told again");
        }
        Ok(())
    }

    /// Notes a configuration that holds.
    fn note(&self, changed: &[api::ConfigChange], restart: &[api::ConfigChange], cause: &str, now_ms: u64) {
        let restart_keys: Vec<_> = restart.iter().map(|change| change.key.clone()).collect();
        for change in changed {
            let api::ConfigChange { key, before, after, origin } = change;
            tracing::info!(cause, key, before, after, origin, "a setting has changed");
        }
        let mut status = self.reloading.status.lock();
        for key in restart_keys.iter().filter(|key| !status.restart_keys.contains(*key)) {
            tracing::warn!(cause, key, "a setting was changed that holds only after a restart");
        }
        status.version = self.reloading.version();
        status.read_ms = now_ms;
        status.restart_keys = restart_keys;
        (status.refused, status.refused_ms) = (String::new(), 0);
    }

    /// Has `next` hold in every process that runs, and in those that are about to: they are told by
    /// [`Supervisor::configure`].
    async fn hand_out(self: &Arc<Self>, next: Config) -> Vec<api::ConfigTaken> {
        let version = self.reloading.version() + 1;
        let request = update(version, &next);
        // This process first: the children that it starts from now on begin with it.
        let mut taken = Vec::new();
        let mut telling = JoinSet::new();
        let services = self.parts.agent.reconfigure(version, next);
        taken.push(api::ConfigTaken {
            process: banyan::ROOT_PROCESS.to_owned(),
            services: services.into_iter().map(str::to_owned).collect(),
            problem: String::new(),
        });
        self.reloading.version.store(version, Ordering::Release);
        for (process, client) in self.read(|registry| registry.named_clients()) {
            if process == banyan::ROOT_PROCESS {
                continue;
            }
            let (cx, request) = (self.context(UPDATE_MAX), request.clone());
            telling.spawn(async move {
                let answer = client.update_config(&cx, request).await;
                let (services, problem) = match answer {
                    Ok(answer) => (answer.services, String::new()),
                    Err(error) => (Vec::new(), error.message().to_owned()),
                };
                api::ConfigTaken { process, services, problem }
            });
        }
        let mut children = telling.join_all().await;
        children.sort_by(|a, b| a.process.cmp(&b.process));
        taken.extend(children);
        // Whoever was not reached is told as soon as it can be.
        self.edit(|_| ());
        taken
    }

    /// Has the configuration that holds now hold in one process; returns its version.
    pub(crate) async fn configure(&self, client: &api::ProcessServiceClient) -> Result<u64> {
        let version = self.reloading.version();
        let request = update(version, &self.config());
        client.update_config(&self.context(UPDATE_MAX), request).await.map(|_| version)
    }

    /// Lists what holds, and what will after a restart.
    pub(crate) async fn list_config(&self) -> Result<api::GetConfigResponse> {
        let system = &self.parts.system;
        let mut entries: Vec<api::ConfigEntry> = system
            .entries(&self.config())?
            .into_iter()
            .map(|entry| api::ConfigEntry {
                value: entry.value.to_string(),
                origin: entry.origin.to_string(),
                takes: entry.takes.to_string(),
                key: entry.key,
                next: String::new(),
            })
            .collect();
        if let Some(state) = self.reloading.state.lock().await.as_ref() {
            for change in system.differences(&state.started, &state.read)? {
                let next = match (&change, takes(&change)) {
                    ((_, Some(after)), Takes::Restart) => after.value.to_string(),
                    _ => continue,
                };
                if let Some(entry) = entries.iter_mut().find(|entry| entry.key == key(&change)) {
                    entry.next = next;
                }
            }
        }
        Ok(api::GetConfigResponse { entries, status: Some(self.reloading.status()) })
    }
}

/// Tells whether who uses the value at `key` takes another secret while it runs.
fn follows(key: &str) -> bool {
    ["stores.", "services."].iter().any(|section| key.starts_with(section))
}

fn update(version: u64, config: &Config) -> api::UpdateConfigRequest {
    let config = serde_json::to_vec(&Handover::from(config)).expect("a configuration is JSON");
    api::UpdateConfigRequest { version, config: config.into() }
}

fn key((left, right): &Difference) -> &str {
    left.as_ref().or(right.as_ref()).map_or("", |entry| entry.key.as_str())
}

fn takes((left, right): &Difference) -> Takes {
    left.as_ref().or(right.as_ref()).map_or(Takes::Restart, |entry| entry.takes)
}

fn told(change: &Difference) -> api::ConfigChange {
    let (left, right) = change;
    let value =
        |entry: &Option<banyan::Entry>| entry.as_ref().map(|e| e.value.to_string()).unwrap_or_default();
    api::ConfigChange {
        key: key(change).to_owned(),
        before: value(left),
        after: value(right),
        origin: right.as_ref().or(left.as_ref()).map(|entry| entry.origin.to_string()).unwrap_or_default(),
    }
}
