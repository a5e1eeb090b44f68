//! Service level objectives: `p99 < 250ms`, `errors < 1%`, `checkout: p95 < 1s`.

use crate::duration::{duration, written};
use crate::summary::{Latency, Requests};
use banyan_core::suggestion;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An objective that a run keeps or breaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// The step that it is about; all of them together without it.
    pub step: Option<String>,
    metric: Metric,
    comparison: Comparison,
    /// Milliseconds, a fraction, or answers per second.
    bound: f64,
    text: String,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// Of the latencies, in percent.
    Percentile(f64),
    Mean,
    Max,
    /// The fraction of requests that failed.
    Errors,
    /// The fraction of arrivals that found every virtual user busy.
    Dropped,
    /// Requests that succeeded, per second.
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// Whether an objective was kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Verdict {
    pub slo: String,
    /// What was measured: milliseconds, a fraction, or answers per second. Absent if nothing was.
    pub value: Option<f64>,
    /// The same for people, for example `312 ms`.
    pub measured: String,
    pub kept: bool,
}

impl Slo {
    /// Judges what was measured. An objective about which nothing is known is broken.
    pub(crate) fn judge(&self, requests: &Requests, dropped: f64) -> Verdict {
        let value = self.value(requests, dropped);
        let kept = value.is_some_and(|value| match self.comparison {
            Comparison::Below => value < self.bound,
            Comparison::AtMost => value <= self.bound,
            Comparison::Above => value > self.bound,
            Comparison::AtLeast => value >= self.bound,
        });
        let measured = match (value, self.metric) {
            (None, _) => "nothing was measured".to_owned(),
            (Some(value), Metric::Errors | Metric::Dropped) => format!("{:.3} %", value * 100.0),
            (Some(value), Metric::Rate) => format!("{value:.1}/s"),
            (Some(value), _) => format!("{value:.1} ms"),
        };
        Verdict { slo: self.text.clone(), value, measured, kept }
    }

    fn value(&self, requests: &Requests, dropped: f64) -> Option<f64> {
        let of_latency = |read: &dyn Fn(&Latency) -> f64| requests.latency_ms.as_ref().map(read);
        match self.metric {
            Metric::Percentile(percent) => of_latency(&|latency| latency.percentile(percent)),
            Metric::Mean => of_latency(&|latency| latency.mean),
            Metric::Max => of_latency(&|latency| latency.max),
            Metric::Errors => (requests.count > 0).then_some(requests.error_rate),
            Metric::Dropped => Some(dropped),
            Metric::Rate => Some(requests.ok_per_s),
        }
    }

    /// Returns the percentile that it is about, from 0 to 100.
    pub(crate) fn percent(&self) -> Option<f64> {
        match self.metric {
            Metric::Percentile(percent) => Some(percent),
            _ => None,
        }
    }

    /// Tells whether it can be judged while the run goes on: a rate needs its end.
    pub(crate) fn is_early(&self) -> bool {
        self.metric != Metric::Rate
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no SLO; expected for example \"p99 < 250ms\", \"errors < 1%\", \"checkout: p95 <= 1s\""
            )
        };
        let (step, rule) = match text.rsplit_once(':') {
            Some((step, rule)) => (Some(step.trim().to_owned()), rule),
            None => (None, text),
        };
        let at = rule.find(['<', '>']).ok_or_else(wrong)?;
        let (name, rest) = (rule[..at].trim(), &rule[at..]);
        let (comparison, bound) = match (rest.strip_prefix("<="), rest.strip_prefix(">=")) {
            (Some(bound), _) => (Comparison::AtMost, bound),
            (_, Some(bound)) => (Comparison::AtLeast, bound),
            _ if rest.starts_with('<') => (Comparison::Below, &rest[1..]),
            _ => (Comparison::Above, &rest[1..]),
        };
        let metric = metric(name).map_err(|problem| format!("{text:?}: {problem}"))?;
        if step.is_some() && metric == Metric::Dropped {
            return Err(format!("{text:?}: arrivals are dropped before any step"));
        }
        let (bound, shown) = metric.bound(bound.trim()).map_err(|problem| format!("{text:?}: {problem}"))?;
        let operator = &rest[..rest.len() - rest.trim_start_matches(['<', '>', '=']).len()];
        let prefix = step.as_ref().map(|step| format!("{step}: ")).unwrap_or_default();
        let text = format!("{prefix}{name} {operator} {shown}");
        Ok(Self { step, metric, comparison, bound, text })
    }
}

impl Metric {
    /// Reads the bound in this metric's unit, and how it is shown.
    fn bound(self, text: &str) -> Result<(f64, String), String> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        match self {
            Self::Percentile(_) | Self::Mean | Self::Max => {
                let bound: Duration = duration(text)?;
                Ok((bound.as_secs_f64() * 1e3, written(bound)))
            }
            Self::Errors | Self::Dropped => {
                let fraction = match text.strip_suffix('%') {
                    Some(percent) => number(percent).map(|percent| percent / 100.0),
                    None => number(text),
                };
                let fraction = fraction.filter(|fraction| *fraction <= 1.0);
                let fraction =
                    fraction.ok_or("expected percent, for example 1%, or a fraction from 0 to 1")?;
                Ok((fraction, text.to_owned()))
            }
            Self::Rate => {
                let rate = number(text.strip_suffix("/s").unwrap_or(text));
                Ok((rate.ok_or("expected answers per second, for example 95/s")?, text.to_owned()))
            }
        }
    }
}

fn metric(name: &str) -> Result<Metric, String> {
    if let Some(percent) = name.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok()) {
        let whole = (0.0..=100.0).contains(&percent);
        return if whole { Ok(Metric::Percentile(percent)) } else { Err(format!("{name} is no percentile")) };
    }
    match name {
        "mean" | "avg" => Ok(Metric::Mean),
        "max" => Ok(Metric::Max),
        "errors" => Ok(Metric::Errors),
        "dropped" => Ok(Metric::Dropped),
        "rate" => Ok(Metric::Rate),
        other => {
            let known = ["p50", "p99", "mean", "max", "errors", "dropped", "rate"];
            Err(format!("{other:?} is nothing that is measured; {}", suggestion(other, known)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(p99: f64, error_rate: f64) -> Requests {
        let latency = Latency {
            p99,
            max: 500.0,
            percentiles: vec![(50.0, 10.0), (99.0, p99), (100.0, 500.0)],
            ..Latency::default()
        };
        Requests { count: 100, error_rate, ok_per_s: 40.0, latency_ms: Some(latency), ..Requests::default() }
    }

    #[test]
    fn objectives_are_kept_or_broken() {
        for (text, kept) in [
            ("p99<250ms", true),
            ("p99 < 0.2s", false),
            ("p99 <= 200ms", true),
            ("max < 1s", true),
            ("errors<1%", false),
            ("errors <= 0.01", true),
            ("dropped < 5%", true),
            ("rate > 39/s", true),
            ("rate >= 41", false),
            ("pay: errors <= 1%", true),
        ] {
            let slo: Slo = text.parse().unwrap();
            let verdict = slo.judge(&requests(200.0, 0.01), 0.0);
            assert_eq!(verdict.kept, kept, "{verdict:?}");
        }
        let slo: Slo = "pay: p99<250ms".parse().unwrap();
        assert_eq!((slo.step.as_deref(), slo.to_string().as_str()), (Some("pay"), "pay: p99 < 250ms"));
        let verdict = slo.judge(&Requests::default(), 0.0);
        assert_eq!((verdict.kept, verdict.value), (false, None), "nothing is known");
    }

    #[test]
    fn a_mistake_says_what_an_objective_looks_like() {
        for (text, problem) in [
            ("p99", "no SLO"),
            ("p99 < 250", "no duration"),
            ("p101 < 1s", "no percentile"),
            ("erors < 1%", "nearest is \"errors\""),
            ("errors < 250ms", "percent"),
            ("errors < 101%", "percent"),
            ("rate > fast", "per second"),
            ("pay: dropped < 1%", "before any step"),
        ] {
            let error = text.parse::<Slo>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
