//! Where the services' stores are that are not files in the data folder: an audit finds them there, also when the shop is
//! gone. What is noted is what the configuration says, with its references to secrets; no password is written.

use super::run_files;
use anyhow::{Context, Result};
use banyan::core::{Error, Reason};
use banyan::{Config, System};
use banyan_cli::{Globals, Problem, RunArgs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The key of the stores of services that have none of their own.
const DEFAULT_STORE: &str = "default";
/// The URL of a store that is a file in the data folder.
const SQLITE: &str = "sqlite";
/// What a configuration shows in place of a password.
const REDACTED: &str = "[redacted]";

/// A password of a store is in the configuration alone, and not in the one that the audit was given.
const STORE_PASSWORD_MISSING: Reason = Reason::new("STORE_PASSWORD_MISSING");

/// Notes the URLs of the stores as they may be shown.
pub(super) fn prepare(config: &Config, folder: &Path) -> Result<()> {
    run_files::write(&file(folder), &shown(config)?)
}

/// Returns the URLs of the stores of the shop in the folder `data`, by service; none for those that are files. Secrets are
/// read where the references say. A password that the configuration has in plain text is taken from the configuration
/// that the command is given: `config` or `banyan.toml`, profile, environment.
///
/// # Errors
/// `STORE_PASSWORD_MISSING` if it is not there; `SECRET_MISSING`; if the file that says where the stores are is damaged.
pub(crate) async fn elsewhere(
    data: &Path,
    system: &System,
    globals: &Globals,
    config: Option<&Path>,
) -> Result<BTreeMap<String, String>> {
    let noted: BTreeMap<String, String> = run_files::read(&file(&data.join("run")))?.unwrap_or_default();
    let mut wanted = Config { stores: noted, ..Config::default() };
    if wanted.stores.values().any(|url| url.contains(REDACTED)) {
        let args = RunArgs { config: config.map(Path::to_owned), ..RunArgs::default() };
        let given = args.config(globals).context("the stores' passwords are in the configuration")?;
        let shown = shown(&given)?;
        for (service, url) in wanted.stores.iter_mut().filter(|(_, url)| url.contains(REDACTED)) {
            match written(&given.stores, service) {
                Some(known) if shown.get(service) == Some(url) => *url = known,
                _ => return Err(no_password(service, url).into()),
            }
        }
    }
    if wanted.stores.values().any(|url| url.contains("${")) {
        let next = "give this command what the shop was started with: the variables, files or sources of secrets that its \
                    configuration refers to";
        system.resolve(&mut wanted).await.map_err(|error| Problem::new(error, next))?;
    }
    let services = wanted.stores.keys().cloned().collect::<Vec<_>>();
    let url = |service: String| Ok(wanted.store_url(&service)?.map(|url| (service, url.expose().clone())));
    services.into_iter().filter_map(|service| url(service).transpose()).collect()
}

/// Returns the URLs of the stores that are no files, by service, without passwords: references stay as they are written.
fn shown(config: &Config) -> Result<BTreeMap<String, String>> {
    let stores = serde_json::to_value(config)?["stores"].take();
    let stores: BTreeMap<String, String> = serde_json::from_value(stores)?;
    let system = crate::system();
    let url = |name: &str| Some((name.to_owned(), written(&stores, name)?));
    Ok(system.services().iter().filter_map(|service| url(service.name())).collect())
}

/// Returns the URL of a service's store as it is written; `None` for a file.
fn written(stores: &BTreeMap<String, String>, service: &str) -> Option<String> {
    let url = stores.get(service).or_else(|| stores.get(DEFAULT_STORE)).filter(|url| *url != SQLITE)?;
    Some(url.replace("{service}", service))
}

fn no_password(service: &str, url: &str) -> Problem {
    let message = format!(
        "the store of {service} is {url}; its password is kept in the configuration alone, and this command was given \
         another one"
    );
    let next = format!(
        "name the configuration that the shop was started with (--profile, --config, or BANYAN__STORES__{} in the \
         environment); or let it refer to the password, as ${{env:NAME}}, and start the shop again",
        service.to_uppercase()
    );
    Problem::new(Error::failed_precondition(STORE_PASSWORD_MISSING, message), next)
}

fn file(folder: &Path) -> PathBuf {
    folder.join("stores.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Notes the stores of a configuration and returns the file's text, and what an audit makes of it that is given `file`.
    async fn noted(config: &str, file: &str) -> (String, Result<BTreeMap<String, String>>) {
        let data = tempfile::tempdir().unwrap();
        let folder = run_files::folder(data.path()).unwrap();
        prepare(&Config::parse(config).unwrap(), &folder).unwrap();
        let text = fs::read_to_string(folder.join("stores.json")).unwrap();
        let path = data.path().join("given.toml");
        fs::write(&path, file).unwrap();
        let globals = Globals::default();
        (text, elsewhere(data.path(), &crate::system(), &globals, Some(&path)).await)
    }

    #[tokio::test]
    async fn no_password_is_noted_and_all_are_found() {
        let (secret, whole) =
            (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        fs::write(secret.path(), "hunter2").unwrap();
        fs::write(whole.path(), "postgres://u:hunter2@h/users").unwrap();
        let config = format!(
            "[stores]\ndefault = 'postgres://u:hunter2@h/{{service}}'\norders = 'postgres://u:${{file:{}}}@h/o'\n\
             payments = 'sqlite'\ncart = 'mysql://u:hunter2@h/c'\nusers = '${{file:{}}}'",
            secret.path().display(),
            whole.path().display()
        );
        let (text, found) = noted(&config, &config).await;
        assert!(!text.contains("hunter2") && text.contains("${file:"), "{text}");
        let found = found.unwrap();
        assert_eq!(found["orders"], "postgres://u:hunter2@h/o");
        assert_eq!(found["catalog"], "postgres://u:hunter2@h/catalog");
        assert_eq!(found["cart"], "mysql://u:hunter2@h/c");
        assert_eq!((found["users"].as_str(), found.get("payments")), ("postgres://u:hunter2@h/users", None));

        let (_, refused) = noted(&config, "[stores]\ndefault = 'postgres://u:hunter2@other/{service}'").await;
        let problem = refused.unwrap_err().downcast::<Problem>().unwrap();
        assert_eq!(problem.error().reason(), "STORE_PASSWORD_MISSING");
        assert!(problem.next_step().contains("--profile"), "{problem:?}");
    }

    #[tokio::test]
    async fn what_was_noted_with_a_password_is_found_still() {
        let data = tempfile::tempdir().unwrap();
        let folder = run_files::folder(data.path()).unwrap();
        fs::write(folder.join("stores.json"), r#"{"orders": "postgres://u:hunter2@h/o"}"#).unwrap();
        let missing = Path::new("/nowhere/banyan.toml");
        let found =
            elsewhere(data.path(), &crate::system(), &Globals::default(), Some(missing)).await.unwrap();
        assert_eq!(found["orders"], "postgres://u:hunter2@h/o");
    }
}
