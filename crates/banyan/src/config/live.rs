//! When a changed value takes hold: at once, or when the system starts the next time.

use super::{Config, Entry, join};
use banyan_core::{Error, Result};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use toml::{Table, Value};

/// When a changed value takes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// In the running system, when it reads its configuration again.
    Live,
    /// When the system starts the next time.
    Restart,
}

/// Every key, or the table that it is in, with when a change of it takes hold; the longest that fits decides. A setting of
/// a service takes hold live if its definition says so ([`crate::ServiceDef::live`]).
pub(super) const TAKES: &[(&str, Takes)] = &[
    ("cache", Takes::Restart),
    ("calls", Takes::Live),
    ("console", Takes::Restart),
    ("data", Takes::Restart),
    ("events", Takes::Restart),
    ("faults", Takes::Live),
    ("gateway", Takes::Live),
    ("invariants", Takes::Restart),
    ("limits.deliveries_in_flight_max", Takes::Live),
    ("limits.delivery_attempts_max", Takes::Live),
    ("limits.drain_ms_max", Takes::Live),
    ("limits.log_bytes_max", Takes::Restart),
    ("limits.topic_partitions", Takes::Restart),
    ("limits.topic_retention_hours", Takes::Restart),
    ("log", Takes::Live),
    ("placement", Takes::Restart),
    ("port", Takes::Restart),
    ("services", Takes::Restart),
    ("slo", Takes::Restart),
    ("source", Takes::Restart),
    ("stores", Takes::Restart),
    ("supervision", Takes::Live),
    ("telemetry", Takes::Restart),
];

/// Returns when a change of `key` takes hold; `live` says which settings of a service do so live, by its name.
pub(crate) fn takes(key: &str, live: impl Fn(&str) -> &'static [&'static str]) -> Takes {
    if let Some((service, setting)) = key.strip_prefix("services.").and_then(|rest| rest.split_once('.'))
        && live(service).iter().any(|live| is_within(setting, live))
    {
        return Takes::Live;
    }
    let fitting = TAKES.iter().filter(|(of, _)| is_within(key, of));
    fitting.max_by_key(|(of, _)| of.len()).map_or(Takes::Restart, |(_, takes)| *takes)
}

/// Tells whether `key` is `of` or below it.
fn is_within(key: &str, of: &str) -> bool {
    key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Config {
    /// Makes the configuration that holds when of a new one these keys are taken, and all else stays as it is here.
    ///
    /// # Errors
    /// If a number is too large for TOML.
    pub fn taking(&self, new: &Self, keys: &BTreeSet<String>) -> Result<Self> {
        let shown = |config: &Self| Table::try_from(config).map_err(Error::internal);
        let mut table = shown(self)?;
        take("", &mut table, &shown(new)?, keys);
        let mut next: Self = table.try_into().map_err(Error::internal)?;
        // What is shown lacks its secrets.
        next.stores.clone_from(&self.stores);
        next.events.url.clone_from(&self.events.url);
        next.cache.url.clone_from(&self.cache.url);
        next.source.url.clone_from(&self.source.url);
        next.services.clone_from(&self.services);
        next.console.clone_from(&self.console);
        for key in keys {
            if let Some((service, _)) = key.strip_prefix("services.").and_then(|rest| rest.split_once('.')) {
                let settings = next.services.entry(service.to_owned()).or_default();
                let written = new.services.get(service).cloned().unwrap_or_default();
                take(&format!("services.{service}"), settings, &written, keys);
            }
        }
        let (here, there) = (&self.sources, &new.sources);
        next.sources = here.clone();
        next.sources.secrets.extend(there.secrets.clone());
        next.sources.origins.0.retain(|key, _| !keys.contains(key));
        let taken = there.origins.0.iter().filter(|(key, _)| keys.contains(*key));
        next.sources.origins.0.extend(taken.map(|(key, origin)| (key.clone(), origin.clone())));
        Ok(next)
    }
}

/// Takes the values of `keys` over from another table, also that they are not there.
fn take(at: &str, table: &mut Table, from: &Table, keys: &BTreeSet<String>) {
    let names: BTreeSet<String> = table.keys().chain(from.keys()).cloned().collect();
    for name in names {
        let key = join(at, &name);
        let is_table = |value: Option<&Value>| value.is_some_and(Value::is_table);
        if is_table(table.get(&name)) || is_table(from.get(&name)) {
            let other = from.get(&name).and_then(Value::as_table).cloned().unwrap_or_default();
            let had = table.contains_key(&name);
            let inner = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                take(&key, inner, &other, keys);
                if inner.is_empty() && (!had || !from.contains_key(&name)) {
                    table.remove(&name);
                }
                continue;
            }
        }
        if keys.contains(&key) {
            match from.get(&name) {
                Some(value) => drop(table.insert(name, value.clone())),
                None => drop(table.remove(&name)),
            }
        }
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Live => "live",
            Self::Restart => "restart",
        })
    }
}

/// Returns the keys among `entries` that take hold live.
pub(crate) fn live_keys<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> BTreeSet<String> {
    let live = entries.into_iter().filter(|entry| entry.takes == Takes::Live);
    live.map(|entry| entry.key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ServiceDef, System};

    fn system() -> System {
        let service = |name| ServiceDef::new(name, [], |_| async { Ok(()) });
        let cart = service("cart").settings::<Table>().live(&["repeat_seconds", "inner"]);
        System::new("test").service(cart).service(service("orders"))
    }

    /// A new key must say when it takes hold, and one that is gone must not be listed.
    #[test]
    fn every_key_is_declared() {
        let text = "faults.seed = 1\nstores.a = 'x'\nevents.url = 'x'\ncache.url = 'x'\nsource.url = 'x'\n\
                    services.a.b = 1\nplacement.replicas.a = 1\n[slo.a]\nhttp = '*'\nobjective = 0.9";
        let config = Config::parse(text).unwrap();
        let keys: Vec<_> = config.entries(|_| BTreeSet::new(), |_| &[]).unwrap();
        for entry in &keys {
            assert!(TAKES.iter().any(|(of, _)| is_within(&entry.key, of)), "{} is not declared", entry.key);
        }
        for (of, _) in TAKES {
            assert!(keys.iter().any(|entry| is_within(&entry.key, of)), "{of} is no key");
        }
    }

    #[test]
    fn a_service_says_which_of_its_settings_take_hold_live() {
        let system = system();
        for (key, expected) in [
            ("services.cart.repeat_seconds", Takes::Live),
            ("services.cart.inner.x", Takes::Live),
            ("services.cart.repeat_seconds_max", Takes::Restart),
            ("services.orders.repeat_seconds", Takes::Restart),
            ("limits.drain_ms_max", Takes::Live),
            ("limits.log_bytes_max", Takes::Restart),
            ("supervision.probe_period_ms", Takes::Live),
        ] {
            assert_eq!(system.takes(key), expected, "{key}");
        }
    }

    #[test]
    fn what_is_taken_is_the_new_value_and_all_else_stays() {
        let running = "port = 1\nfaults.seed = 1\nstores.cart = 'p://u:hunter2@h'\n[services.cart]\n\
                       repeat_seconds = 1\nfixed = 1\ninner = { x = 1, y = 1 }";
        let new = "port = 2\ncalls.timeout_ms = 2\nlog.filter = 'info'\nstores.cart = 'p://u:hunter3@h'\n\
                   [services.cart]\nfixed = 2\ninner = { x = 2, z = 2 }\n[services.orders]\na = 2";
        let (running, new) = (Config::parse(running).unwrap(), Config::parse(new).unwrap());
        let system = system();
        let next = system.taking_live(&running, &new).unwrap();
        assert_eq!((next.port, next.calls.timeout_ms, next.log.filter.as_str()), (1, 2, "info"));
        assert!(next.faults.is_none());
        assert_eq!(next.stores["cart"], "p://u:hunter2@h");
        let cart: Table = "fixed = 1\ninner = { x = 2, z = 2 }".parse().unwrap();
        assert_eq!(next.services["cart"], cart);
        assert!(!next.services.contains_key("orders"));
        assert_eq!(next.sources.origin("log.filter").to_string(), "configuration:3");
        assert_eq!(next.sources.origin("services.cart.fixed").to_string(), "configuration:6");
        let back = system.taking_live(&next, &running).unwrap();
        assert!(system.differences(&back, &running).unwrap().is_empty());
    }
}
