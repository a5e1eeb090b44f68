//! What an auditor of the system's own finds while the system works, in `<data>/run/invariants.json`: a broken invariant is
//! logged once, and measured as long as it is broken.

use banyan_core::{Env, Tasks};
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often the file is looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// Largest file that is read, in bytes.
const BYTES_MAX: u64 = 4 << 20;
/// Invariants that are measured.
const CHECKS_MAX: usize = 256;

/// The part of the file that is needed here.
#[derive(Deserialize)]
struct File {
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    ok: bool,
    /// How many break it.
    #[serde(default)]
    broken: u64,
    #[serde(default)]
    offenders: Vec<Offender>,
}

#[derive(Deserialize)]
struct Offender {
    id: String,
    problem: String,
}

/// How many break each invariant.
type Broken = BTreeMap<String, u64>;

/// Follows the file of the data folder `data` until `tasks` stop.
pub(crate) fn follow(data: &Path, env: &Env, tasks: &Tasks) {
    let path = data.join("run").join("invariants.json");
    let broken = Arc::new(Mutex::new(Broken::new()));
    let measured = {
        let broken = broken.clone();
        env.for_service("auditor").signals.measure(move |readings| {
            for (name, count) in &*broken.lock() {
                readings.gauge("banyan.invariant.broken", &[("banyan.invariant.name", name)], *count as f64);
            }
        })
    };
    tasks.spawn_until_stopped("invariants", async move {
        let _measured = measured;
        let mut read_at = None;
        loop {
            tokio::time::sleep(PERIOD).await;
            let (path, last) = (path.clone(), read_at);
            if let Ok(Some((written, file))) = tokio::task::spawn_blocking(move || newer(&path, last)).await {
                read_at = Some(written);
                let mut broken = broken.lock();
                *broken = note(&broken, file);
            }
        }
    });
}

/// Reads the file if it was written after `last`. One that is damaged is as good as none.
fn newer(path: &PathBuf, last: Option<SystemTime>) -> Option<(SystemTime, File)> {
    let about = std::fs::metadata(path).ok()?;
    let written = about.modified().ok()?;
    if last == Some(written) || about.len() > BYTES_MAX {
        return None;
    }
    let file = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some((written, file))
}

/// Logs what has changed, and returns what holds now.
fn note(before: &Broken, file: File) -> Broken {
    let mut now = Broken::new();
    for check in file.checks.into_iter().take(CHECKS_MAX) {
        let count = if check.ok { 0 } else { check.broken.max(1) };
        let was = before.get(&check.name).copied().unwrap_or_default();
        if count > 0 && was == 0 {
            let first = check.offenders.first();
            let (id, problem) = first.map_or(("", ""), |first| (first.id.as_str(), first.problem.as_str()));
            tracing::error!(invariant = check.name, broken = count, id, problem, "an invariant is broken");
        } else if count == 0 && was > 0 {
            tracing::warn!(invariant = check.name, "an invariant that was broken holds again");
        }
        now.insert(check.name, count);
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_counted_until_it_holds_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("invariants.json");
        assert!(newer(&path, None).is_none());
        std::fs::write(&path, "{").unwrap();
        assert!(newer(&path, None).is_none(), "half a file");
        let text = r#"{"ok": false, "checks": [{"name": "a", "ok": false, "broken": 12,
            "offenders": [{"id": "x", "problem": "no"}]}, {"name": "b", "ok": true, "group": "stock"}]}"#;
        std::fs::write(&path, text).unwrap();
        let (written, file) = newer(&path, None).unwrap();
        assert!(newer(&path, Some(written)).is_none(), "it is the same");
        let broken = note(&Broken::new(), file);
        assert_eq!(broken, Broken::from([("a".to_owned(), 12), ("b".to_owned(), 0)]));
        let healed = serde_json::from_str(r#"{"checks": [{"name": "a", "ok": true}]}"#).unwrap();
        assert_eq!(note(&broken, healed), Broken::from([("a".to_owned(), 0)]));
    }
}
