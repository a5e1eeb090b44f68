//! The rate of arrivals over time: constant, ramps, staircases, spikes.
//!
//! Arrivals are made by the inverse of the integrated rate. A uniform schedule takes it at 0, 1, 2, …; a Poisson process
//! takes it at the sums of exponentially distributed steps (the time-rescaling theorem), so that both follow any stages.

use crate::duration::{duration, written};
use crate::limits::{DURATION_MAX, RATE_MAX, STAGES_MAX};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The parts of a spike's time before, at, and after its peak.
const SPIKE: [f64; 3] = [0.4, 0.2, 0.4];
/// What a rounding error may add to a whole number of arrivals.
const ROUNDING: f64 = 1e-9;

/// A time in which the rate goes straight from one value to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Arrivals per second.
    pub from: f64,
    pub to: f64,
    pub duration: Duration,
}

/// Stages one after another, at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Stages {
    stages: Vec<Stage>,
    text: String,
}

impl Stage {
    /// Returns how many arrivals it has.
    fn count(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.duration.as_secs_f64()
    }

    /// Returns when `count` arrivals have come, in seconds from the beginning of the stage.
    fn when(&self, count: f64) -> f64 {
        if count <= 0.0 {
            return 0.0;
        }
        // The solution of from·t + a·t² = count, in the form that is exact also for a constant rate.
        let a = (self.to - self.from) / (2.0 * self.duration.as_secs_f64());
        2.0 * count / (self.from + (self.from * self.from + 4.0 * a * count).max(0.0).sqrt())
    }
}

impl Stages {
    /// Makes one stage of a constant rate.
    ///
    /// # Errors
    /// If the rate or the duration is out of bounds.
    pub fn constant(rate: f64, duration: Duration) -> Result<Self, String> {
        Self::of(vec![Stage { from: rate, to: rate, duration }], format!("{rate} for {}", written(duration)))
    }

    /// Reads stages such as `20 for 10s`, `20..200 for 1m`, `20..200 in 5 steps for 1m`, `50 spike 500 for 30s`.
    ///
    /// # Errors
    /// The one that cannot be read, and what was expected.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let texts: Vec<&str> = texts.into_iter().map(str::trim).collect();
        let mut stages = Vec::new();
        for text in &texts {
            stages.extend(stage(text)?);
        }
        Self::of(stages, texts.join(", "))
    }

    fn of(stages: Vec<Stage>, text: String) -> Result<Self, String> {
        let all = Self { stages, text };
        let rates = all.stages.iter().flat_map(|stage| [stage.from, stage.to]);
        match () {
            () if all.stages.is_empty() => Err("there is no stage".to_owned()),
            () if all.stages.len() > STAGES_MAX => Err(format!("there are more than {STAGES_MAX} stages")),
            () if rates.clone().any(|rate| !(0.0..=RATE_MAX).contains(&rate)) => {
                Err(format!("a rate is from 0 to {RATE_MAX} arrivals per second"))
            }
            () if all.stages.iter().any(|stage| stage.duration.is_zero()) => {
                Err("a stage takes longer than nothing".to_owned())
            }
            () if all.duration() > DURATION_MAX => {
                Err(format!("a run takes at most {}", written(DURATION_MAX)))
            }
            () if all.count() < 1.0 - ROUNDING => {
                Err("nobody would arrive: the rate is too low for the time".to_owned())
            }
            () => Ok(all),
        }
    }

    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    pub fn duration(&self) -> Duration {
        self.stages.iter().map(|stage| stage.duration).sum()
    }

    /// Returns how many arrivals are expected.
    pub fn count(&self) -> f64 {
        self.stages.iter().map(Stage::count).sum()
    }

    /// Returns the highest rate, in arrivals per second.
    pub fn peak(&self) -> f64 {
        self.stages.iter().map(|stage| stage.from.max(stage.to)).fold(0.0, f64::max)
    }

    /// Returns how many arrivals are expected within the first `time`.
    pub fn count_until(&self, time: Duration) -> f64 {
        let (mut left, mut count) = (time, 0.0);
        for stage in &self.stages {
            let part = left.min(stage.duration);
            let reached =
                stage.from + (stage.to - stage.from) * part.as_secs_f64() / stage.duration.as_secs_f64();
            count += f64::midpoint(stage.from, reached) * part.as_secs_f64();
            left -= part;
        }
        count
    }

    /// Returns when `count` arrivals have come; `None` if there are not so many.
    pub fn when(&self, count: f64) -> Option<Duration> {
        let (mut left, mut before) = (count, Duration::ZERO);
        for stage in &self.stages {
            if left < stage.count() - ROUNDING {
                return Some(before + Duration::from_secs_f64(stage.when(left)).min(stage.duration));
            }
            left = (left - stage.count()).max(0.0);
            before += stage.duration;
        }
        None
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Stages {
    type Err = String;

    /// Reads stages that are separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text.split(','))
    }
}

/// Reads one stage, which a staircase or a spike makes several of.
fn stage(text: &str) -> Result<Vec<Stage>, String> {
    let wrong = || {
        format!(
            "{text:?} is no stage; expected for example \"20 for 10s\", \"20..200 for 1m\", \
             \"20..200 in 5 steps for 1m\", \"50 spike 500 for 30s\""
        )
    };
    let (rates, time) = text.rsplit_once(" for ").ok_or_else(wrong)?;
    let time = duration(time)?;
    let rate = |text: &str| {
        let text = text.trim();
        text.strip_suffix("/s")
            .unwrap_or(text)
            .parse::<f64>()
            .ok()
            .filter(|rate| *rate >= 0.0)
            .ok_or_else(wrong)
    };
    let flat = |rate: f64, duration: Duration| Stage { from: rate, to: rate, duration };
    if let Some((base, peak)) = rates.split_once(" spike ") {
        let (base, peak) = (rate(base)?, rate(peak)?);
        let parts = [base, peak, base].into_iter().zip(SPIKE);
        return Ok(parts.map(|(rate, part)| flat(rate, time.mul_f64(part))).collect());
    }
    let (ends, steps) = match rates.split_once(" in ") {
        None => (rates, None),
        Some((ends, steps)) => {
            let steps = steps.trim().strip_suffix("steps").ok_or_else(wrong)?.trim();
            let steps = steps.parse::<u32>().ok().filter(|n| (2..=STAGES_MAX as u32).contains(n));
            (ends, Some(steps.ok_or_else(|| format!("{text:?}: a staircase has 2 to {STAGES_MAX} steps"))?))
        }
    };
    match (ends.split_once(".."), steps) {
        (None, None) => Ok(vec![flat(rate(ends)?, time)]),
        (None, Some(_)) => Err(wrong()),
        (Some((from, to)), None) => Ok(vec![Stage { from: rate(from)?, to: rate(to)?, duration: time }]),
        (Some((from, to)), Some(steps)) => {
            let (from, to) = (rate(from)?, rate(to)?);
            let height = |step| from + (to - from) * f64::from(step) / f64::from(steps - 1);
            Ok((0..steps).map(|step| flat(height(step), time / steps)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(text: &str) -> Stages {
        text.parse().unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn every_kind_of_stage_has_the_arrivals_of_its_area() {
        for (text, count, seconds) in [
            ("20 for 3s", 60.0, 3),
            ("0..100 for 10s", 500.0, 10),
            ("100..0 for 10s", 500.0, 10),
            ("10..50 in 5 steps for 10s", 300.0, 10),
            ("50 spike 500 for 10s", 50.0 * 8.0 + 500.0 * 2.0, 10),
            ("20/s for 1m, 20..200 for 1m", 1_200.0 + 6_600.0, 120),
        ] {
            let stages = stages(text);
            assert!((stages.count() - count).abs() < 1e-6, "{text}: {}", stages.count());
            assert!((stages.count_until(stages.duration()) - count).abs() < 1e-6, "{text}");
            assert_eq!(stages.duration(), Duration::from_secs(seconds), "{text}");
            assert_eq!(stages.to_string(), text);
        }
    }

    #[test]
    fn arrivals_come_when_the_area_below_the_rate_is_reached() {
        let flat = stages("20 for 3s");
        assert_eq!(flat.when(0.0), Some(Duration::ZERO));
        assert_eq!(flat.when(20.0), Some(Duration::from_secs(1)));
        assert_eq!((flat.when(59.0).is_some(), flat.when(60.0)), (true, None));
        for text in ["0..100 for 10s", "100..0 for 10s", "5 spike 500 for 1s", "1..9 in 3 steps for 6s"] {
            let stages = stages(text);
            let mut last = Duration::ZERO;
            for count in 0..stages.count() as u32 {
                let at = stages.when(f64::from(count)).expect("there are so many");
                assert!(at >= last && at <= stages.duration(), "{text}: {count} at {at:?}");
                let until = stages.count_until(at);
                assert!((until - f64::from(count)).abs() < 1e-3, "{text}: {until} have come, not {count}");
                last = at;
            }
        }
    }

    #[test]
    fn a_mistake_says_what_a_stage_looks_like() {
        for (text, problem) in [
            ("20", "no stage"),
            ("20 for ten", "no duration"),
            ("fast for 10s", "no stage"),
            ("10..20 in 1 steps for 10s", "2 to 100 steps"),
            ("10 in 2 steps for 10s", "no stage"),
            ("1000000 for 1s", "100000"),
            ("20 for 100h", "at most 24h"),
            ("20 for 0s", "longer than nothing"),
            ("0 for 10s", "nobody would arrive"),
        ] {
            let error = text.parse::<Stages>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
