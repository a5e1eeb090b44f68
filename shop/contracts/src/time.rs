//! Points in time on the wire: `google.protobuf.Timestamp` from and to milliseconds since the Unix epoch.

use banyan_core::{Error, Result};
use prost_types::{Duration, Timestamp};

/// The last instant of the year 9999, the last that a timestamp can be, in milliseconds since the Unix epoch.
pub const UNIX_MS_MAX: u64 = 253_402_300_799_999;

/// Returns the timestamp of `unix_ms`, in milliseconds since the Unix epoch; the end of the year 9999 for any later.
pub fn timestamp(unix_ms: u64) -> Timestamp {
    let unix_ms = unix_ms.min(UNIX_MS_MAX);
    let seconds = i64::try_from(unix_ms / 1000).expect("bounded by UNIX_MS_MAX");
    let nanos = i32::try_from(unix_ms % 1000 * 1_000_000).expect("less than a second");
    Timestamp { seconds, nanos }
}

/// Returns milliseconds since the Unix epoch, rounded down.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] naming `field` if it lies before 1970, after 9999, or is malformed.
pub fn unix_ms(field: &str, timestamp: &Timestamp) -> Result<u64> {
    let invalid = || Error::invalid(field, "must be a time between 1970 and 9999");
    let seconds = u64::try_from(timestamp.seconds).map_err(|_| invalid())?;
    let nanos =
        u64::try_from(timestamp.nanos).ok().filter(|nanos| *nanos < 1_000_000_000).ok_or_else(invalid)?;
    let ms = seconds.checked_mul(1000).and_then(|ms| ms.checked_add(nanos / 1_000_000));
    ms.filter(|ms| *ms <= UNIX_MS_MAX).ok_or_else(invalid)
}

/// Returns a duration in milliseconds, rounded down.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] naming `field` if it is below zero or malformed.
pub fn duration_ms(field: &str, duration: &Duration) -> Result<u64> {
    std::time::Duration::try_from(*duration)
        .ok()
        .and_then(|duration| u64::try_from(duration.as_millis()).ok())
        .ok_or_else(|| Error::invalid(field, "must be a duration, not below zero"))
}

/// Returns the duration of `ms` milliseconds.
pub fn duration(ms: u64) -> Duration {
    let seconds = i64::try_from(ms / 1000).expect("2^64 milliseconds are fewer than 2^63 seconds");
    Duration { seconds, nanos: i32::try_from(ms % 1000 * 1_000_000).expect("less than a second") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_survive_the_way() {
        for ms in [0, 1, 999, 1_000, 1_291_191_960_123, UNIX_MS_MAX] {
            assert_eq!(unix_ms("at", &timestamp(ms)).unwrap(), ms);
            assert_eq!(duration_ms("ttl", &duration(ms)).unwrap(), ms);
        }
        assert_eq!(timestamp(u64::MAX), timestamp(UNIX_MS_MAX));
        assert_eq!(duration_ms("ttl", &duration(u64::MAX)).unwrap(), u64::MAX);
    }

    #[test]
    fn other_times_are_refused_by_field() {
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (253_402_300_800, 0)] {
            let error = unix_ms("from", &Timestamp { seconds, nanos }).unwrap_err();
            assert_eq!(error.violations()[0].field, "from");
        }
        assert!(duration_ms("ttl", &Duration { seconds: -1, nanos: 0 }).is_err());
    }
}
