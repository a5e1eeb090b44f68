//! The first administrator of a shop on one machine: a random password, made once and kept for the user.

use super::run_files;
use anyhow::{Result, anyhow};
use banyan::Config;
use serde::{Deserialize, Serialize};
use std::path::Path;

const EMAIL: &str = "admin@example.com";
/// Octets of randomness in the password.
const PASSWORD_BYTES: usize = 16;

/// `<data>/run/admin.json`.
#[derive(Deserialize, Serialize)]
struct Admin {
    email: String,
    password: String,
    name: String,
}

/// Sets `services.users.admin`, unless the configuration does.
pub(super) fn prepare(config: &mut Config, folder: &Path) -> Result<()> {
    let users = config.services.entry("users".to_owned()).or_default();
    if users.contains_key("admin") {
        return Ok(());
    }
    let path = folder.join("admin.json");
    let admin = match run_files::read(&path)? {
        Some(admin) => admin,
        None => {
            let admin = Admin {
                email: EMAIL.to_owned(),
                password: new_password()?,
                name: "Administrator".to_owned(),
            };
            run_files::write(&path, &admin)?;
            admin
        }
    };
    users.insert("admin".to_owned(), toml::Value::try_from(admin)?);
    Ok(())
}

fn new_password() -> Result<String> {
    let mut bytes = [0u8; PASSWORD_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("the operating system gives no randomness"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn prepared(folder: &Path, text: &str) -> toml::Value {
        let mut config = Config::parse(text).unwrap();
        prepare(&mut config, folder).unwrap();
        config.services["users"]["admin"].clone()
    }

    #[test]
    fn the_password_is_random_private_and_kept() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = prepared(a.path(), "");
        assert_eq!(first, prepared(a.path(), "services.users.token_minutes = 5"));
        assert_ne!(first["password"], prepared(b.path(), "")["password"]);
        let mode = std::fs::metadata(a.path().join("admin.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_configured_administrator_stays() {
        let folder = tempfile::tempdir().unwrap();
        let text = "services.users.admin = { email = 'me@example.com', password = 'chosen by me' }";
        assert_eq!(prepared(folder.path(), text)["email"].as_str(), Some("me@example.com"));
        assert!(!folder.path().join("admin.json").exists());
    }
}
