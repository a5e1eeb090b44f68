//! What a shop on one machine needs beside itself: a card processor, a first administrator, and an auditor who watches it.
//!
//! A shop that is told where its card processor is (`services.payments.processor_url`) and who its administrator is
//! (`services.users.admin`) gets neither.

mod admin;
mod auditor;
mod processor;
mod run_files;
mod stores;

use crate::commands::card_processor;
use anyhow::{Context, Result, bail};
use banyan::Config;
use banyan::core::{Error, Reason};
use banyan_cli::{Companion, Guard, Problem, Remote, own_program};
pub(crate) use stores::elsewhere;

use processor::{Options, Processor, ProcessorFile};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of the card processor's ledger, in the data folder.
const LEDGER: &str = "processor";

/// How long a shop that starts waits for one that ends.
const LOCK_MAX: Duration = Duration::from_secs(2);
const LOCK_AGAIN: Duration = Duration::from_millis(50);

/// Another shop runs with the data folder.
const DATA_FOLDER_IN_USE: Reason = Reason::new("DATA_FOLDER_IN_USE");

/// Keeps a data folder for one shop, with the card processor that belongs to it.
struct Beside {
    /// Ends before the card processor, which it asks.
    auditor: Option<auditor::Auditor>,
    processor: Option<Processor>,
    file: PathBuf,
    /// Held, never read: the operating system lets go of it however this process ends.
    _lock: File,
}

/// Completes the configuration of a shop that is about to start, and starts what must run beside it.
///
/// # Errors
/// If another shop uses the data folder, or the card processor does not start.
pub(crate) async fn prepare(config: &mut Config) -> Result<Guard> {
    let folder = run_files::folder(&config.data)?;
    let lock = lock_soon(&config.data, &folder).await?;
    admin::prepare(config, &folder)?;
    stores::prepare(config, &folder)?;
    let configured = config.services.get("payments").and_then(|s| s.get("processor_url")?.as_str());
    let mut beside = match configured.map(str::to_owned) {
        Some(url) => Beside::with_processor_at(url, &folder, lock)?,
        None => {
            let (beside, url) = Beside::with_own_processor(&config.data, &folder, lock).await?;
            let payments = config.services.entry("payments".to_owned()).or_default();
            payments.insert("processor_url".to_owned(), url.into());
            beside
        }
    };
    beside.auditor = watch(config, &folder)?;
    Ok(Box::new(beside))
}

/// Has an auditor watch the shop that `config` describes, unless it says otherwise.
fn watch(config: &Config, folder: &Path) -> Result<Option<auditor::Auditor>> {
    let settings = config.invariants.clone();
    let processor = config.services.get("payments").and_then(|s| s.get("processor_url")?.as_str());
    let (true, Some(processor_url)) = (settings.enabled, processor.map(str::to_owned)) else {
        return Ok(None);
    };
    let mut stores = BTreeMap::new();
    for service in crate::system().services() {
        if let Some(url) = config.store_url(service.name())? {
            stores.insert(service.name().to_owned(), url.expose().to_owned());
        }
    }
    let program = own_program::own().context("cannot find the program's own file")?;
    let (data, file) = (config.data.clone(), folder.join("invariants.json"));
    auditor::Auditor::start(auditor::Options { program, data, processor_url, stores, settings, file })
        .map(Some)
}

/// Describes what runs beside the shop in the folder `data`.
///
/// # Errors
/// If the file that says so is damaged.
pub(crate) fn companions(data: &Path) -> Result<Vec<Companion>> {
    let file = run_files::read::<ProcessorFile>(&processor_file(&data.join("run")))?;
    let companion = |file: ProcessorFile| Companion {
        name: card_processor::NAME.to_owned(),
        state: file.state,
        pid: file.pid,
        restarts: file.restarts,
        address: file.url,
    };
    Ok(file.map(companion).into_iter().collect())
}

/// Returns where the card processor is. If no shop runs, it is started until the guard is dropped.
///
/// # Errors
/// If it does not start.
pub(crate) async fn processor(data: &Path) -> Result<(String, Option<Guard>)> {
    if !data.join("stores").is_dir() {
        bail!("there is no shop in {}; name its folder with --data", data.display());
    }
    let folder = run_files::folder(data)?;
    let locked = match lock(data, &folder) {
        // Its owner has been killed and is not quite gone.
        Err(_) if Remote::find(data).is_err() => lock_soon(data, &folder).await,
        locked => locked,
    };
    match locked {
        Ok(_) if !data.join(LEDGER).is_dir() => {
            bail!("the shop does not run and its card processor is elsewhere; say where with --processor")
        }
        Ok(lock) => {
            let (beside, url) = Beside::with_own_processor(data, &folder, lock).await?;
            Ok((url, Some(Box::new(beside))))
        }
        Err(in_use) => match run_files::read::<ProcessorFile>(&processor_file(&folder))? {
            Some(file) => Ok((file.url, None)),
            None => Err(in_use.context("it does not say where its card processor is")),
        },
    }
}

impl Beside {
    async fn with_own_processor(data: &Path, folder: &Path, lock: File) -> Result<(Self, String)> {
        let program = own_program::own().context("cannot find the program's own file")?;
        let file = processor_file(folder);
        let options = Options { program, ledger: data.join(LEDGER), file: file.clone() };
        let processor = Processor::start(options).await?;
        let url = processor.url().to_owned();
        Ok((Self { auditor: None, processor: Some(processor), file, _lock: lock }, url))
    }

    fn with_processor_at(url: String, folder: &Path, lock: File) -> Result<Self> {
        let beside = Self { auditor: None, processor: None, file: processor_file(folder), _lock: lock };
        let state = "EXTERNAL".to_owned();
        run_files::write(&beside.file, &ProcessorFile { url, pid: None, state, restarts: 0 })?;
        Ok(beside)
    }
}

fn processor_file(folder: &Path) -> PathBuf {
    folder.join("processor.json")
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.auditor = None;
        self.processor = None;
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Takes the data folder for this process, also from one that was killed and is not quite gone.
async fn lock_soon(data: &Path, folder: &Path) -> Result<File> {
    let locked = async {
        loop {
            match lock(data, folder) {
                Ok(lock) => return lock,
                Err(_) => tokio::time::sleep(LOCK_AGAIN).await,
            }
        }
    };
    match tokio::time::timeout(LOCK_MAX, locked).await {
        Ok(file) => Ok(file),
        Err(_) => lock(data, folder),
    }
}

/// Takes the data folder for this process.
fn lock(data: &Path, folder: &Path) -> Result<File> {
    let path = folder.join("shop.lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let mut file = options.open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            // For the message of whoever comes second.
            let noted = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            noted.with_context(|| format!("cannot write {}", path.display()))?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(in_use(data, &path).into()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn in_use(data: &Path, lock: &Path) -> Problem {
    let pid: Option<u32> = std::fs::read_to_string(lock).ok().and_then(|text| text.trim().parse().ok());
    let (process, kill) = match pid {
        Some(pid) => (format!("process {pid}"), format!("stop it with `kill {pid}`")),
        None => ("another process".to_owned(), "stop it".to_owned()),
    };
    let place = match Remote::find(data) {
        Ok(remote) if Some(remote.pid()) == pid => format!(" at {}", remote.url()),
        // It starts, ends, or is an audit.
        _ => ", which is about to start or to end".to_owned(),
    };
    let message = format!("a shop runs with the folder {} already: {process}{place}", data.display());
    let next =
        format!("use that one, {kill}, or start this one elsewhere: `shop run --data DIR --port PORT`");
    Problem::new(Error::failed_precondition(DATA_FOLDER_IN_USE, message), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The program of a test is no shop.
    const ELSEWHERE: &str =
        "invariants.enabled = false\nservices.payments.processor_url = 'http://127.0.0.1:4242'";

    #[tokio::test]
    async fn a_data_folder_is_for_one_shop_and_says_where_its_processor_is() {
        let data = tempfile::tempdir().unwrap();
        let config = || Config { data: data.path().join("shop"), ..Config::parse(ELSEWHERE).unwrap() };
        let file = data.path().join("shop/run/processor.json");
        let first = prepare(&mut config()).await.unwrap();
        let second = prepare(&mut config()).await.err().unwrap();
        let second = second.downcast::<Problem>().unwrap();
        assert!(second.to_string().contains(&format!("process {}", std::process::id())), "{second}");
        assert!(second.next_step().contains("--port"), "{second:?}");
        assert_eq!(run_files::read::<ProcessorFile>(&file).unwrap().unwrap().url, "http://127.0.0.1:4242");
        drop(first);
        assert!(!file.exists());
        prepare(&mut config()).await.unwrap();
    }
}
