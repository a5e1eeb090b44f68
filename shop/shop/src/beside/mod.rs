//! What a shop on one machine needs beside itself: a card processor, and a first administrator.
//!
//! A shop that is told where its card processor is (`services.payments.processor_url`) and who its administrator is
//! (`services.users.admin`) gets neither.

mod admin;
mod processor;
mod run_files;

use anyhow::{Context, Result, bail};
use banyan::Config;
use banyan_cli::Guard;
use processor::ProcessorChild;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of the card processor's ledger, in the data folder.
const LEDGER: &str = "processor";

/// How long a shop that starts waits for one that ends.
const LOCK_MAX: Duration = Duration::from_secs(2);
const LOCK_AGAIN: Duration = Duration::from_millis(50);

/// `<data>/run/processor.json`: where the card processor is.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct ProcessorFile {
    url: String,
    /// Absent if the shop did not start it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pid: Option<u32>,
}

/// Keeps a data folder for one shop, with the card processor that belongs to it.
struct Beside {
    processor: Option<ProcessorChild>,
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
    let configured = config.services.get("payments").and_then(|s| s.get("processor_url")?.as_str());
    let beside = match configured {
        Some(url) => Beside::with_processor_at(url.to_owned(), &folder, lock)?,
        None => {
            let (beside, url) = Beside::with_own_processor(&config.data, &folder, lock).await?;
            let payments = config.services.entry("payments".to_owned()).or_default();
            payments.insert("processor_url".to_owned(), url.into());
            beside
        }
    };
    Ok(Box::new(beside))
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
    match lock(data, &folder) {
        Ok(_) if !data.join(LEDGER).is_dir() => {
            bail!("the shop does not run and its card processor is elsewhere; say where with --processor")
        }
        Ok(lock) => {
            let (beside, url) = Beside::with_own_processor(data, &folder, lock).await?;
            Ok((url, Some(Box::new(beside))))
        }
        Err(in_use) => match run_files::read::<ProcessorFile>(&folder.join("processor.json"))? {
            Some(file) => Ok((file.url, None)),
            None => Err(in_use.context("it does not say where its card processor is")),
        },
    }
}

impl Beside {
    async fn with_own_processor(data: &Path, folder: &Path, lock: File) -> Result<(Self, String)> {
        let program = std::env::current_exe().context("cannot find the program's own file")?;
        let processor = ProcessorChild::start(&program, &data.join(LEDGER)).await?;
        let (url, pid) = (processor.url().to_owned(), Some(processor.pid()));
        let beside = Self { processor: Some(processor), file: folder.join("processor.json"), _lock: lock };
        run_files::write(&beside.file, &ProcessorFile { url: url.clone(), pid })?;
        Ok((beside, url))
    }

    fn with_processor_at(url: String, folder: &Path, lock: File) -> Result<Self> {
        let beside = Self { processor: None, file: folder.join("processor.json"), _lock: lock };
        run_files::write(&beside.file, &ProcessorFile { url, pid: None })?;
        Ok(beside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
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
    let file = options.open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("a shop runs with the folder {} already", data.display()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELSEWHERE: &str = "services.payments.processor_url = 'http://127.0.0.1:4242'";

    #[tokio::test]
    async fn a_data_folder_is_for_one_shop_and_says_where_its_processor_is() {
        let data = tempfile::tempdir().unwrap();
        let config = || Config { data: data.path().join("shop"), ..Config::parse(ELSEWHERE).unwrap() };
        let file = data.path().join("shop/run/processor.json");
        let first = prepare(&mut config()).await.unwrap();
        let second = prepare(&mut config()).await.err().unwrap();
        assert!(second.to_string().contains("already"), "{second}");
        assert_eq!(run_files::read::<ProcessorFile>(&file).unwrap().unwrap().url, "http://127.0.0.1:4242");
        drop(first);
        assert!(!file.exists());
        prepare(&mut config()).await.unwrap();
    }
}
