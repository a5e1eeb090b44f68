//! Which traces are kept, decided when their spans are known rather than when they begin.
//!
//! A trace is kept if one of its spans failed or was slow, in whichever process, or if it is one of the few a second that
//! are kept as examples, with a share for each kind of request. Every process holds the spans of the last seconds, tells the
//! others which traces it found worth keeping, and is told by them; what nobody asked for in time is forgotten.

use crate::TelemetryOptions;
use crate::packed::{Entry, Packed};
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Spans of one trace that are kept; a loop must not fill the memory.
const SPANS_PER_TRACE_MAX: usize = 5_000;
/// Traces whose later spans are kept too.
const KEPT_MAX: usize = 20_000;
/// Kinds of requests that have a share of the examples; what is more has one together.
const KINDS_MAX: usize = 200;
/// A kind that has not been seen for so long leaves its share to the others.
const KIND_IDLE_MAX: Duration = Duration::from_secs(10);

/// The spans that wait for their trace's verdict.
pub(crate) struct Tail {
    slow_ns: u64,
    held_for: Duration,
    held_max: usize,
    /// What was added, oldest first.
    held: VecDeque<Held>,
    spans_held: usize,
    /// How many of `held`, the newest, were not looked through yet for what is kept.
    unseen: usize,
    kept: HashMap<u128, usize>,
    kept_order: VecDeque<u128>,
    /// The traces in `kept` of which earlier spans may still be held.
    fresh: HashSet<u128>,
    examples: Examples,
    news: HashSet<u128>,
    crowded_out: u64,
    /// Rows that were forgotten.
    spent: Vec<Packed>,
}

struct Held {
    since: Instant,
    spans: Packed,
}

impl Tail {
    pub(crate) fn new(options: &TelemetryOptions, now: Instant) -> Self {
        Self {
            slow_ns: u64::try_from(options.slow().as_nanos()).unwrap_or(u64::MAX),
            held_for: options.held(),
            held_max: options.spans_held_max,
            held: VecDeque::new(),
            spans_held: 0,
            unseen: 0,
            kept: HashMap::new(),
            kept_order: VecDeque::new(),
            fresh: HashSet::new(),
            examples: Examples::new(options.traces_per_second, now),
            news: HashSet::new(),
            crowded_out: 0,
            spent: Vec::new(),
        }
    }

    /// Takes finished spans.
    pub(crate) fn add(&mut self, spans: Packed, now: Instant) {
        for entry in spans.entries() {
            let id = entry.trace_id;
            let remarkable = entry.failed || entry.duration_ns >= self.slow_ns;
            if (remarkable || entry.first)
                && !self.kept.contains_key(&id)
                && (remarkable || self.examples.take(spans.name(*entry), now))
            {
                self.keep(id);
                self.news.insert(id);
            }
        }
        self.spans_held += spans.len();
        self.unseen += 1;
        self.held.push_back(Held { since: now, spans });
    }

    /// Keeps a trace that another process found worth keeping.
    pub(crate) fn mark(&mut self, trace_id: u128) {
        if !self.kept.contains_key(&trace_id) {
            self.keep(trace_id);
        }
    }

    /// Hands out the spans of kept traces, each once, and forgets what waited too long or is too much.
    pub(crate) fn take(&mut self, now: Instant, mut out: impl FnMut(&Packed, Entry)) {
        let fresh = std::mem::take(&mut self.fresh);
        let seen = self.held.len() - std::mem::take(&mut self.unseen);
        // What was looked through before has only what was not kept then.
        let from = if fresh.is_empty() { seen } else { 0 };
        for (at, held) in self.held.iter_mut().enumerate().skip(from) {
            for index in 0..held.spans.len() {
                let entry = held.spans.entries()[index];
                if entry.taken || at < seen && !fresh.contains(&entry.trace_id) {
                    continue;
                }
                let Some(count) = self.kept.get_mut(&entry.trace_id) else { continue };
                *count += 1;
                if *count <= SPANS_PER_TRACE_MAX {
                    out(&held.spans, entry);
                } else {
                    self.crowded_out += 1;
                }
                held.spans.mark_taken(index);
            }
        }
        self.forget(now);
    }

    /// Takes the traces that this process decided to keep.
    pub(crate) fn take_news(&mut self) -> Vec<u128> {
        self.news.drain().collect()
    }

    /// Takes the rows that were forgotten, to be filled again.
    pub(crate) fn take_spent(&mut self) -> impl Iterator<Item = Packed> {
        self.spent.drain(..)
    }

    /// Returns how many spans were forgotten before their time so far, because there were too many: a trace that turned out to
    /// be worth keeping lacks them.
    pub(crate) fn crowded_out(&self) -> u64 {
        self.crowded_out
    }

    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.held.front() {
            let is_old = now.saturating_duration_since(oldest.since) > self.held_for;
            if !is_old && self.spans_held <= self.held_max {
                return;
            }
            self.spans_held -= oldest.spans.len();
            if !is_old {
                self.crowded_out += oldest.spans.entries().iter().filter(|entry| !entry.taken).count() as u64;
            }
            self.spent.extend(self.held.pop_front().map(|held| held.spans));
        }
    }

    fn keep(&mut self, id: u128) {
        self.kept.insert(id, 0);
        self.fresh.insert(id);
        self.kept_order.push_back(id);
        if self.kept_order.len() > KEPT_MAX
            && let Some(oldest) = self.kept_order.pop_front()
        {
            self.kept.remove(&oldest);
        }
    }
}

/// Lets a number of traces through a second, and a second's worth at once. The kinds of requests that are asked for share it
/// evenly, so that many of one kind do not leave none for another; each has at least one.
struct Examples {
    per_second: f64,
    kinds: HashMap<Box<str>, Bucket>,
    /// When kinds that are idle were looked for.
    swept: Instant,
}

struct Bucket {
    full: f64,
    at: Instant,
}

impl Examples {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: f64::from(per_second), kinds: HashMap::new(), swept: now }
    }

    fn take(&mut self, kind: &str, now: Instant) -> bool {
        if self.per_second == 0.0 {
            return false;
        }
        if now.saturating_duration_since(self.swept) > KIND_IDLE_MAX / 10 {
            self.kinds.retain(|_, bucket| now.saturating_duration_since(bucket.at) <= KIND_IDLE_MAX);
            self.swept = now;
        }
        if !self.kinds.contains_key(kind) {
            let kind = if self.kinds.len() < KINDS_MAX { kind } else { "" };
            self.kinds.entry(kind.into()).or_insert(Bucket { full: f64::INFINITY, at: now });
        }
        let share = self.per_second / self.kinds.len() as f64;
        let kind = if self.kinds.contains_key(kind) { kind } else { "" };
        let Some(bucket) = self.kinds.get_mut(kind) else { return false };
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * share;
        bucket.full = (bucket.full + gained).min(share.max(1.0));
        bucket.at = now;
        let taken = bucket.full >= 1.0;
        if taken {
            bucket.full -= 1.0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::tests::attributes;
    use banyan_core::{Attributes, Code, SpanKind, SpanOutcome, SpanRecord, TraceContext};
    use std::sync::Arc;

    fn span(trace_id: u128, parent_id: u64) -> SpanRecord {
        SpanRecord {
            trace: TraceContext { trace_id, span_id: 1, sampled: true },
            parent_id,
            links: Vec::new(),
            kind: SpanKind::Server,
            name: "x".into(),
            service: "orders",
            correlation_id: Arc::from("c"),
            started_at: Instant::now(),
            duration: Duration::from_millis(1),
            outcome: SpanOutcome::Ok,
            constants: &[],
            attributes: Attributes::default(),
        }
    }

    impl Tail {
        fn put(&mut self, span: SpanRecord) {
            let mut packed = Packed::default();
            packed.push(&span, Instant::now());
            self.add(packed, Instant::now());
        }

        /// Takes the spans of kept traces: the trace and the name of each.
        fn taken(&mut self) -> Vec<(u128, String)> {
            let mut taken = Vec::new();
            self.take(Instant::now(), |spans, entry| {
                taken.push((entry.trace_id, spans.name(entry).to_owned()))
            });
            taken
        }
    }

    fn failed(span: SpanRecord) -> SpanRecord {
        let outcome = SpanOutcome::Failed {
            code: Code::Internal,
            reason: "INTERNAL".into(),
            message: String::new(),
            server: true,
        };
        SpanRecord { outcome, ..span }
    }

    fn options(traces_per_second: u32) -> TelemetryOptions {
        TelemetryOptions { traces_per_second, spans_held_max: 1_000, ..TelemetryOptions::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_brings_back_what_came_before_it_and_keeps_what_comes_later() {
        let mut tail = Tail::new(&options(0), Instant::now());
        tail.put(span(1, 7));
        tail.put(span(1, 0));
        tail.put(span(2, 0));
        assert!(tail.taken().is_empty());
        tail.put(failed(span(1, 7)));
        assert_eq!((tail.taken().len(), tail.take_news()), (3, vec![1]));
        tail.put(span(1, 7));
        assert_eq!((tail.taken().len(), tail.take_news()), (1, vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_span_is_enough_and_another_process_may_ask() {
        let mut tail = Tail::new(&options(0), Instant::now());
        tail.put(SpanRecord { duration: Duration::from_secs(1), ..span(1, 7) });
        tail.put(span(2, 7));
        tail.mark(2);
        tail.mark(3);
        tail.put(span(3, 7));
        let traces: Vec<_> = tail.taken().into_iter().map(|(trace, _)| trace).collect();
        assert_eq!((traces, tail.take_news()), (vec![1, 2, 3], vec![1]));
    }

    #[tokio::test(start_paused = true)]
    async fn examples_are_few_a_second() {
        let mut tail = Tail::new(&options(10), Instant::now());
        for id in 0..100 {
            tail.put(span(id, 0));
        }
        assert_eq!(tail.taken().len(), 10);
        tokio::time::advance(Duration::from_millis(500)).await;
        for id in 100..200 {
            tail.put(span(id, 0));
        }
        assert_eq!(tail.taken().len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn many_of_one_kind_leave_examples_of_another() {
        let mut tail = Tail::new(&options(10), Instant::now());
        let of = |name: &'static str, id| SpanRecord { name: name.into(), ..span(id, 0) };
        let kept =
            |tail: &mut Tail, name: &str| tail.taken().iter().filter(|(_, taken)| taken == name).count();
        (0..100).for_each(|id| tail.put(of("POST /v1/sessions", id)));
        assert_eq!(kept(&mut tail, "POST /v1/sessions"), 10);
        (100..200).for_each(|id| tail.put(of("POST /v1/orders", id)));
        assert_eq!(kept(&mut tail, "POST /v1/orders"), 5);
        tokio::time::advance(Duration::from_secs(1)).await;
        (200..300).for_each(|id| tail.put(of("POST /v1/sessions", id)));
        (300..400).for_each(|id| tail.put(of("POST /v1/orders", id)));
        assert_eq!(tail.taken().len(), 10);
        // A kind that is gone leaves its share.
        for second in 1..=12 {
            tokio::time::advance(Duration::from_secs(1)).await;
            (0..100).for_each(|id| tail.put(of("POST /v1/orders", 1_000 * second + id)));
        }
        tail.taken();
        tokio::time::advance(Duration::from_secs(1)).await;
        (500..600).for_each(|id| tail.put(of("POST /v1/orders", id)));
        assert_eq!(kept(&mut tail, "POST /v1/orders"), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn the_kinds_of_requests_are_bounded_and_a_browsers_trace_is_an_example_too() {
        let mut tail = Tail::new(&options(1), Instant::now());
        for id in 0..1_000u128 {
            let edge = attributes(&[("http.request.method", "GET".into())]);
            let name = format!("GET /{id}").into();
            tail.put(SpanRecord { name, attributes: edge, ..span(id, 7) });
        }
        assert_eq!((tail.taken().len(), tail.examples.kinds.len()), (KINDS_MAX + 1, KINDS_MAX + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_much_or_too_old_is_forgotten() {
        let mut tail = Tail::new(&options(0), Instant::now());
        for id in 0..1_500 {
            tail.put(span(id, 0));
        }
        assert!(tail.taken().is_empty());
        assert_eq!((tail.spans_held, tail.crowded_out()), (1_000, 500));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(tail.taken().is_empty());
        assert_eq!((tail.spans_held, tail.held.len(), tail.crowded_out()), (0, 0, 500));
        // Too late.
        tail.mark(1_400);
        assert!(tail.taken().is_empty());
    }
}
