//! The runs that the local memory keeps: when each began and how it ended, and what became better or worse from one to another.

use crate::answer::{Answer, Asked};
use crate::app::Shared;
use axum::extract::State;
use banyan_core::{Error, Result};
use banyan_telemetry::{Run, Threshold, compare};
use serde::Deserialize;
use serde_json::{Value, json};

/// The most of a run that can be left out, in seconds: a day.
const SKIP_S_MAX: u64 = 86_400;
/// Shares that a difference may have to be at least, in percent: less is within a bucket of a histogram.
const PERCENT_MIN: u32 = 10;
const PERCENT_MAX: u32 = 1_000;
/// The longest difference that may be asked for, in milliseconds: an hour.
const MS_MAX: f64 = 3_600_000.0;

pub(crate) async fn list(State(app): Shared) -> Answer {
    let now_ms = app.parts.env.clock.unix_ms();
    let listed = app.remember(move |memory| {
        let runs = memory.reader()?.runs()?;
        let runs = runs.iter().map(|run| shown(run, now_ms)).collect::<Result<Vec<_>>>()?;
        Ok(json!({"runs": runs}))
    });
    Answer(listed.await)
}

fn shown(run: &Run, now_ms: u64) -> Result<Value> {
    let mut shown = serde_json::to_value(run).map_err(Error::internal)?;
    // This console is a part of the latest run: it goes on.
    shown["state"] = if run.latest { "running" } else { run.state(now_ms) }.into();
    Ok(shown)
}

/// The question of a comparison: two runs, by number or label, and what does not count.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Compare {
    before: String,
    after: String,
    /// Seconds at the beginning of each run that are left out.
    #[serde(default)]
    skip_s: u64,
    /// A difference between durations that is smaller than this share does not matter.
    #[serde(default = "percent")]
    percent: u32,
    /// A difference between durations that is smaller than this does not matter, in milliseconds.
    #[serde(default = "ms")]
    ms: f64,
}

fn percent() -> u32 {
    15
}

fn ms() -> f64 {
    0.1
}

impl Compare {
    fn check(&self) -> Result<()> {
        if self.skip_s > SKIP_S_MAX {
            return Err(Error::invalid("skip_s", format!("must be at most {SKIP_S_MAX}")));
        }
        if !(PERCENT_MIN..=PERCENT_MAX).contains(&self.percent) {
            return Err(Error::invalid(
                "percent",
                format!("must be between {PERCENT_MIN} and {PERCENT_MAX}"),
            ));
        }
        if !(0.0..=MS_MAX).contains(&self.ms) {
            return Err(Error::invalid("ms", format!("must be between 0 and {MS_MAX}")));
        }
        Ok(())
    }
}

pub(crate) async fn compared(State(app): Shared, Asked(question): Asked<Compare>) -> Answer {
    if let Err(error) = question.check() {
        return Answer(Err(error));
    }
    let now_ms = app.parts.env.clock.unix_ms();
    // It looks through all that was measured in both.
    let compared = app.search(move |reader| {
        let Compare { before, after, skip_s, percent, ms } = question;
        let (before, after) = (reader.run(&before)?, reader.run(&after)?);
        let skip_ms = skip_s * 1_000;
        let (one, two) = (reader.measurements(&before, skip_ms)?, reader.measurements(&after, skip_ms)?);
        let threshold = Threshold { share: f64::from(percent) / 100.0, seconds: ms / 1e3 };
        let mut comparison = compare(&one, &two, threshold);
        reader.find_slowest(&mut comparison)?;
        let mut answer = serde_json::to_value(&comparison).map_err(Error::internal)?;
        for (side, run) in [("before", &before), ("after", &after)] {
            answer[side]["run"] = shown(run, now_ms)?;
        }
        Ok(answer)
    });
    Answer(compared.await)
}
