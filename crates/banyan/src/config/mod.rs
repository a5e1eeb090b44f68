//! A system's configuration: `banyan.toml`, then what the command line says.

use banyan_core::{Error, Result};
use banyan_event_log::Capability;
use banyan_resilience::FaultOptions;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of the process that hosts the gateway, the event log and every service not placed elsewhere.
pub const ROOT_PROCESS: &str = "main";

/// The configuration of a system. Unknown keys are refused.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for stores, event log and run files; made with mode 0700.
    pub data: PathBuf,
    /// Port of the gateway on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    pub placement: Placement,
    pub limits: Limits,
    pub supervision: Supervision,
    /// Where services keep their data, by service: a URL such as `postgres://127.0.0.1/orders`. `default` holds for those
    /// that are not named; `{service}` in it stands for the service's name. Without a URL it is a SQLite file in the
    /// data folder, which `sqlite` says too.
    pub stores: BTreeMap<String, String>,
    pub events: Events,
    /// Makes calls between services fail on purpose; off when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultOptions>,
    /// The settings of each service, by its name; every service checks its own.
    pub services: BTreeMap<String, toml::Table>,
}

/// The event log.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// Where events are kept, for example `nats://127.0.0.1:4222`; in the data folder when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The guarantees, beyond what every event log gives, without which the system must not start: for example
    /// `replay-time` (docs/semantics.md lists them).
    pub needs: Vec<String>,
}

impl Events {
    /// Returns the capabilities that the system needs.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the one that does not exist.
    pub fn needed(&self) -> Result<Vec<Capability>> {
        self.needs.iter().map(|name| crate::engines::capability(name)).collect()
    }
}

/// The word for a store in the data folder.
const SQLITE: &str = "sqlite";
/// The key of `stores` that holds for services that are not named.
const DEFAULT: &str = "default";

/// Processes that one service may run in.
const REPLICAS_MAX: u32 = 16;

/// Which services share a process.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Placement {
    /// Services that get a process of their own: a list, or `"all"`.
    pub apart: Apart,
    /// Processes by name, each with the services that share it.
    pub groups: BTreeMap<String, Vec<String>>,
    /// How many processes a service runs in: 1 to 16. The second is named `<service>-2`, and so on; on the embedded
    /// engines they share one store file on this machine.
    pub replicas: BTreeMap<String, u32>,
}

/// The services that run apart, each in a process of its own name.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Apart {
    /// `"all"`; no other word is valid.
    Word(String),
    List(Vec<String>),
}

impl Default for Apart {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// Bounds that hold for every service of the system.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How long a service may take to finish what it is doing when it stops; then it is cut off.
    pub drain_ms_max: u64,
    /// Attempts in all to deliver an event to a subscriber before it becomes a dead letter.
    pub delivery_attempts_max: u32,
    /// Events that one service handles at the same time.
    pub deliveries_in_flight_max: usize,
    /// Partitions of a topic that is made on first use.
    pub topic_partitions: u32,
    /// Events older than this are removed from the log.
    pub topic_retention_hours: u64,
    /// Size of the whole event log; the oldest events go first.
    pub log_bytes_max: u64,
}

/// When the root gives up on a child process that runs but does not answer: it kills the child and starts it anew.
///
/// The defaults notice a hung process after about 15 s to 20 s, and leave one alone that a busy machine slows down.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Supervision {
    /// How often a child is probed; 1 to 3,600,000.
    pub probe_period_ms: u64,
    /// How long a child may take to answer a probe; 1 to 3,600,000.
    pub probe_timeout_ms: u64,
    /// So many unanswered probes in a row, and the child is killed. 0: it never is.
    pub probes_missed_max: u32,
}

impl Default for Supervision {
    fn default() -> Self {
        Self { probe_period_ms: 5_000, probe_timeout_ms: 5_000, probes_missed_max: 3 }
    }
}

impl Supervision {
    /// Longest period and time limit of a probe, in milliseconds.
    const PROBE_MS_MAX: u64 = 3_600_000;

    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the key.
    pub fn check(&self) -> Result<()> {
        let probe = [("probe_period_ms", self.probe_period_ms), ("probe_timeout_ms", self.probe_timeout_ms)];
        for (key, value) in probe {
            if !(1..=Self::PROBE_MS_MAX).contains(&value) {
                let message = format!("must be between 1 and {}, is {value}", Self::PROBE_MS_MAX);
                return Err(Error::invalid(format!("supervision.{key}"), message));
            }
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            drain_ms_max: 10_000,
            delivery_attempts_max: 12,
            deliveries_in_flight_max: 256,
            topic_partitions: 8,
            topic_retention_hours: 24 * 7,
            log_bytes_max: 8 << 30,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "data".into(),
            port: 8080,
            placement: Placement::default(),
            limits: Limits::default(),
            supervision: Supervision::default(),
            stores: BTreeMap::new(),
            events: Events::default(),
            faults: None,
            services: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Reads `path`.
    ///
    /// # Errors
    /// If the file cannot be read or is not valid; the message names the file and the key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::invalid("config", format!("cannot read {}: {e}", path.display())))?;
        Self::parse(&text)
            .map_err(|e| Error::invalid("config", format!("{}: {}", path.display(), e.message())))
    }

    /// Reads the text of a `banyan.toml`.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the key and the line.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e| Error::invalid("config", e.to_string().trim_end().to_owned()))
    }

    /// Decides which processes each of `services` belongs to: one, or as many as it has replicas.
    ///
    /// # Errors
    /// If the placement names a service the system does not have, or places one twice.
    pub fn place(&self, services: &[&'static str]) -> Result<BTreeMap<String, Vec<String>>> {
        let known = |key: &str, name: &str| match services.contains(&name) {
            true => Ok(()),
            false => {
                let list = services.join(", ");
                Err(Error::invalid(key, format!("there is no service {name:?}; the system has {list}")))
            }
        };
        let mut placed: BTreeMap<String, String> = BTreeMap::new();
        for (process, members) in &self.placement.groups {
            let key = format!("placement.groups.{process}");
            if !valid_process_name(process) {
                return Err(Error::invalid(key, "a process name is 1 to 40 of a-z, 0-9 and -"));
            }
            for service in members {
                known(&key, service)?;
                if let Some(other) = placed.insert(service.clone(), process.clone()) {
                    return Err(Error::invalid(
                        key,
                        format!("{service} is already placed in process {other}"),
                    ));
                }
            }
        }
        let apart: Vec<String> = match &self.placement.apart {
            Apart::List(list) => list.clone(),
            Apart::Word(word) if word == "all" => services.iter().map(|s| (*s).to_owned()).collect(),
            Apart::Word(word) => {
                return Err(Error::invalid(
                    "placement.apart",
                    format!("expected a list or \"all\", found {word:?}"),
                ));
            }
        };
        for service in apart {
            known("placement.apart", &service)?;
            placed.entry(service.clone()).or_insert(service);
        }
        for service in services {
            placed.entry((*service).to_owned()).or_insert_with(|| ROOT_PROCESS.to_owned());
        }
        for service in self.services.keys() {
            known(&format!("services.{service}"), service)?;
        }
        for service in self.stores.keys().filter(|service| *service != DEFAULT) {
            known(&format!("stores.{service}"), service)?;
        }
        self.events.needed()?;
        let mut placed: BTreeMap<String, Vec<String>> =
            placed.into_iter().map(|(s, p)| (s, vec![p])).collect();
        for (service, replicas) in &self.placement.replicas {
            let key = format!("placement.replicas.{service}");
            known(&key, service)?;
            if !(1..=REPLICAS_MAX).contains(replicas) {
                return Err(Error::invalid(key, format!("must be 1 to {REPLICAS_MAX}")));
            }
            let more = (2..=*replicas).map(|n| format!("{service}-{n}"));
            placed.entry(service.clone()).or_default().extend(more);
        }
        Ok(placed)
    }

    /// Tells whether several processes run `service` at the same time.
    pub fn is_replicated(&self, service: &str) -> bool {
        self.placement.replicas.get(service).is_some_and(|replicas| *replicas > 1)
    }

    /// Returns the URL of a service's store; `None` for a file in the data folder.
    pub fn store_url(&self, service: &str) -> Option<String> {
        let named = self.stores.get(service).or_else(|| self.stores.get(DEFAULT));
        named.filter(|url| *url != SQLITE).map(|url| url.replace("{service}", service))
    }

    /// Reads the settings of one service.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the key.
    pub fn settings<T: serde::de::DeserializeOwned>(&self, service: &str) -> Result<T> {
        let table = self.services.get(service).cloned().unwrap_or_default();
        serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|e| {
            let key = format!("services.{service}.{}", e.path());
            Error::invalid(key.trim_end_matches('.'), e.into_inner().to_string().trim_end().to_owned())
        })
    }
}

/// Tells whether `name` may name a process: 1 to 40 of `a-z`, `0-9` and `-`.
pub fn valid_process_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: [&str; 3] = ["orders", "payments", "users"];

    fn placed(text: &str) -> Result<BTreeMap<String, Vec<String>>> {
        Config::parse(text)?.place(&SERVICES)
    }

    #[test]
    fn services_share_the_root_process_unless_placed() {
        let map = placed("[placement]\napart = ['payments']\ngroups = { back = ['orders'] }").unwrap();
        assert_eq!(
            (&*map["users"][0], &*map["payments"][0], &*map["orders"][0]),
            ("main", "payments", "back")
        );
        let all = placed("placement.apart = 'all'").unwrap();
        assert!(all.iter().all(|(service, processes)| processes == std::slice::from_ref(service)));
    }

    #[test]
    fn replicas_get_processes_of_their_own() {
        let map = placed("[placement]\nreplicas = { users = 3 }").unwrap();
        assert_eq!(map["users"], ["main", "users-2", "users-3"]);
        assert_eq!(map["orders"], ["main"]);
    }

    #[test]
    fn mistakes_name_their_key() {
        for (text, part) in [
            ("prot = 1", "prot"),
            ("placement.apart = ['paymens']", "placement.apart: there is no service \"paymens\""),
            ("placement.apart = 'some'", "placement.apart"),
            ("placement.groups = { a = ['orders'], b = ['orders'] }", "already placed in process a"),
            ("placement.groups = { 'A B' = [] }", "placement.groups.A B"),
            ("services.paymens.x = 1", "services.paymens"),
            ("placement.replicas.users = 0", "placement.replicas.users"),
            ("placement.replicas.user = 2", "placement.replicas.user"),
        ] {
            let error = placed(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_probe_has_bounds() {
        let check = |text: &str| Config::parse(text)?.supervision.check();
        check("").unwrap();
        check("supervision = { probe_period_ms = 100, probes_missed_max = 0 }").unwrap();
        for key in ["supervision.probe_period_ms", "supervision.probe_timeout_ms"] {
            for value in [0, 3_600_001] {
                assert_eq!(check(&format!("{key} = {value}")).unwrap_err().violations()[0].field, key);
            }
        }
        assert!(check("supervision.probe_period = 5").is_err());
    }

    #[test]
    fn a_service_refuses_settings_it_does_not_know() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only the errors matter here")]
        struct Settings {
            flow: String,
        }
        let config = Config::parse("services.orders.flow = 3").unwrap();
        let error = config.settings::<Settings>("orders").unwrap_err();
        assert_eq!(error.violations()[0].field, "services.orders.flow");
    }

    #[test]
    fn a_store_is_a_file_unless_it_has_a_url() {
        let text =
            "[stores]\ndefault = 'postgres://h/{service}'\npayments = 'sqlite'\nusers = 'mysql://h/people'";
        let config = Config::parse(text).unwrap();
        let url = |service| config.store_url(service);
        assert_eq!(url("orders").as_deref(), Some("postgres://h/orders"));
        assert_eq!(url("users").as_deref(), Some("mysql://h/people"));
        assert_eq!(url("payments"), None);
        assert_eq!(Config::default().store_url("orders"), None);
        let typo = placed("stores.order = 'postgres://h/orders'").unwrap_err();
        assert!(typo.violations()[0].field == "stores.order", "{typo}");
        let typo = placed("events.needs = ['replay-tim']").unwrap_err();
        assert!(typo.message().contains("replay-time"), "{typo}");
    }
}
