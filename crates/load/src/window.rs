//! The run over time: windows of equal length, each with its own percentiles.

use crate::limits::{POINTS, WINDOW_MIN};
use crate::record::{histogram, ms};
use crate::shape::Shape;
use crate::summary::Point;
use hdrhistogram::Histogram;
use std::time::Duration;

pub(crate) struct Windows {
    length: Duration,
    shape: Shape,
    done: Vec<Point>,
    points_max: usize,
    current: Current,
}

struct Current {
    latency: Histogram<u64>,
    started: u64,
    dropped: u64,
    answered: u64,
    errors: u64,
}

impl Windows {
    /// Cuts the run into about 240 windows, each at least 250 ms long.
    pub(crate) fn new(shape: &Shape) -> Self {
        let length = (shape.duration() / POINTS).max(WINDOW_MIN);
        let current = Current { latency: histogram(), started: 0, dropped: 0, answered: 0, errors: 0 };
        // What ends after the last arrival has windows too, and an end.
        Self { length, shape: shape.clone(), done: Vec::new(), points_max: 2 * POINTS as usize, current }
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// Ends the windows that are over when so much time has passed.
    pub(crate) fn advance(&mut self, elapsed: Duration) {
        while elapsed >= self.length * (self.done.len() as u32 + 1) && self.done.len() < self.points_max {
            self.end_window(self.length * (self.done.len() as u32 + 1));
        }
    }

    /// Ends the last window at the end of the run.
    pub(crate) fn finish(mut self, elapsed: Duration) -> Vec<Point> {
        self.advance(elapsed);
        let current = &self.current;
        if current.started + current.dropped + current.answered > 0 {
            self.end_window(elapsed);
        }
        self.done
    }

    pub(crate) fn started(&mut self) {
        self.current.started += 1;
    }

    pub(crate) fn dropped(&mut self) {
        self.current.dropped += 1;
    }

    pub(crate) fn answered(&mut self, latency_us: u64, failed: bool) {
        self.current.latency.saturating_record(latency_us);
        self.current.answered += 1;
        self.current.errors += u64::from(failed);
    }

    /// Returns the windows that have ended.
    pub(crate) fn done(&self) -> &[Point] {
        &self.done
    }

    fn end_window(&mut self, end: Duration) {
        let begin = self.length * self.done.len() as u32;
        let current = &mut self.current;
        let at =
            |percent: f64| (current.answered > 0).then(|| ms(current.latency.value_at_percentile(percent)));
        let planned = match &self.shape {
            Shape::Open { stages, .. } => stages.count_until(end) - stages.count_until(begin),
            Shape::Closed { .. } => current.started as f64,
        };
        self.done.push(Point {
            at_s: end.as_secs_f64(),
            planned,
            started: current.started,
            dropped: current.dropped,
            answered: current.answered,
            errors: current.errors,
            p50: at(50.0),
            p95: at(95.0),
            p99: at(99.0),
            max: at(100.0),
        });
        current.latency.reset();
        (current.started, current.dropped, current.answered, current.errors) = (0, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_in_its_window() {
        let shape = Shape::Closed { users: 1, duration: Duration::from_secs(240) };
        let mut windows = Windows::new(&shape);
        assert_eq!(windows.length(), Duration::from_secs(1));
        windows.started();
        windows.answered(1_000, false);
        windows.advance(Duration::from_millis(2_500));
        windows.answered(5_000, true);
        assert_eq!(windows.done().len(), 2);
        let points = windows.finish(Duration::from_millis(2_600));
        let seen: Vec<_> =
            points.iter().map(|p| (p.at_s, p.started, p.answered, p.errors, p.max.is_some())).collect();
        assert_eq!(seen, [(1.0, 1, 1, 0, true), (2.0, 0, 0, 0, false), (2.6, 0, 1, 1, true)]);
    }
}
