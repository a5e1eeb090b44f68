//! The shop's waits for the disk, as `strace` saw them.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// One call of `fsync` or `fdatasync` that has returned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sync {
    /// Whose file it was: a service's name for its store, else `event log`, `card processor`, or the path.
    pub(super) owner: String,
    /// Seconds since the Unix epoch.
    pub(super) began: f64,
    pub(super) ended: f64,
}

/// What a traced shop does.
pub(super) struct Trace {
    file: PathBuf,
    data: PathBuf,
}

impl Trace {
    /// Reads what is written to `file` of the shop whose data is in `data`.
    pub(super) fn new(file: PathBuf, data: PathBuf) -> Self {
        Self { file, data }
    }

    /// Returns all syncs that have ended so far, in the order of their beginning.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn read(&self) -> Result<Vec<Sync>> {
        let text = std::fs::read_to_string(&self.file)
            .with_context(|| format!("read {}; does `strace` work here?", self.file.display()))?;
        Ok(parse(&text, &self.data))
    }
}

/// Reads lines such as `42 1700000000.000001 fsync(3</data/stores/orders.db-wal>) = 0 <0.000300>`; a call during which
/// another was traced takes two lines, `… <unfinished ...>` and `… <... fsync resumed>) = 0 <0.000300>`.
fn parse(text: &str, data: &Path) -> Vec<Sync> {
    let mut unfinished: HashMap<&str, (f64, String)> = HashMap::new();
    let mut syncs = Vec::new();
    for line in text.lines() {
        // The columns are padded.
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((at, call)) = rest.trim_start().split_once(' ') else { continue };
        let Ok(at) = at.parse::<f64>() else { continue };
        let (began, owner) = if call.contains("resumed>") {
            let Some(begun) = unfinished.remove(thread) else { continue };
            begun
        } else {
            let path = call.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
            let Some((path, _)) = path else { continue };
            (at, owner(Path::new(path), data))
        };
        if call.ends_with("<unfinished ...>") {
            unfinished.insert(thread, (began, owner));
            continue;
        }
        let took = call.rsplit_once('<').and_then(|(_, took)| took.strip_suffix('>')?.parse::<f64>().ok());
        let Some(took) = took else { continue };
        syncs.push(Sync { owner, began, ended: began + took });
    }
    syncs.sort_by(|a, b| a.began.total_cmp(&b.began));
    syncs
}

fn owner(path: &Path, data: &Path) -> String {
    let inside = path.strip_prefix(data).unwrap_or(path);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = inside.iter().next().and_then(|folder| folder.to_str());
    match (folder, name.strip_suffix(".db-wal"), name.strip_suffix(".db")) {
        (Some("stores"), Some(service), _) => service.to_owned(),
        (Some("stores"), _, Some(service)) => format!("{service} (checkpoint)"),
        (Some("log"), ..) => "event log".to_owned(),
        (Some("processor"), ..) => "card processor".to_owned(),
        _ => inside.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_whole_or_in_two_parts() {
        let text = "\
            7 100.000000 fsync(3</d/stores/orders.db-wal>) = 0 <0.000500>\n\
            7 101.000000 fdatasync(4</d/log/0001.log> <unfinished ...>\n\
            8   101.000100 fsync(9</d/processor/processor.sqlite-wal>) = 0 <0.000200>\n\
            7 101.000400 <... fdatasync resumed>) = 0 <0.000400>\n\
            8 102.000000 fsync(5</d/stores/orders.db> <unfinished ...>\n\
            8 +++ exited with 0 +++\n";
        let syncs = parse(text, Path::new("/d"));
        let owners: Vec<&str> = syncs.iter().map(|sync| sync.owner.as_str()).collect();
        assert_eq!(owners, ["orders", "event log", "card processor"]);
        assert!((syncs[1].ended - 101.0004).abs() < 1e-6);
    }

    #[test]
    fn owners_are_found_by_their_folders() {
        let of = |path: &str| owner(Path::new(path), Path::new("/d"));
        assert_eq!(of("/d/stores/orders.db"), "orders (checkpoint)");
        assert_eq!(of("/d/run/system.json"), "run/system.json");
    }
}
