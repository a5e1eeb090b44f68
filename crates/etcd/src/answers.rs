//! What etcd's JSON gateway answers: 64-bit numbers are texts there, and keys and values base64.

use banyan_core::{Code, Error, Result};
use banyan_identity::{SOURCE_UNAVAILABLE, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// How much of what the server says becomes part of an error, in characters.
const SAID_MAX: usize = 200;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Header {
    #[serde(deserialize_with = "number")]
    pub(crate) revision: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Range {
    pub(crate) header: Header,
    pub(crate) kvs: Vec<Pair>,
    pub(crate) more: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) value: String,
    #[serde(deserialize_with = "number")]
    pub(crate) mod_revision: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Put {
    pub(crate) header: Header,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Deleted {
    #[serde(deserialize_with = "number")]
    pub(crate) deleted: u64,
}

#[derive(Deserialize)]
pub(crate) struct Token {
    pub(crate) token: Secret<String>,
}

/// A line of a watch.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Watched {
    pub(crate) result: WatchResult,
    pub(crate) error: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct WatchResult {
    pub(crate) events: Vec<serde::de::IgnoredAny>,
    /// The server ends the watch, for example because it has forgotten (compacted) what it should tell.
    pub(crate) canceled: bool,
    #[serde(deserialize_with = "number")]
    pub(crate) compact_revision: u64,
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

pub(crate) fn encode(text: &str) -> String {
    STANDARD.encode(text)
}

/// Reads a text; `what` says which one.
pub(crate) fn decode(what: &str, text: &str) -> Result<String> {
    let bytes = STANDARD.decode(text).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Error::invalid(what, "etcd has no UTF-8 there"))
}

/// Makes the error of a source that does not do its part.
pub(crate) fn away(message: String) -> Error {
    Error::new(Code::Unavailable, SOURCE_UNAVAILABLE, message)
}

/// Returns what the server says about an error.
pub(crate) fn said(body: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        error: String,
        message: String,
    }
    let said = serde_json::from_slice::<Said>(body).unwrap_or_default();
    let said = if said.message.is_empty() { said.error } else { said.message };
    match said.is_empty() {
        true => String::new(),
        false => format!(": {}", said.chars().take(SAID_MAX).collect::<String>()),
    }
}
