//! Free loopback ports that no client connection of this machine can take away between two starts of an engine.

use anyhow::{Context, Result};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::ops::Range;

/// Above the engines' standard ports, below the ports that Linux gives to outgoing connections (32768 and up): an engine
/// that was killed finds its port free again.
const RANGE: Range<u16> = 21_000..32_000;

/// Returns `N` different ports that are free now, from a random place of the range on: tests that start at the same
/// moment do not meet.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    let length = RANGE.end - RANGE.start;
    let random = RandomState::new().build_hasher().finish();
    let first = u16::try_from(random % u64::from(length)).context("the range is shorter than 2^16")?;
    let candidates = (0..length).map(|step| RANGE.start + (first + step) % length);
    let free: Vec<u16> = candidates.filter(|port| is_free(*port)).take(N).collect();
    <[u16; N]>::try_from(free)
        .map_err(|free| anyhow::anyhow!("only {} ports are free in {RANGE:?}", free.len()))
}

pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{RANGE, free, is_free};

    #[test]
    fn ports_are_different_free_and_in_the_range() {
        let ports: [u16; 3] = free().unwrap();
        assert!(ports.iter().all(|port| RANGE.contains(port)));
        assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2]);
        let _listener = std::net::TcpListener::bind(("127.0.0.1", ports[0])).unwrap();
        assert!(!is_free(ports[0]));
    }
}
