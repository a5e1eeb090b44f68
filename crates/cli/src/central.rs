//! The central source of the configuration, as commands read and follow it.

use crate::args::{Globals, RunArgs};
use crate::problem::Problem;
use anyhow::Result;
use banyan::{Config, Layers, System};
use banyan_control::root::SourceNotes;
use banyan_core::{Backoff, Code, Env, Error};
use banyan_identity::{ConfigSource, SOURCE_UNAVAILABLE, Snapshot, SourceEntry};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long one reading of the source may take.
const READ_MAX: Duration = Duration::from_secs(10);
/// How often the source is read again although it tells of no change.
const READ_ANYWAY: Duration = Duration::from_secs(10);
/// The least time between two readings: what is written in one go is taken over in one go.
const READ_EVERY: Duration = Duration::from_millis(100);
/// How long to wait before a source that does not answer is asked again.
const AGAIN: Backoff = Backoff {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};
/// What stands for a secret where values are shown.
const REDACTED: &str = "[redacted]";

/// A configuration's central source.
pub(crate) struct Central {
    source: Arc<dyn ConfigSource>,
    system: System,
    /// What it had when it was read the last time.
    last: Mutex<Snapshot>,
    /// Where that came from: the source's place, or that of the copy.
    place: Mutex<String>,
    copy: PathBuf,
}

/// What a source had, kept for a start without it: no secrets.
#[derive(Deserialize, Serialize)]
struct Copy {
    place: String,
    revision: u64,
    /// Value and revision, by key.
    entries: BTreeMap<String, (String, u64)>,
    /// Keys that are secrets in plain text.
    left_out: Vec<String>,
}

/// Reads the whole configuration, the central source included if there is one. Secrets are not read.
///
/// # Errors
/// As [`RunArgs::config`]; `SOURCE_UNAVAILABLE` if the source does not answer and no copy may stand for it.
pub(crate) async fn read(
    args: &RunArgs,
    globals: &Globals,
    system: &System,
    env: &Env,
) -> Result<(Config, Option<Arc<Central>>)> {
    let beneath = args.config(globals)?;
    let Some(central) = Central::of(&beneath, system, env).await? else { return Ok((beneath, None)) };
    match central.ask().await {
        Ok(snapshot) => *central.last.lock() = snapshot,
        Err(error) if beneath.source.fallback && error.is(SOURCE_UNAVAILABLE) => {
            let (snapshot, place) = central.fall_back(&error)?;
            let revision = snapshot.revision;
            tracing::warn!(%error, copy = %central.copy.display(), revision, "starting from the copy of the source");
            (*central.last.lock(), *central.place.lock()) = (snapshot, place);
        }
        Err(error) => {
            let next =
                "start the source, or set source.fallback = true to start from the copy of what it had last";
            return Err(Problem::new(error, next).into());
        }
    }
    let config = central.config(args, globals)?;
    Ok((config, Some(Arc::new(central))))
}

/// Opens the central source and reads it, without looking at what its settings are; `None` if there is none.
///
/// # Errors
/// As [`read`].
pub(crate) async fn open(
    args: &RunArgs,
    globals: &Globals,
    system: &System,
    env: &Env,
) -> Result<Option<Arc<Central>>> {
    let Some(central) = Central::of(&args.config(globals)?, system, env).await? else { return Ok(None) };
    let snapshot = central.ask().await.map_err(|error| Problem::new(error, "start the source"))?;
    *central.last.lock() = snapshot;
    Ok(Some(Arc::new(central)))
}

impl Central {
    async fn of(beneath: &Config, system: &System, env: &Env) -> Result<Option<Self>> {
        let Some(source) = system.open_source(beneath, env).await? else { return Ok(None) };
        Ok(Some(Self {
            place: Mutex::new(source.place().to_owned()),
            source,
            system: system.clone(),
            last: Mutex::default(),
            copy: beneath.data.join("config").join("source.json"),
        }))
    }

    pub(crate) fn source(&self) -> &dyn ConfigSource {
        self.source.as_ref()
    }

    /// Tells whether a copy stands for the source, which did not answer.
    pub(crate) fn is_copy(&self) -> bool {
        *self.place.lock() != self.source.place()
    }

    /// Returns what the source had when it was read the last time.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.last.lock().clone()
    }

    /// Puts the configuration together with what the source had when it was read the last time.
    pub(crate) fn config(&self, args: &RunArgs, globals: &Globals) -> Result<Config> {
        self.config_with(args, globals, &self.snapshot())
    }

    pub(crate) fn config_with(
        &self,
        args: &RunArgs,
        globals: &Globals,
        snapshot: &Snapshot,
    ) -> Result<Config> {
        let place = self.place.lock().clone();
        args.config_over(globals, Some((&place, snapshot)))
    }

    /// Reads the source again; if it does not answer, what it had last stands.
    pub(crate) async fn refresh(&self) {
        match self.ask().await {
            Ok(snapshot) => {
                *self.last.lock() = snapshot;
                self.source.place().clone_into(&mut self.place.lock());
            }
            Err(error) => tracing::warn!(%error, "the source is not read anew; what it had last holds"),
        }
    }

    /// Reads the source.
    async fn ask(&self) -> banyan_core::Result<Snapshot> {
        let late = |_| Error::new(Code::Unavailable, SOURCE_UNAVAILABLE, self.silent());
        tokio::time::timeout(READ_MAX, self.source.read()).await.map_err(late)?
    }

    fn silent(&self) -> String {
        format!("{} did not answer within {} s", self.source.place(), READ_MAX.as_secs())
    }

    /// Has the system read its configuration again each time that the source changes. Never ends.
    pub(crate) async fn follow(&self, notes: SourceNotes, env: &Env) {
        let place = self.source.place();
        let mut seen = self.snapshot();
        // What came between the reading before the start and this moment is noticed as well.
        let mut after = seen.revision;
        let mut failures = 0;
        notes.note(place, "");
        loop {
            let told = tokio::time::timeout(READ_ANYWAY, self.source.changed(after)).await;
            tokio::time::sleep(READ_EVERY).await;
            let read = match told {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) | Err(_) => self.ask().await,
            };
            match read {
                Ok(snapshot) => {
                    if failures > 0 {
                        tracing::info!(place, "the central source answers again");
                    }
                    failures = 0;
                    notes.note(place, "");
                    after = snapshot.revision;
                    if snapshot.entries != seen.entries {
                        // Refused or not, the log and the status have it.
                        let _ = notes.reload(place).await;
                        seen = snapshot;
                    }
                }
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(place, %error, "the central source is away; what it had last holds");
                    }
                    notes.note(place, error.message());
                    tokio::time::sleep(AGAIN.delay(failures, &env.rng)).await;
                    // What was missed meanwhile is in what is read now, whatever the source tells of it.
                    after = 0;
                }
            }
        }
    }

    /// Keeps a copy of what the source had, for a start without it.
    pub(crate) fn keep(&self) {
        if let Err(error) = self.try_keep() {
            tracing::warn!(%error, copy = %self.copy.display(), "the copy of the source cannot be kept");
        }
    }

    fn try_keep(&self) -> Result<()> {
        let snapshot = self.snapshot();
        let secret = self.secrets(&snapshot)?;
        let (left_out, kept): (Vec<_>, Vec<_>) =
            snapshot.entries.into_iter().partition(|(key, _)| secret(key));
        let copy = Copy {
            place: self.source.place().to_owned(),
            revision: snapshot.revision,
            entries: kept.into_iter().map(|(key, entry)| (key, (entry.value, entry.revision))).collect(),
            left_out: left_out.into_iter().map(|(key, _)| key).collect(),
        };
        write_private(&self.copy, &serde_json::to_string_pretty(&copy)?)
    }

    /// Returns what tells by a key of the source whether it is a secret in plain text.
    pub(crate) fn secrets(&self, snapshot: &Snapshot) -> Result<impl Fn(&str) -> bool + use<>> {
        // By itself: what lies over it may be a reference.
        let mut layers = Layers::new();
        layers.central(self.source.place(), snapshot)?;
        let shown = self.system.entries(&layers.load()?)?;
        let hidden: Vec<String> = shown
            .into_iter()
            .filter(|entry| entry.value.to_string().contains(REDACTED))
            .map(|entry| entry.key)
            .collect();
        Ok(move |key: &str| {
            let below = |of: &str| of.strip_prefix(key).is_some_and(|r| r.is_empty() || r.starts_with('.'));
            hidden.iter().any(|of| below(of))
        })
    }

    /// Reads the copy, because the source is away.
    fn fall_back(&self, away: &Error) -> Result<(Snapshot, String)> {
        let path = self.copy.display();
        let refused = |why: String| {
            let message = format!("{}; {why}", away.message());
            Problem::new(Error::new(Code::Unavailable, SOURCE_UNAVAILABLE, message), "start the source")
        };
        let text = std::fs::read_to_string(&self.copy)
            .map_err(|error| refused(format!("there is no copy of what it had last ({path}: {error})")))?;
        let copy: Copy = serde_json::from_str(&text)
            .map_err(|error| refused(format!("the copy of what it had last is damaged ({path}: {error})")))?;
        if copy.place != self.source.place() {
            return Err(refused(format!("the copy {path} is of another source, {}", copy.place)).into());
        }
        if !copy.left_out.is_empty() {
            let why = format!(
                "the copy {path} lacks {}: a secret in plain text is not kept, a reference to one is",
                copy.left_out.join(", ")
            );
            return Err(refused(why).into());
        }
        let entry = |(key, (value, revision))| (key, SourceEntry { value, revision });
        let entries = copy.entries.into_iter().map(entry).collect();
        Ok((Snapshot { entries, revision: copy.revision }, format!("{} (copy)", copy.place)))
    }
}

/// Writes a file for its user alone, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let temporary = path.with_extension("tmp");
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(std::fs::rename(&temporary, path)?)
}
