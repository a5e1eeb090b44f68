//! Where the console listens.

use serde::{Deserialize, Serialize};

/// The console: `[console]`. It shows the system to who is at this machine.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Its port on 127.0.0.1, 0 for any free one. Without it: the one after the gateway's, or any if that is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self { enabled: true, port: None }
    }
}
