//! Where the console listens, and who may use it.

use super::redact::REDACTED;
use banyan_core::{Error, Result};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// Users of a console.
const USERS_MAX: usize = 256;
/// Longest name of a user, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Names that a console answers to.
const HOSTS_MAX: usize = 32;

/// The console: `[console]`. Without users it is for who is at this machine, and everybody there may do everything.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Its port, 0 for any free one. Without it: the one after the gateway's, or any if that is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The address of this machine that it listens on. Others than loopback need users, `hosts`, and either a certificate or
    /// `behind_proxy`.
    pub listen: IpAddr,
    /// Its certificate with those that prove it, a file in PEM; together with `tls_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of its certificate, a file in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Whether a proxy before it speaks TLS with browsers; needs users. Nobody else may reach the console then.
    pub behind_proxy: bool,
    /// The names that it answers to, beside `localhost` and `127.0.0.1`: as browsers write them, without a port.
    pub hosts: Vec<String>,
    /// Who may log in, by name.
    pub users: BTreeMap<String, ConsoleUser>,
}

/// A user of the console: `[console.users.NAME]`.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleUser {
    /// What `console-password` makes of a password: argon2id, as a PHC string.
    #[serde(serialize_with = "hidden")]
    pub password_hash: String,
    pub role: ConsoleRole,
}

/// What a user of the console may do; each role may also do what those before it may.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsoleRole {
    /// Looks.
    Viewer,
    /// Also works on what stands still: sagas, dead letters, replays; calls methods without side effects.
    Operator,
    /// Also moves services, has the configuration read again, calls every method.
    Admin,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            port: None,
            listen: Ipv4Addr::LOCALHOST.into(),
            tls_cert: None,
            tls_key: None,
            behind_proxy: false,
            hosts: Vec::new(),
            users: BTreeMap::new(),
        }
    }
}

impl ConsoleSettings {
    /// Checks what the types alone do not.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |key: &str, problem: &str| Err(Error::invalid(format!("console.{key}"), problem));
        if self.users.len() > USERS_MAX {
            return refuse("users", "has more than 256 users");
        }
        for (name, user) in &self.users {
            let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(letters) {
                return refuse("users", "a name is 1 to 64 letters, digits, - and _");
            }
            if !user.password_hash.starts_with("$argon2id$") {
                let key = format!("users.{name}.password_hash");
                return refuse(&key, "expected what `console-password` prints: $argon2id$…");
            }
        }
        if self.hosts.len() > HOSTS_MAX {
            return refuse("hosts", "has more than 32 names");
        }
        if let Some(host) = self.hosts.iter().find(|host| host.is_empty() || host.contains(['/', ' '])) {
            return refuse("hosts", &format!("{host:?} is no name: expected one such as ops.example.com"));
        }
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => return refuse("tls_key", "is missing: tls_cert needs its key"),
            (None, Some(_)) => return refuse("tls_cert", "is missing: tls_key belongs to a certificate"),
            _ => {}
        }
        if self.behind_proxy && self.users.is_empty() {
            return refuse("users", "is empty: whom the proxy lets through would be admin");
        }
        if self.listen.is_loopback() {
            return Ok(());
        }
        if self.tls_cert.is_none() && !self.behind_proxy {
            let problem = "is not loopback: give tls_cert and tls_key, or say behind_proxy = true if a proxy speaks TLS";
            return refuse("listen", problem);
        }
        if self.users.is_empty() {
            return refuse("users", "is empty: a console that others reach needs users");
        }
        if self.hosts.is_empty() {
            return refuse(
                "hosts",
                "is empty: name what browsers reach the console as, such as ops.example.com",
            );
        }
        Ok(())
    }
}

impl fmt::Debug for ConsoleUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleUser").field("role", &self.role).finish_non_exhaustive()
    }
}

impl ConsoleRole {
    /// Returns the name as the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

fn hidden<S: Serializer>(_: &str, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(REDACTED)
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Handover};

    const USERS: &str = "[console.users.ann]\npassword_hash = '$argon2id$hunter2'\nrole = 'admin'\n";

    fn refused(text: &str) -> String {
        Config::parse(text).expect_err(text).violations()[0].field.clone()
    }

    #[test]
    fn what_others_reach_needs_tls_users_and_names() {
        let open = "console.listen = '0.0.0.0'\n";
        assert_eq!(refused(open), "console.listen");
        assert_eq!(refused("console.behind_proxy = true\nconsole.listen = '::'"), "console.users");
        let rest = format!("{open}console.behind_proxy = true\n");
        assert_eq!(refused(&format!("{rest}{USERS}")), "console.hosts");
        let all = format!("{rest}console.hosts = ['ops.example.com']\n{USERS}");
        assert_eq!(Config::parse(&all).expect("it is complete").console.users.len(), 1);
        assert_eq!(refused("console.tls_cert = 'a.pem'"), "console.tls_key");
        assert_eq!(refused("console.behind_proxy = true"), "console.users");
    }

    #[test]
    fn a_user_has_a_name_a_hash_and_a_role() {
        assert_eq!(refused(&USERS.replace("$argon2id$", "")), "console.users.ann.password_hash");
        assert_eq!(refused(&USERS.replace("ann", "'a.b'")), "console.users");
        assert_eq!(refused(&USERS.replace("admin", "root")), "console.users.ann.role");
    }

    #[test]
    fn a_hash_is_not_shown_and_a_changed_one_is_a_difference() {
        let config = Config::parse(USERS).expect("it is valid");
        let shown = format!("{config:?} {:?}", config.console);
        assert!(!shown.contains("hunter2"), "{shown}");
        // A child has no console: it need not know who uses it.
        let line = serde_json::to_string(&Handover::from(&config)).expect("it is plain");
        assert!(!line.contains("hunter2"), "{line}");
        let other = Config::parse(&USERS.replace("hunter2", "hunter3")).expect("it is valid");
        let differences = crate::System::new("x").differences(&config, &other).expect("they are valid");
        assert_eq!(differences.len(), 1);
    }
}
