//! Where the values of a configuration come from.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Where a value of the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the settings that are built into the program.
    BuiltIn { line: usize },
    /// A line of a file, counted from 1.
    File { path: String, line: usize },
    /// A line of the text of a profile that is built into the program.
    Profile { name: String, line: usize },
    /// An environment variable.
    Environment { name: String },
    /// An argument of the command line, for example `--port`.
    Flag { name: String },
    /// A key of the central source at `place`, a URL without credentials; its revision is 0 as long as it is not written there.
    Source { place: String, key: String, revision: u64 },
}

impl Origin {
    /// Tells whether the value was written as plain text: whether `5` is a number is then decided by the setting.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Environment { .. } | Self::Flag { .. } | Self::Source { .. })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::BuiltIn { line } => write!(f, "built in:{line}"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Profile { name, line } => write!(f, "profile {name}:{line}"),
            Self::Environment { name } => f.write_str(name),
            Self::Flag { name } => f.write_str(name),
            Self::Source { place, key, revision: 0 } => write!(f, "{place} {key}, not written"),
            Self::Source { place, key, revision } => write!(f, "{place} {key}, revision {revision}"),
        }
    }
}

/// The origins of everything that was set, by key; of a key below one that is listed, that one's.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Origins(pub(crate) BTreeMap<String, Origin>);

impl Origins {
    /// Returns where the value at `key`, or else the table that it would be in, was set.
    pub(crate) fn of(&self, key: &str) -> Option<&Origin> {
        let mut key = key;
        loop {
            if let Some(origin) = self.0.get(key) {
                return Some(origin);
            }
            key = key.rsplit_once('.')?.0;
        }
    }
}
