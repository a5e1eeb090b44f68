//! Real time: what a benchmark measures.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Returns the monotonic time.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the wall time in seconds since the Unix epoch, as `strace -ttt` writes it.
#[expect(clippy::disallowed_methods, reason = "it is compared with the times of another program")]
pub(crate) fn unix_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
