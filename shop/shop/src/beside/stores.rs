//! Where the services' stores are that are not files in the data folder: an audit finds them there, also when the shop is
//! gone.

use super::run_files;
use anyhow::Result;
use banyan::Config;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Notes the URLs of the stores. The file is for the shop's user alone: a URL may hold a password.
pub(super) fn prepare(config: &Config, folder: &Path) -> Result<()> {
    let system = crate::system();
    let names = system.services().iter().map(|service| service.name());
    let mut urls = BTreeMap::new();
    for name in names {
        if let Some(url) = config.store_url(name)? {
            urls.insert(name, url.expose().clone());
        }
    }
    run_files::write(&file(folder), &urls)
}

/// Returns the URLs of the stores of the shop in the folder `data`, by service; none for those that are files.
///
/// # Errors
/// If the file that says so is damaged.
pub(crate) fn elsewhere(data: &Path) -> Result<BTreeMap<String, String>> {
    Ok(run_files::read(&file(&data.join("run")))?.unwrap_or_default())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("stores.json")
}
