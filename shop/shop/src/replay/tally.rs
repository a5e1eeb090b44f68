//! What came of the orders of a replay: counts and latencies.

use super::shopper::{End, Outcome};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Longest latency that is told apart, in microseconds: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 3;

/// Counts of a replay.
#[derive(Debug)]
pub(crate) struct Tally {
    /// When the replay began, in milliseconds since the Unix epoch.
    began_ms: u64,
    orders: u64,
    /// Ends, with the reason where there is one.
    ends: BTreeMap<String, u64>,
    unfinished: u64,
    /// Orders that an earlier replay had placed. Their latencies do not count.
    repeated: u64,
    retries: u64,
    accepted: Latencies,
    ended: Latencies,
    elapsed: Duration,
}

/// Latencies, by their frequency.
#[derive(Debug)]
struct Latencies(Histogram<u64>);

impl Tally {
    /// Begins to count at `began_ms` (milliseconds since the Unix epoch).
    pub(crate) fn new(began_ms: u64) -> Self {
        Self {
            began_ms,
            orders: 0,
            ends: BTreeMap::new(),
            unfinished: 0,
            repeated: 0,
            retries: 0,
            accepted: Latencies::new(),
            ended: Latencies::new(),
            elapsed: Duration::ZERO,
        }
    }

    pub(crate) fn count(&mut self, outcome: &Outcome) {
        self.orders += 1;
        self.retries += u64::from(outcome.retries);
        let (state, reason) = match &outcome.end {
            End::Confirmed => ("CONFIRMED", ""),
            End::Refunded => ("REFUNDED", ""),
            End::Cancelled { reason } => ("CANCELLED", reason.as_str()),
            End::Refused { reason } => ("REFUSED", reason.as_str()),
            End::Unfinished { reason } => ("UNFINISHED", reason.as_str()),
        };
        self.unfinished += u64::from(matches!(outcome.end, End::Unfinished { .. }));
        *self.ends.entry(format!("{state} {reason}").trim_end().to_owned()).or_default() += 1;
        if outcome.placed_ms.is_some_and(|placed| placed < self.began_ms) {
            self.repeated += 1;
            return;
        }
        self.accepted.record(outcome.accepted);
        self.ended.record(outcome.ended);
    }

    /// Ends the count, `elapsed` after it began.
    pub(crate) fn finish(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
    }

    /// Returns how many orders did not come to their ends in time.
    pub(crate) fn unfinished(&self) -> u64 {
        self.unfinished
    }

    /// Returns the counts so far in one line.
    pub(crate) fn line(&self) -> String {
        let ends: Vec<String> = self.ends.iter().map(|(end, orders)| format!("{orders} {end}")).collect();
        ends.join(", ")
    }

    /// Returns how many orders of this replay came to their ends each second.
    fn throughput(&self) -> f64 {
        match self.elapsed.as_secs_f64() {
            seconds if seconds > 0.0 => self.ended.0.len() as f64 / seconds,
            _ => 0.0,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "orders": self.orders,
            "ends": self.ends,
            "repeated": self.repeated,
            "retries": self.retries,
            "elapsed_ms": self.elapsed.as_millis() as u64,
            "throughput_per_s": self.throughput(),
            "accept_latency_ms": self.accepted.to_json(),
            "end_to_end_latency_ms": self.ended.to_json(),
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(out, "{} orders in {seconds:.1} s, {:.1} per second", self.orders, self.throughput())?;
        for (end, orders) in &self.ends {
            writeln!(out, "{orders:>8} {end}")?;
        }
        if self.repeated > 0 {
            writeln!(out, "{:>8} of them had been placed before", self.repeated)?;
        }
        if self.retries > 0 {
            writeln!(out, "{:>8} attempts to place an order were repeated", self.retries)?;
        }
        if self.accepted.0.is_empty() {
            return Ok(());
        }
        writeln!(out, "{:<12} {:>10} {:>10} {:>10} {:>10}", "latency (ms)", "p50", "p90", "p99", "max")?;
        writeln!(out, "{:<12} {}", "accepted", self.accepted)?;
        write!(out, "{:<12} {}", "end to end", self.ended)
    }
}

impl Latencies {
    fn new() -> Self {
        Self(Histogram::new_with_max(LATENCY_US_MAX, LATENCY_DIGITS).expect("the bounds are valid"))
    }

    fn record(&mut self, latency: Option<Duration>) {
        if let Some(latency) = latency {
            self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Returns p50, p90, p99 and the maximum, in milliseconds.
    fn quantiles(&self) -> [f64; 4] {
        let ms = |us: u64| us as f64 / 1_000.0;
        let at = |quantile| ms(self.0.value_at_quantile(quantile));
        [at(0.5), at(0.9), at(0.99), ms(self.0.max())]
    }

    fn to_json(&self) -> Value {
        let [p50, p90, p99, max] = self.quantiles();
        json!({"p50": p50, "p90": p90, "p99": p99, "max": max})
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, max] = self.quantiles();
        write!(out, "{p50:>10.1} {p90:>10.1} {p99:>10.1} {max:>10.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(end: End, ended_ms: u64, placed_ms: u64) -> Outcome {
        let ended = (!matches!(end, End::Unfinished { .. })).then_some(Duration::from_millis(ended_ms));
        let accepted = Some(Duration::from_millis(1));
        Outcome { end, accepted, ended, retries: 1, placed_ms: Some(placed_ms) }
    }

    #[test]
    fn ends_are_counted_by_reason_and_repeated_orders_have_no_latency() {
        let mut tally = Tally::new(1_000);
        for ms in 1..=100 {
            tally.count(&outcome(End::Confirmed, ms, 1_000));
        }
        let declined = End::Cancelled { reason: "CARD_DECLINED".to_owned() };
        tally.count(&outcome(declined, 60_000, 999));
        tally.count(&outcome(End::Unfinished { reason: "PENDING".to_owned() }, 0, 2_000));
        tally.finish(Duration::from_secs(10));

        let json = tally.to_json();
        assert_eq!(
            json["ends"],
            json!({"CONFIRMED": 100, "CANCELLED CARD_DECLINED": 1, "UNFINISHED PENDING": 1})
        );
        assert_eq!(
            (&json["orders"], &json["repeated"], &json["retries"]),
            (&json!(102), &json!(1), &json!(102))
        );
        assert_eq!((tally.unfinished(), tally.throughput()), (1, 10.0));
        let latency = |name: &str| json["end_to_end_latency_ms"][name].as_f64().unwrap();
        assert!((49.9..50.1).contains(&latency("p50")), "{}", latency("p50"));
        assert!((99.9..100.1).contains(&latency("max")), "{}", latency("max"));
        assert!(tally.to_string().contains("1 CANCELLED CARD_DECLINED"));
    }
}
