//! How the server is reached.

use banyan_core::{Error, Result};
use banyan_identity::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// How OpenBao is reached.
#[derive(Clone, Debug)]
pub struct OpenBaoOptions {
    /// `BAO_ADDR`: for example `https://bao.internal:8200`.
    pub address: String,
    /// `BAO_NAMESPACE`: the namespace, if it is not the root one.
    pub namespace: Option<String>,
    /// `BAO_CACERT`: a file with the certificates, in PEM, that the server's must come from; the system's own otherwise.
    pub ca_file: Option<PathBuf>,
    pub login: Login,
    /// How long one request may take.
    pub request_max: Duration,
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Login {
    /// `BAO_TOKEN`: a token that was made beforehand.
    Token(Secret<String>),
    /// `BAO_ROLE_ID` and `BAO_SECRET_ID` (or `BAO_SECRET_ID_FILE`, a file with it): the method AppRole, which is enabled at
    /// `mount` (`BAO_APPROLE_MOUNT`, or else `approle`).
    AppRole { mount: String, role_id: String, secret_id: Secret<String> },
}

impl Default for OpenBaoOptions {
    /// The address that the `bao` command takes, and an empty token.
    fn default() -> Self {
        Self {
            address: "https://127.0.0.1:8200".to_owned(),
            namespace: None,
            ca_file: None,
            login: Login::Token(Secret::new(String::new())),
            request_max: Duration::from_secs(10),
        }
    }
}

impl OpenBaoOptions {
    /// Reads the environment variables. A role wins over a token.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the variable that is missing or not valid.
    pub fn from_environment() -> Result<Self> {
        Self::of(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let login = match (variable("BAO_ROLE_ID"), variable("BAO_TOKEN")) {
            (Some(role_id), _) => {
                let mount = variable("BAO_APPROLE_MOUNT").unwrap_or_else(|| "approle".to_owned());
                Login::AppRole { mount, role_id, secret_id: secret_id(variable)? }
            }
            (None, Some(token)) => Login::Token(Secret::new(token)),
            (None, None) => {
                let problem = "is not set, nor is BAO_TOKEN: one of them says who asks OpenBao";
                return Err(Error::invalid("BAO_ROLE_ID", problem));
            }
        };
        Ok(Self {
            address: variable("BAO_ADDR").ok_or_else(|| Error::invalid("BAO_ADDR", "is not set"))?,
            namespace: variable("BAO_NAMESPACE"),
            ca_file: variable("BAO_CACERT").map(PathBuf::from),
            login,
            ..Self::default()
        })
    }
}

fn secret_id(variable: &dyn Fn(&str) -> Option<String>) -> Result<Secret<String>> {
    if let Some(secret) = variable("BAO_SECRET_ID") {
        return Ok(Secret::new(secret));
    }
    let problem = "is not set, nor is BAO_SECRET_ID_FILE, and BAO_ROLE_ID is";
    let file = variable("BAO_SECRET_ID_FILE").ok_or_else(|| Error::invalid("BAO_SECRET_ID", problem))?;
    let read = std::fs::read_to_string(&file);
    let read = read.map_err(|e| Error::invalid("BAO_SECRET_ID_FILE", format!("cannot read {file}: {e}")))?;
    Ok(Secret::new(read.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<OpenBaoOptions> {
        OpenBaoOptions::of(&|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_say_where_and_who() {
        let options = of(&[("BAO_ADDR", "http://h"), ("BAO_TOKEN", "hunter2")]).unwrap();
        assert!(matches!(&options.login, Login::Token(token) if token.expose() == "hunter2"));
        assert!(!format!("{options:?}").contains("hunter2"));
        let role = [
            ("BAO_ADDR", "http://h"),
            ("BAO_TOKEN", "x"),
            ("BAO_ROLE_ID", "r"),
            ("BAO_SECRET_ID", "hunter2"),
        ];
        let options = of(&role).unwrap();
        assert!(
            matches!(&options.login, Login::AppRole { mount, role_id, .. } if mount == "approle" && role_id == "r")
        );
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (variables, named) in [
            (&[][..], "BAO_ROLE_ID"),
            (&[("BAO_TOKEN", "x")], "BAO_ADDR"),
            (&[("BAO_ADDR", "http://h"), ("BAO_ROLE_ID", "r")], "BAO_SECRET_ID"),
            (&[("BAO_ROLE_ID", "r"), ("BAO_SECRET_ID_FILE", "/absent")], "BAO_SECRET_ID_FILE"),
        ] {
            assert_eq!(of(variables).unwrap_err().violations()[0].field, named);
        }
    }
}
