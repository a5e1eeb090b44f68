//! Which services share a process.

use super::{Config, DEFAULT_STORE, ROOT_PROCESS, suggestion};
use banyan_core::Result;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

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
#[derive(Clone, Debug, Serialize)]
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

impl<'de> Deserialize<'de> for Apart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(ReadApart)
    }
}

struct ReadApart;

impl<'de> Visitor<'de> for ReadApart {
    type Value = Apart;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of services or \"all\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Apart, E> {
        Ok(match text.contains(',') {
            // As an environment variable has it.
            true => Apart::List(text.split(',').map(|name| name.trim().to_owned()).collect()),
            false => Apart::Word(text.to_owned()),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> std::result::Result<Apart, A::Error> {
        let mut list = Vec::new();
        while let Some(name) = names.next_element()? {
            list.push(name);
        }
        Ok(Apart::List(list))
    }
}

impl Config {
    /// Decides which processes each of `services` belongs to: one, or as many as it has replicas.
    ///
    /// # Errors
    /// If the placement names a service the system does not have, or places one twice.
    pub fn place(&self, services: &[&'static str]) -> Result<BTreeMap<String, Vec<String>>> {
        let known = |key: &str, name: &str| match services.contains(&name) {
            true => Ok(()),
            false => {
                let near = suggestion(name, services.iter().copied());
                Err(self.refuse(key, &format!("there is no service {name:?}; {near}")))
            }
        };
        let mut placed: BTreeMap<String, String> = BTreeMap::new();
        for (process, members) in &self.placement.groups {
            let key = format!("placement.groups.{process}");
            if !valid_process_name(process) {
                return Err(self.refuse(&key, "a process name is 1 to 40 of a-z, 0-9 and -"));
            }
            for service in members {
                known(&key, service)?;
                if let Some(other) = placed.insert(service.clone(), process.clone()) {
                    return Err(self.refuse(&key, &format!("{service} is already placed in process {other}")));
                }
            }
        }
        let apart: Vec<String> = match &self.placement.apart {
            Apart::List(list) => list.clone(),
            Apart::Word(word) if word == "all" => services.iter().map(|s| (*s).to_owned()).collect(),
            Apart::Word(word) => {
                let problem = format!("expected a list or \"all\", found {word:?}");
                return Err(self.refuse("placement.apart", &problem));
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
        for service in self.stores.keys().filter(|service| *service != DEFAULT_STORE) {
            known(&format!("stores.{service}"), service)?;
        }
        self.events.needed()?;
        let mut placed: BTreeMap<String, Vec<String>> =
            placed.into_iter().map(|(s, p)| (s, vec![p])).collect();
        for (service, replicas) in &self.placement.replicas {
            let key = format!("placement.replicas.{service}");
            known(&key, service)?;
            if !(1..=REPLICAS_MAX).contains(replicas) {
                return Err(self.refuse(&key, &format!("must be 1 to {REPLICAS_MAX}")));
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
}

/// Tells whether `name` may name a process: 1 to 40 of `a-z`, `0-9` and `-`.
pub fn valid_process_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
