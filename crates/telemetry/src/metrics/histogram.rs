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

    /// Returns how many values were at most `seconds`; within the bucket that holds it they are taken to be spread evenly.
    pub fn at_most(&self, seconds: f64) -> f64 {
        let at = bucket(seconds);
        let (mut below, mut within) = (0, 0.0);
        for (bucket, count) in (self.first..).zip(&self.counts) {
            if bucket < at {
                below += count;
            } else if bucket == at {
                let (low, high) = (upper_bound(at - 1), upper_bound(at));
                within = *count as f64 * ((seconds - low) / (high - low)).clamp(0.0, 1.0);
            }
        }
        below as f64 + within
    }

    /// Returns the bucket of the value of this rank, counted from 1 by size; `None` if there are fewer.
    pub fn bucket_of_rank(&self, rank: u64) -> Option<i32> {
        let mut seen = 0;
        (self.first..).zip(&self.counts).find_map(|(bucket, count)| {
            seen += count;
            (seen >= rank.max(1)).then_some(bucket)
        })
    }

    /// Returns what was counted after `earlier`, a former state of this histogram, without examples.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bucket: i32| {
            usize::try_from(bucket - earlier.first).ok().and_then(|at| earlier.counts.get(at)).copied()
        };
        let counts = (self.first..).zip(&self.counts);
        let left = counts.map(|(bucket, count)| count.saturating_sub(before(bucket).unwrap_or(0)));
        let mut counts: Vec<u64> = left.collect();
        let empty = counts.iter().take_while(|count| **count == 0).count();
        counts.drain(..empty);
        counts.truncate(counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        Self {
            count: self.count.saturating_sub(earlier.count),
            sum: (self.sum - earlier.sum).max(0.0),
            first: self.first + empty as i32,
            counts,
            exemplars: Vec::new(),
        }
    }

    /// Adds what another histogram counted, without its examples.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        if other.counts.is_empty() {
            return;
        }
        if self.counts.is_empty() {
            (self.first, self.counts) = (other.first, other.counts.clone());
            return;
        }
        let end = |h: &Self| h.first + h.counts.len() as i32;
        let (first, last) = (self.first.min(other.first), end(self).max(end(other)));
        self.counts.splice(0..0, std::iter::repeat_n(0, (self.first - first) as usize));
        self.counts.resize((last - first) as usize, 0);
        self.first = first;
        for (bucket, count) in (other.first..).zip(&other.counts) {
            self.counts[(bucket - first) as usize] += count;
        }
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
    fn what_came_since_and_what_came_before_is_the_whole() {
        let of = |values: &[f64]| {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            histogram
        };
        let (before, whole) = (of(&[0.1, 0.2]), of(&[0.1, 0.2, 5.0, 0.001, 0.2]));
        let since = whole.since(&before);
        assert_eq!((since.count, since.counts.len()), (3, of(&[5.0, 0.001]).counts.len()));
        assert_eq!(since.counts.iter().sum::<u64>(), 3);
        let mut again = before.clone();
        again.merge(&since);
        assert_eq!((again.count, again.first, &again.counts), (whole.count, whole.first, &whole.counts));
        assert_eq!(whole.since(&whole).counts, Vec::<u64>::new());
        let mut none = Histogram::default();
        none.merge(&before);
        assert_eq!((none.first, none.counts), (before.first, before.counts));
    }

    #[test]
    fn a_threshold_within_a_bucket_takes_its_share() {
        let mut histogram = Histogram::default();
        (0..100).for_each(|_| histogram.add(0.3));
        let (low, high) = (upper_bound(bucket(0.3) - 1), upper_bound(bucket(0.3)));
        assert_eq!(
            (histogram.at_most(low), histogram.at_most(high), histogram.at_most(9.0)),
            (0.0, 100.0, 100.0)
        );
        assert!((histogram.at_most((low + high) / 2.0) - 50.0).abs() < 1e-6);
        assert_eq!((histogram.bucket_of_rank(100), histogram.bucket_of_rank(101)), (Some(bucket(0.3)), None));
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
