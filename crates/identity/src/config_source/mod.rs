//! Where the configuration of many machines is kept in one place: what a central source offers.

#[cfg(feature = "conformance")]
pub mod conformance;

use banyan_core::{BoxFuture, Env, Error, Reason, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The central source of the configuration does not answer.
pub const SOURCE_UNAVAILABLE: Reason = Reason::new("SOURCE_UNAVAILABLE");

/// Most settings that a source may have for one system.
pub const SOURCE_ENTRIES_MAX: usize = 1_000;
/// Longest value of a setting in a source, in bytes.
pub const SOURCE_VALUE_BYTES_MAX: usize = 64 << 10;

/// Opens central sources by URL.
pub trait ConfigProvider: Send + Sync + 'static {
    /// Returns the schemes of the URLs that it opens, for example `etcd`.
    fn schemes(&self) -> &'static [&'static str];

    /// Makes what reads the settings at `url`. Nothing need answer yet.
    ///
    /// # Errors
    /// If the URL is not valid; the message does not repeat its password.
    fn open(&self, url: &str, env: Env) -> Result<Arc<dyn ConfigSource>>;
}

/// The settings of one system in a central source: text by key.
///
/// A revision is a number of the source that grows with each change.
pub trait ConfigSource: Send + Sync + 'static {
    /// Returns where it is, as a URL without credentials.
    fn place(&self) -> &str;

    /// Reads all settings at one moment.
    ///
    /// # Errors
    /// `SOURCE_UNAVAILABLE` if it does not answer; `InvalidArgument` for a value that is no text or breaks a bound.
    fn read(&self) -> BoxFuture<'_, Result<Snapshot>>;

    /// Waits until there may be something newer than the snapshot of revision `after`. It may return for nothing; it never
    /// stays where something is newer, also if the source has forgotten (compacted) what happened meanwhile. Safe to
    /// drop.
    ///
    /// # Errors
    /// `SOURCE_UNAVAILABLE` if the connection breaks. The caller reads again then: it may have missed a change.
    fn changed(&self, after: u64) -> BoxFuture<'_, Result<()>>;

    /// Writes a setting, and returns its revision.
    ///
    /// # Errors
    /// As [`ConfigSource::read`]; after `SOURCE_UNAVAILABLE` it may be written or not.
    fn put<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<u64>>;

    /// Removes a setting; tells whether there was one.
    ///
    /// # Errors
    /// As [`ConfigSource::put`].
    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool>>;
}

/// All settings in a source at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub entries: BTreeMap<String, SourceEntry>,
    pub revision: u64,
}

/// A setting in a source. It may be a secret that somebody wrote there in plain text, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceEntry {
    pub value: String,
    /// The revision at which it was written.
    pub revision: u64,
}

impl std::fmt::Debug for SourceEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceEntry").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// Checks that a setting may be written: its key is parts of letters, digits, `-` and `_`, separated by dots, and its value
/// is within [`SOURCE_VALUE_BYTES_MAX`].
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`], naming the key.
pub fn check_entry(key: &str, value: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if key.len() > 256 || key.split('.').any(|part| part.is_empty() || !part.chars().all(plain)) {
        let problem = "this is no key: parts of letters, digits, - and _ with dots between them";
        return Err(Error::invalid(key, problem));
    }
    if value.len() > SOURCE_VALUE_BYTES_MAX {
        return Err(Error::invalid(key, format!("has more than {SOURCE_VALUE_BYTES_MAX} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_parts_and_dots() {
        for good in ["port", "limits.drain_ms_max", "services.axum-router.a1"] {
            check_entry(good, "").unwrap();
        }
        for bad in ["", ".", "a.", "a..b", "a/b", "a b", "ä"] {
            assert!(check_entry(bad, "").is_err(), "{bad}");
        }
        assert!(check_entry("a", &"x".repeat(SOURCE_VALUE_BYTES_MAX + 1)).is_err());
    }
}
