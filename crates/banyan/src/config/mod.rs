//! A system's configuration: in layers, typed, every value with its origin, without its secrets.

mod cache;
mod calls;
mod console;
mod gateway;
mod handover;
mod invariants;
mod layers;
mod limits;
mod live;
mod log;
mod mistake;
mod origin;
mod placement;
mod redact;
mod reference;
mod source;
mod sources;
mod telemetry;
mod tree;
mod typed;

pub use banyan_core::suggestion;
pub use cache::Caches;
pub use calls::Calls;
pub use console::{ConsoleRole, ConsoleSettings, ConsoleUser};
pub use gateway::{GatewaySettings, Per, RateLimit, StoreAway};
pub use handover::Handover;
pub use invariants::InvariantSettings;
pub use layers::Layers;
pub use limits::{Limits, Supervision};
pub use live::Takes;
pub use log::Logging;
pub use mistake::CONFIG_INVALID;
pub use origin::Origin;
pub use placement::{Apart, Placement, valid_process_name};
pub use redact::{Difference, Entry};
pub use reference::SECRET_SOURCE_UNKNOWN;
pub use source::Central;
pub use sources::Sources;

pub(crate) use live::{live_keys, takes};
pub(crate) use mistake::refusal;
pub(crate) use redact::{differences, url as shown_url};
pub(crate) use tree::Node;
pub(crate) use typed::secret_keys;

use banyan_core::{Error, Result};
use banyan_event_log::Capability;
use banyan_identity::{SECRET_MISSING, Secret};
use banyan_resilience::FaultOptions;
use banyan_telemetry::TelemetryOptions;
use banyan_telemetry::slo::{self, Slo};
use mistake::invalid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use tree::{Kind, join};

/// The name of the process that hosts the gateway, the event log and every service not placed elsewhere.
pub const ROOT_PROCESS: &str = "main";

/// The word for a store in the data folder.
pub(crate) const SQLITE: &str = "sqlite";
/// The key of `stores` that holds for services that are not named.
pub(crate) const DEFAULT_STORE: &str = "default";

/// The configuration of a system. Unknown keys are refused.
///
/// It is printed and serialised without passwords; [`Handover`] takes it to another process with them.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for stores, event log and run files; made with mode 0700.
    pub data: PathBuf,
    /// Port of the gateway on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    pub placement: Placement,
    pub limits: Limits,
    pub calls: Calls,
    pub supervision: Supervision,
    pub log: Logging,
    /// Where services keep their data, by service: a URL such as `postgres://127.0.0.1/orders`. `default` holds for those
    /// that are not named; `{service}` in it stands for the service's name. Without a URL it is a SQLite file in the
    /// data folder, which `sqlite` says too. References to secrets stand in it as they are written: see
    /// [`Config::store_url`].
    #[serde(serialize_with = "redact::urls")]
    pub stores: BTreeMap<String, String>,
    pub events: Events,
    pub cache: Caches,
    pub gateway: GatewaySettings,
    /// Where else the configuration is read from.
    pub source: Central,
    pub console: ConsoleSettings,
    pub invariants: InvariantSettings,
    /// What is recorded of the work, and how long it is kept.
    pub telemetry: TelemetryOptions,
    /// What the system promises, by a name: see [`Slo`]. Without a section, the requests at the edge: 99 % do not fail, and
    /// 99 % take at most a second.
    pub slo: BTreeMap<String, Slo>,
    /// Makes calls between services fail on purpose; off when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultOptions>,
    /// The settings of each service, by its name; every service checks its own (see [`Config::settings`]).
    #[serde(serialize_with = "redact::tables")]
    pub services: BTreeMap<String, toml::Table>,
    /// Where the values come from, and the secrets that they refer to.
    #[serde(skip)]
    pub sources: Sources,
}

/// The event log.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// Where events are kept, for example `nats://127.0.0.1:4222`; in the data folder when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "redact::optional_url")]
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

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_deref().map(redact::url);
        f.debug_struct("Events").field("url", &url).field("needs", &self.needs).finish()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match toml::Table::try_from(self) {
            Ok(table) => f.debug_tuple("Config").field(&table).finish(),
            Err(_) => f.debug_tuple("Config").finish_non_exhaustive(),
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
            calls: Calls::default(),
            supervision: Supervision::default(),
            log: Logging::default(),
            stores: BTreeMap::new(),
            events: Events::default(),
            cache: Caches::default(),
            gateway: GatewaySettings::default(),
            source: Central::default(),
            console: ConsoleSettings::default(),
            invariants: InvariantSettings::default(),
            telemetry: TelemetryOptions::default(),
            slo: BTreeMap::new(),
            faults: None,
            services: BTreeMap::new(),
            sources: Sources::default(),
        }
    }
}

impl Config {
    /// Reads `path` alone; [`Layers`] reads what else a configuration is made of.
    ///
    /// # Errors
    /// `CONFIG_INVALID` if the file cannot be read or is not valid; the message names the key, the file and the line.
    pub fn read(path: &Path) -> Result<Self> {
        let mut layers = Layers::new();
        layers.file(path)?;
        layers.load()
    }

    /// Reads the text of a `banyan.toml`.
    ///
    /// # Errors
    /// `CONFIG_INVALID`, naming the key and the line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut layers = Layers::new();
        layers.text("configuration", text)?;
        layers.load()
    }

    /// Types a tree of values.
    fn of_tree(mut tree: Node) -> Result<Self> {
        let origins = tree.origins();
        reference::check_places(&tree)?;
        let services = match &mut tree.kind {
            Kind::Table(entries) => entries.remove("services"),
            _ => None,
        };
        let mut config: Self = typed::typed(&tree).map_err(|mistake| mistake.into_error(""))?;
        config.services = services.map(|node| service_tables(&node)).transpose()?.unwrap_or_default();
        config.sources.origins = origins;
        config.check()?;
        Ok(config)
    }

    /// Checks what the types alone do not.
    fn check(&self) -> Result<()> {
        let located = |error: Error, section: &str| match error.violations().first() {
            Some(wrong) => self.refuse(&format!("{section}{}", wrong.field), &wrong.description),
            None => error,
        };
        self.supervision.check().map_err(|error| located(error, ""))?;
        self.limits.check().map_err(|error| located(error, ""))?;
        self.calls.check().map_err(|error| located(error, ""))?;
        self.log.targets().map_err(|error| located(error, ""))?;
        self.gateway.check().map_err(|error| located(error, ""))?;
        self.telemetry.check().map_err(|error| located(error, ""))?;
        self.console.check().map_err(|error| located(error, ""))?;
        self.invariants.check().map_err(|error| located(error, ""))?;
        slo::check(&self.slo).map_err(|error| located(error, ""))?;
        if let Some(faults) = &self.faults {
            faults.validate().map_err(|error| located(error, "faults."))?;
        }
        self.events.needed().map_err(|error| located(error, "")).map(drop)
    }

    /// Refuses the value at `key`, saying where it was set.
    fn refuse(&self, key: &str, problem: &str) -> Error {
        invalid(key, problem, self.sources.origins.of(key))
    }

    /// Returns the URL of a service's store, with its secrets; `None` for a file in the data folder.
    ///
    /// # Errors
    /// `SECRET_MISSING` if it refers to a secret that was not read (see [`crate::System::resolve`]).
    pub fn store_url(&self, service: &str) -> Result<Option<Secret<String>>> {
        let key = if self.stores.contains_key(service) { service } else { DEFAULT_STORE };
        let Some(url) = self.stores.get(key).filter(|url| *url != SQLITE) else { return Ok(None) };
        let url = url.replace("{service}", service);
        self.sources.fill_url(&format!("stores.{key}"), &url).map(Some)
    }

    /// Returns the URL of the event log, with its secrets; `None` for the data folder.
    ///
    /// # Errors
    /// As [`Config::store_url`].
    pub fn events_url(&self) -> Result<Option<Secret<String>>> {
        self.events.url.as_deref().map(|url| self.sources.fill_url("events.url", url)).transpose()
    }

    /// Returns where the store of `service` is, without what nobody is to see; `None` for a file in the data folder.
    pub fn store_place(&self, service: &str) -> Option<String> {
        self.store_url(service).ok().flatten().map(|url| redact::place(url.expose()))
    }

    /// Returns where the event log is, without what nobody is to see; `None` for the data folder.
    pub fn events_place(&self) -> Option<String> {
        self.events_url().ok().flatten().map(|url| redact::place(url.expose()))
    }

    /// Returns where caches are, without what nobody is to see; `None` for the memory of each process.
    pub fn cache_place(&self) -> Option<String> {
        self.cache_url().ok().flatten().map(|url| redact::place(url.expose()))
    }

    /// Reads the settings of one service.
    ///
    /// # Errors
    /// `CONFIG_INVALID`, naming the key and where it was set; `SECRET_MISSING` if one refers to a secret that was not read.
    pub fn settings<T: serde::de::DeserializeOwned>(&self, service: &str) -> Result<T> {
        let key = format!("services.{service}");
        let mut node = self.settings_node(service);
        self.sources.fill(&key, &mut node)?;
        typed::typed(&node).map_err(|mistake| mistake.into_error(&key))
    }

    /// Checks the settings of one service, their bounds by `check`. Where a secret was not read, the value that refers to it
    /// and the bounds go unchecked.
    pub(crate) fn check_settings<T: serde::de::DeserializeOwned>(
        &self,
        service: &str,
        check: impl Fn(&T) -> Result<()>,
    ) -> Result<()> {
        match self.settings::<T>(service) {
            Err(error) if error.is(SECRET_MISSING) => {}
            Err(error) => return Err(error),
            Ok(settings) => return check(&settings).map_err(|error| self.of_service(service, error)),
        }
        let node = self.settings_node(service);
        let Err(mistake) = typed::typed::<T>(&node) else { return Ok(()) };
        let mut refers = false;
        node.leaves("", &mut |key, leaf| {
            refers |= key == mistake.key && leaf.to_toml().to_string().contains("${")
        });
        if refers { Ok(()) } else { Err(mistake.into_error(&format!("services.{service}"))) }
    }

    /// Names the key of a bound that a service's settings break, and where it was set.
    fn of_service(&self, service: &str, error: Error) -> Error {
        let Some(wrong) = error.violations().first() else { return error };
        let (prefix, field) = (format!("services.{service}"), wrong.field.as_str());
        match field == prefix || field.starts_with(&format!("{prefix}.")) {
            true => self.refuse(field, &wrong.description),
            false => self.refuse(&join(&prefix, field), &wrong.description),
        }
    }

    /// Returns the settings of a service as they are written.
    pub(crate) fn settings_node(&self, service: &str) -> Node {
        let table = self.services.get(service).cloned().unwrap_or_default();
        let key = format!("services.{service}");
        Node::of(toml::Value::Table(table), &key, &self.sources.origins, &Origin::Default)
    }
}

/// Takes the section `services` apart.
fn service_tables(services: &Node) -> Result<BTreeMap<String, toml::Table>> {
    let wrong = |key: String, node: &Node| invalid(key, "must be a table", Some(&node.origin));
    let Kind::Table(entries) = &services.kind else { return Err(wrong("services".to_owned(), services)) };
    let table = |(name, node): (&String, &Node)| match node.to_toml() {
        toml::Value::Table(table) => Ok((name.clone(), table)),
        _ => Err(wrong(format!("services.{name}"), node)),
    };
    entries.iter().map(table).collect()
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
        let url = |service| config.store_url(service).unwrap().map(|url| url.expose().clone());
        assert_eq!(url("orders").as_deref(), Some("postgres://h/orders"));
        assert_eq!(url("users").as_deref(), Some("mysql://h/people"));
        assert_eq!(url("payments"), None);
        assert!(Config::default().store_url("orders").unwrap().is_none());
        let typo = placed("stores.order = 'postgres://h/orders'").unwrap_err();
        assert!(typo.violations()[0].field == "stores.order", "{typo}");
        let typo = placed("events.needs = ['replay-tim']").unwrap_err();
        assert!(typo.message().contains("replay-time"), "{typo}");
    }
}
