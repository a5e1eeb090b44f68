//! Time and randomness, injected so that whole systems run in seeded simulation.

use crate::Signals;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// What a process takes from the world: a clock and a source of randomness. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Env {
    pub clock: Clock,
    pub rng: Rng,
    /// Where spans go; nowhere by default.
    pub signals: Signals,
}

impl Env {
    /// Makes the environment of a simulated run: wall time starts at `unix_ms` and follows tokio's (paused) time,
    /// and all randomness follows from `seed`.
    pub fn simulated(seed: u64, unix_ms: u64) -> Self {
        Self { clock: Clock::simulated(unix_ms), rng: Rng::seeded(seed), signals: Signals::default() }
    }

    /// Returns the same environment for the work of `service`: its spans have its name.
    #[must_use]
    pub fn for_service(&self, service: &str) -> Self {
        Self { signals: self.signals.for_service(service), ..self.clone() }
    }

    /// Makes a new identifier: a UUID version 7 (RFC 9562), so that ids sort by creation time.
    pub fn new_id(&self) -> String {
        let mut random = [0u8; 10];
        self.rng.fill(&mut random);
        uuid::Builder::from_unix_timestamp_millis(self.clock.unix_ms(), &random).into_uuid().to_string()
    }
}

/// Tells the time: monotonic for deadlines, wall time for records.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Simulated {
        origin: Instant,
        unix_ms: u64,
    },
}

impl Clock {
    /// Makes a clock whose wall time is `unix_ms` now and advances with tokio's time.
    pub fn simulated(unix_ms: u64) -> Self {
        Self(Source::Simulated { origin: Instant::now(), unix_ms })
    }

    /// Returns the monotonic time; tokio's, so that paused time works.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Returns the wall time in milliseconds since the Unix epoch.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's wall clock")]
    pub fn unix_ms(&self) -> u64 {
        let since = match &self.0 {
            Source::System => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO),
            Source::Simulated { origin, unix_ms } => Duration::from_millis(*unix_ms) + origin.elapsed(),
        };
        since.as_millis() as u64
    }
}

/// Writes a time in milliseconds since the Unix epoch as RFC 3339 in UTC, to the millisecond; the year has four digits until
/// 9999.
pub fn rfc3339(unix_ms: u64) -> String {
    let (days, ms) = ((unix_ms / 86_400_000) as i64, unix_ms % 86_400_000);
    // Civil from days, after Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1_000)
}

/// Makes random numbers for ids, jitter and sampling. Never for secrets: those come from the operating system.
#[derive(Clone, Debug, Default)]
pub struct Rng(Option<Arc<Mutex<fastrand::Rng>>>);

impl Rng {
    /// Makes a source whose every number follows from `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)))))
    }

    /// Returns a uniformly distributed number.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads unseeded randomness")]
    pub fn u64(&self) -> u64 {
        match &self.0 {
            Some(seeded) => seeded.lock().u64(..),
            None => fastrand::u64(..),
        }
    }

    /// Returns a number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.u64() % bound }
    }

    /// Returns a number in `[0, 1)`.
    pub fn unit(&self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Fills `bytes` with random values.
    pub fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.u64().to_le_bytes()[..chunk.len()]);
        }
    }

    /// Returns `duration` with jitter: uniform in `[0, duration]`.
    pub fn jitter(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let make = || Env { rng: Rng::seeded(7), ..Env::default() };
        let (a, b) = (make(), make());
        assert_eq!(a.rng.u64(), b.rng.u64());
        assert_eq!(a.new_id()[15..], b.new_id()[15..]);
    }

    #[test]
    fn ids_sort_by_time_and_differ() {
        let env = Env::default();
        let ids: Vec<_> = (0..100).map(|_| env.new_id()).collect();
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 100);
    }
}
