//! Where cached bytes are kept.

use banyan_core::{BoxFuture, Error, Result};
use bytes::Bytes;
use std::time::Duration;

/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest value in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// The times to live that a store takes.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(30 * 86_400);

/// Keeps values by key for a time, and lends each key to one filler at a time.
///
/// A *lease* is a token beside a key. Whoever holds it may [`CacheStore::fill`] the key; [`CacheStore::set`] and
/// [`CacheStore::remove`] void it. So of all that load a value at the same time one stores it, and nobody stores what
/// was loaded before a removal. A store may forget values and leases at any time.
///
/// Every call answers or fails in bounded time and is safe to drop at any await. Errors beside the named ones are
/// [`banyan_core::Code::Unavailable`] (the call may have had its effect) or [`banyan_core::Code::ResourceExhausted`];
/// keys, values and times to live out of bounds are [`banyan_core::Code::InvalidArgument`].
pub trait CacheStore: Send + Sync + 'static {
    /// Returns the value of `key`.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>>>;

    /// Keeps `value` for `ttl`, whatever was there, and voids the lease of `key`.
    fn set<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> BoxFuture<'a, Result<()>>;

    /// Removes the value of `key` and voids its lease.
    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Takes the lease of `key` for `ttl` under `token`, if nobody has it; tells whether it was taken.
    fn lease<'a>(&'a self, key: &'a str, token: &'a str, ttl: Duration) -> BoxFuture<'a, Result<bool>>;

    /// Keeps `value` for `ttl` and ends the lease, if it is still the one of `token`; tells whether it was.
    fn fill<'a>(
        &'a self,
        key: &'a str,
        token: &'a str,
        value: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Ends the lease of `key` if it is still the one of `token`.
    fn release<'a>(&'a self, key: &'a str, token: &'a str) -> BoxFuture<'a, Result<()>>;
}

/// Checks a key, for providers.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] if it is empty or longer than [`KEY_BYTES_MAX`].
pub fn check_key(key: &str) -> Result<()> {
    match key.len() {
        0 => Err(Error::invalid("key", "must not be empty")),
        1..=KEY_BYTES_MAX => Ok(()),
        _ => Err(Error::invalid("key", format!("must have at most {KEY_BYTES_MAX} bytes"))),
    }
}

/// Checks a value, for providers.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] if it is longer than [`VALUE_BYTES_MAX`].
pub fn check_value(value: &[u8]) -> Result<()> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Error::invalid("value", format!("must have at most {VALUE_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Checks a time to live, for providers.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] if it is not 1 millisecond to 30 days.
pub fn check_ttl(ttl: Duration) -> Result<()> {
    if TTL.contains(&ttl) { Ok(()) } else { Err(Error::invalid("ttl", "must be 1 ms to 30 days")) }
}
