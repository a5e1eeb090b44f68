//! What the examination of an engine finds, and what to do about it.

use crate::{Code, Error};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// Difference of two clocks that is worth a warning once it is certain, in milliseconds: timers and retention are off by
/// as much.
const SKEW_MS_WARN: i64 = 500;
/// Difference of two clocks from which on tokens are refused, in milliseconds.
const SKEW_MS_FAIL: i64 = 30_000;

/// How a check ended, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Ok,
    /// It cannot be told.
    Unknown,
    /// It works, but somebody should look at it.
    Warn,
    /// The system does not work so.
    Fail,
}

impl Verdict {
    /// Returns the word for it, for example `warn`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// What the configuration says, before anything is reached.
    Configuration,
    Reachable,
    Version,
    /// What the user may do that the provider needs.
    Permissions,
    /// The guarantees that the configuration asks for.
    Guarantees,
    Migrations,
    Clock,
    /// Bounds of the engine that the system may run into.
    Limits,
    /// Whether what is acknowledged survives a crash.
    Durability,
    /// Where data are kept, and the room there.
    Storage,
}

impl Check {
    /// Returns the word for it, for example `clock`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Reachable => "reachable",
            Self::Version => "version",
            Self::Permissions => "permissions",
            Self::Guarantees => "guarantees",
            Self::Migrations => "migrations",
            Self::Clock => "clock",
            Self::Limits => "limits",
            Self::Durability => "durability",
            Self::Storage => "storage",
        }
    }
}

/// One thing that was found. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: Check,
    /// What it is about within the engine, for example `server`, `max_connections` or `make tables`.
    pub subject: String,
    pub verdict: Verdict,
    pub found: String,
    /// What to do, with the command to type if there is one; `None` if nothing has to be done.
    pub next_step: Option<String>,
}

impl Finding {
    /// Returns the first of `findings` of `check` about `subject`, for tests.
    ///
    /// # Panics
    /// If there is none, with all that there are.
    #[track_caller]
    pub fn of<'f>(findings: &'f [Self], check: Check, subject: &str) -> &'f Self {
        let found = findings.iter().find(|finding| finding.check == check && finding.subject == subject);
        found.unwrap_or_else(|| panic!("{check:?} {subject} is not in {findings:#?}"))
    }

    /// Says that all is well.
    pub fn ok(check: Check, subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check, subject: subject.into(), verdict: Verdict::Ok, found: found.into(), next_step: None }
    }

    /// Says that it cannot be told, and why.
    pub fn unknown(check: Check, subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::ok(check, subject, found) }
    }

    /// Says what somebody should look at, and what to do.
    pub fn warn(
        check: Check,
        subject: impl Into<String>,
        found: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        let next_step = Some(next_step.into());
        Self { verdict: Verdict::Warn, next_step, ..Self::ok(check, subject, found) }
    }

    /// Says what does not work, and what to do.
    pub fn fail(
        check: Check,
        subject: impl Into<String>,
        found: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(check, subject, found, next_step) }
    }

    /// Says what `error` says, with the last of its causes. For errors whose causes hold no secret either.
    pub fn of_error(
        check: Check,
        subject: impl Into<String>,
        error: &Error,
        next_step: impl Into<String>,
    ) -> Self {
        let (mut cause, mut last) = (std::error::Error::source(error), None);
        while let Some(source) = cause {
            (cause, last) = (source.source(), Some(source.to_string()));
        }
        let message = error.message();
        let found = match last.filter(|cause| !message.contains(cause.as_str())) {
            // That a fault is one of ours, as an error without a meaning of its own says, helps nobody here.
            Some(cause) if error.code() == Code::Internal => cause,
            Some(cause) => format!("{message}: {cause}"),
            None => message.to_owned(),
        };
        Self::fail(check, subject, found, next_step)
    }

    /// Says how long the engine's answer to the smallest question took.
    pub fn reached(subject: impl Into<String>, took: Duration) -> Self {
        Self::ok(Check::Reachable, subject, format!("answers in {}", Millis(took)))
    }

    /// Says that the engine did not answer within `limit`.
    pub fn silent(subject: impl Into<String>, limit: Duration, next_step: impl Into<String>) -> Self {
        let found = format!("did not answer within {} ms", limit.as_millis());
        Self::fail(Check::Reachable, subject, found, next_step)
    }

    /// Says whether a version is one that the provider works with and is tested with.
    pub fn version(subject: impl Into<String>, found: &Version, known: &KnownVersions) -> Self {
        let KnownVersions { oldest, newest } = known;
        let Version { shown, number } = found;
        if number < oldest {
            let (needed, next) = (dotted(oldest), format!("upgrade it to {} or later", dotted(oldest)));
            return Self::fail(
                Check::Version,
                subject,
                format!("{shown} is too old: {needed} is the oldest that works"),
                next,
            );
        }
        // A later release of the same line is no surprise.
        let line = |version: &[u32; 3]| [version[0], version[1]];
        if line(number) > line(newest) {
            let found = format!("{shown} is newer than {}, the newest that is tested", dotted(newest));
            return Self::warn(Check::Version, subject, found, "try the system on it before it counts");
        }
        Self::ok(Check::Version, subject, format!("{shown} ({} or later works)", dotted(oldest)))
    }

    /// Says how far the engine's clock is from ours.
    pub fn clock(subject: impl Into<String>, reading: &ClockReading) -> Self {
        let (low, high) = reading.skew_ms();
        let center = low.midpoint(high);
        let found = format!("{center:+} ms ± {} ms from this machine", (high - low).div_euclid(2).max(1));
        let certain = if low > 0 { low } else { (-high).max(0) };
        let next = "have both machines follow the same time (chronyc tracking, timedatectl timesync-status)";
        match certain {
            skew if skew > SKEW_MS_FAIL => Self::fail(Check::Clock, subject, found, next),
            skew if skew > SKEW_MS_WARN => Self::warn(Check::Clock, subject, found, next),
            _ => Self::ok(Check::Clock, subject, found),
        }
    }

    /// Says that the engine's protocol tells no time.
    pub fn no_clock(subject: impl Into<String>) -> Self {
        Self::unknown(Check::Clock, subject, "cannot tell: the protocol gives no time")
    }
}

/// A version as the engine says it, and as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub shown: String,
    pub number: [u32; 3],
}

impl Version {
    /// Reads the first number with dots in `text`; zeros if there is none.
    pub fn parse(text: &str) -> Self {
        let from = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let digits = text[from..].split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
        let mut parts = digits.split('.').map(|part| part.parse().unwrap_or(0));
        Self { shown: text.to_owned(), number: std::array::from_fn(|_| parts.next().unwrap_or(0)) }
    }
}

/// The versions that a provider works with.
#[derive(Clone, Copy, Debug)]
pub struct KnownVersions {
    pub oldest: [u32; 3],
    /// The newest that the provider's tests ran on. Its line (major and minor) counts, not its patch.
    pub newest: [u32; 3],
}

/// The engine's time, read between two readings of our clock.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// Ours before, in milliseconds since the Unix epoch.
    pub before_ms: u64,
    /// The engine's, likewise, rounded down.
    pub engine_ms: u64,
    /// Ours after.
    pub after_ms: u64,
    /// What the engine's time is rounded down to, in milliseconds.
    pub resolution_ms: u64,
}

impl ClockReading {
    /// Returns the least and the most by which the engine's clock is ahead of ours.
    fn skew_ms(&self) -> (i64, i64) {
        let (before, engine, after) = (self.before_ms as i64, self.engine_ms as i64, self.after_ms as i64);
        // Our own readings are rounded down to milliseconds, too.
        (engine - (after + 1), engine + self.resolution_ms as i64 - before)
    }
}

/// A duration to a tenth of a millisecond.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1_000.0)
    }
}

fn dotted(version: &[u32; 3]) -> String {
    match version {
        [major, 0, 0] => major.to_string(),
        [major, minor, 0] => format!("{major}.{minor}"),
        [major, minor, patch] => format!("{major}.{minor}.{patch}"),
    }
}

/// How much of the time for an examination is left: what is asked last gets no more than that.
#[derive(Clone, Copy, Debug)]
pub struct TimeLeft(Instant);

impl TimeLeft {
    /// Begins at `now` with `limit`.
    pub fn new(now: Instant, limit: Duration) -> Self {
        Self(now + limit)
    }

    /// Returns what is left at `now`; never less than a millisecond.
    pub fn at(&self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(engine_ms: u64, resolution_ms: u64) -> (Verdict, String) {
        let reading = ClockReading { before_ms: 1_000_000, engine_ms, after_ms: 1_000_009, resolution_ms };
        let finding = Finding::clock("server", &reading);
        (finding.verdict, finding.found)
    }

    #[test]
    fn a_skew_has_the_bounds_of_its_round_trip() {
        assert_eq!(verdict(1_000_004, 1), (Verdict::Ok, "+0 ms ± 5 ms from this machine".to_owned()));
        assert_eq!(verdict(1_005_000, 1).0, Verdict::Warn);
        assert!(verdict(1_005_000, 1).1.starts_with("+4995 ms ± 5 ms"), "{}", verdict(1_005_000, 1).1);
        assert_eq!(verdict(900_000, 1).0, Verdict::Fail);
        assert!(verdict(900_000, 1).1.starts_with("-100004 ms"), "{}", verdict(900_000, 1).1);
        // Whole seconds: what may be nothing is no warning.
        assert_eq!(verdict(1_000_000, 1_000).0, Verdict::Ok);
        assert_eq!(verdict(999_000, 1_000).0, Verdict::Ok);
        assert_eq!(verdict(998_000, 1_000).0, Verdict::Warn);
    }

    #[test]
    fn a_version_is_too_old_known_or_untested() {
        let known = KnownVersions { oldest: [10, 6, 0], newest: [10, 11, 6] };
        for (text, verdict) in [
            ("10.11.14-MariaDB-0+deb12u2", Verdict::Ok),
            ("v10.6", Verdict::Ok),
            ("10.5.23-MariaDB", Verdict::Fail),
            ("11.4.2", Verdict::Warn),
            ("", Verdict::Fail),
        ] {
            let finding = Finding::version("server", &Version::parse(text), &known);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert_eq!(finding.next_step.is_some(), verdict != Verdict::Ok);
        }
        assert_eq!(Version::parse("PostgreSQL 15.14 (Debian)").number, [15, 14, 0]);
    }

    #[test]
    fn an_error_is_told_with_its_last_cause() {
        let cause = std::io::Error::other("Connection refused");
        let error = Error::unavailable("the server at h:1 cannot be reached").with_source(cause);
        let finding = Finding::of_error(Check::Reachable, "server", &error, "start it");
        assert_eq!(finding.found, "the server at h:1 cannot be reached: Connection refused");
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(Verdict::Fail > Verdict::Warn && Verdict::Warn > Verdict::Unknown);
    }
}
