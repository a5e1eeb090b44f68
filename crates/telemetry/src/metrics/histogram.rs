//! Exponential histograms: buckets that are as wide as what they hold is large.

/// Buckets per doubling: 2 to this power. A value is known to within 9 %.
pub(super) const SCALE: i32 = 3;
/// The lowest and the highest bucket: about a microsecond, and about an hour. What is beyond counts there.
const LOWEST: i32 = -160;
const HIGHEST: i32 = 96;
/// Examples that a histogram holds.
const EXEMPLARS_MAX: usize = 10;

/// Counts values, in seconds. Bucket `i` has what is larger than `2^(i/8)` and at most `2^((i+1)/8)`, as in OTLP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    pub count: u64,
    pub sum: f64,
    /// The bucket that `counts` begins with.
    pub first: i32,
    pub counts: Vec<u64>,
    pub exemplars: Vec<Exemplar>,
}

/// A value whose trace was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    pub seconds: f64,
    pub trace_id: u128,
    pub span_id: u64,
    /// Nanoseconds since the Unix epoch.
    pub at_ns: u64,
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, seconds: f64) {
        self.count += 1;
        self.sum += seconds;
        let bucket = bucket(seconds);
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let more = (self.first - bucket) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bucket;
        }
        let at = (bucket - self.first) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
    }

    /// Remembers an example; the oldest one makes room.
    pub fn exemplify(&mut self, exemplar: Exemplar) {
        if self.exemplars.len() == EXEMPLARS_MAX {
            self.exemplars.remove(0);
        }
        self.exemplars.push(exemplar);
    }

    /// Returns how many values were at most `2^power` seconds.
    pub fn at_most_power(&self, power: i32) -> u64 {
        let end = (power << SCALE) - self.first;
        self.counts[..end.clamp(0, self.counts.len() as i32) as usize].iter().sum()
    }

    /// Returns the value that a share (0 to 1) of the values did not exceed, in seconds; 0 without values.
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in (self.first..).zip(&self.counts) {
            seen += count;
            if seen >= wanted {
                return upper_bound(bucket);
            }
        }
        0.0
    }
}

/// The largest value of a bucket.
pub fn upper_bound(bucket: i32) -> f64 {
    (f64::from(bucket + 1) / f64::from(1 << SCALE)).exp2()
}

fn bucket(seconds: f64) -> i32 {
    if seconds <= 0.0 {
        return LOWEST;
    }
    let exact = seconds.log2() * f64::from(1 << SCALE);
    (exact.ceil() as i32 - 1).clamp(LOWEST, HIGHEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_bucket_that_holds_it() {
        for seconds in [0.000_01, 0.001, 0.5, 1.0, 1.001, 2.0, 30.0] {
            let bucket = bucket(seconds);
            assert!(seconds <= upper_bound(bucket) && seconds > upper_bound(bucket - 1), "{seconds}");
        }
        assert_eq!((bucket(0.0), bucket(1e-9), bucket(1e9)), (LOWEST, LOWEST, HIGHEST));
    }

    #[test]
    fn quantiles_are_within_nine_percent() {
        let mut histogram = Histogram::default();
        for ms in (1..=1_000).rev() {
            histogram.add(f64::from(ms) / 1e3);
        }
        for (share, exact) in [(0.5, 0.5), (0.99, 0.99), (1.0, 1.0)] {
            let found = histogram.quantile(share);
            assert!(found >= exact && found < exact * 1.091, "{share}: {found}");
        }
        assert_eq!(
            (histogram.count, histogram.at_most_power(0), histogram.at_most_power(-1)),
            (1_000, 1_000, 500)
        );
        assert_eq!((histogram.at_most_power(-40), histogram.at_most_power(40)), (0, 1_000));
        assert_eq!(Histogram::default().quantile(0.5), 0.0);
    }
}
