//! What work tells about itself while it runs: spans, on their way to whoever records them, and what the parts of a process
//! have at the moment ([`Signals::measure`]).
//!
//! The recorder is injected with the [`crate::Env`], so that two systems in one process do not mix, and a system without
//! one pays nothing: no clock is read and nothing is allocated.

use crate::{Attribute, Attributes, Blame, Code, Context, Error, Measured, Readings, Sources, TraceContext};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// What a thread works on at the moment: what a log line written there belongs to.
#[derive(Clone, Debug)]
pub struct Current {
    pub trace: TraceContext,
    pub correlation_id: Arc<str>,
    /// The service that works; absent where nobody records.
    pub service: Option<&'static str>,
}

thread_local!(static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) });

/// Returns what this thread works on, if it is within a [`Context::within`].
pub fn current() -> Option<Current> {
    CURRENT.with_borrow(Clone::clone)
}

/// Takes finished spans. It is called on the hot path: it must neither block nor fail.
pub trait SpanSink: Send + Sync + 'static {
    fn finished(&self, span: &SpanRecord);

    /// Returns those that are asked for numbers, if anybody measures.
    fn sources(&self) -> Option<&Sources> {
        None
    }
}

/// Where the spans of one service go; nowhere by default.
///
/// Every span has one, on whichever thread, so it is a plain reference: to count copies, threads would have to wait for each
/// other. What it refers to, the sink included, therefore lives as long as the process; there is one for each service.
#[derive(Clone, Copy, Default)]
pub struct Signals(Option<&'static Scope>);

struct Scope {
    sink: Arc<dyn SpanSink>,
    service: Box<str>,
    /// Those of all services whose spans go to `sink`.
    all: Arc<Mutex<Vec<&'static Scope>>>,
}

impl Signals {
    /// Sends spans to `sink`, in the name of `service`.
    pub fn new(sink: Arc<dyn SpanSink>, service: &str) -> Self {
        Self(Some(Scope::of(&sink, service, &Arc::default())))
    }

    /// Returns the same way for spans of another service.
    #[must_use]
    pub fn for_service(&self, service: &str) -> Self {
        Self(self.0.map(|scope| Scope::of(&scope.sink, service, &scope.all)))
    }

    /// Has `ask` tell what there is, every few seconds, for as long as the answer is kept. It is called on any thread, must
    /// not block, and should hold what it tells of, not who keeps the answer.
    pub fn measure(&self, ask: impl Fn(&mut Readings<'_>) + Send + Sync + 'static) -> Measured {
        let Some(scope) = self.0 else { return Measured::default() };
        scope.sink.sources().map_or_else(Measured::default, |sources| sources.add(&scope.service, ask))
    }

    /// Returns whether anybody records.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

impl Scope {
    /// Returns the one of a service, which is made once.
    fn of(sink: &Arc<dyn SpanSink>, service: &str, all: &Arc<Mutex<Vec<&'static Scope>>>) -> &'static Self {
        let mut known = all.lock();
        if let Some(scope) = known.iter().find(|scope| *scope.service == *service) {
            return scope;
        }
        let scope = Self { sink: sink.clone(), service: service.into(), all: all.clone() };
        let scope: &'static Self = Box::leak(Box::new(scope));
        known.push(scope);
        scope
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signals").field(&self.0.map(|scope| &*scope.service)).finish()
    }
}

/// What part of a conversation a span is (OpenTelemetry's span kinds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SpanKind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// How a span's work ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanOutcome {
    Ok,
    /// It failed, with the message that the caller may read; `server` says that the caller is not to blame.
    Failed {
        code: Code,
        reason: String,
        message: String,
        server: bool,
    },
    /// It was dropped before it ended: its caller went away, or the deadline passed.
    Cancelled,
}

/// One finished piece of work.
#[derive(Clone, Debug)]
pub struct SpanRecord {
    pub trace: TraceContext,
    /// The span that it is part of; 0 for the first one of a trace.
    pub parent_id: u64,
    /// Spans that led to this one without waiting for it.
    pub links: Vec<TraceContext>,
    pub kind: SpanKind,
    pub name: Cow<'static, str>,
    pub service: &'static str,
    /// Ties together everything that follows from one request.
    pub correlation_id: Arc<str>,
    pub started_at: Instant,
    pub duration: Duration,
    pub outcome: SpanOutcome,
    /// Attributes that all spans of its sort have.
    pub constants: &'static [(&'static str, &'static str)],
    pub attributes: Attributes,
}

/// Records of ended spans that a thread keeps for its next ones: what was used last is still in the processor's cache.
const SPARE_MAX: usize = 64;
/// Bytes of attributes that such a record holds on to, at most.
const SPARE_BYTES_MAX: usize = 4_096;

type Boxes = Vec<Box<SpanRecord>>;
thread_local!(static SPARE: RefCell<Boxes> = const { RefCell::new(Vec::new()) });

/// A piece of work that is being done. It is recorded when it is ended or dropped.
#[must_use = "a span that is dropped at once measures nothing"]
pub struct ActiveSpan(Option<Live>);

struct Live {
    scope: &'static Scope,
    clock: crate::Clock,
    /// In a box: it is moved many times on its way.
    record: Box<SpanRecord>,
}

impl Context {
    /// Begins a span within this one's, and returns the context for what is done in it.
    pub fn begin(&self, kind: SpanKind, name: impl Into<Cow<'static, str>>) -> (Context, ActiveSpan) {
        let cx = self.child_span();
        let span = cx.begin_here(self.trace().span_id, kind, name);
        (cx, span)
    }

    /// Begins the span that this context already is; `parent_id` is 0 if the trace begins here.
    pub fn begin_here(
        &self,
        parent_id: u64,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> ActiveSpan {
        ActiveSpan(self.signals().0.map(|scope| {
            let clock = self.env().clock.clone();
            let record = SpanRecord::boxed(SpanRecord {
                trace: self.trace(),
                parent_id,
                links: Vec::new(),
                kind,
                name: name.into(),
                service: &scope.service,
                correlation_id: self.correlation().clone(),
                started_at: clock.now(),
                duration: Duration::ZERO,
                outcome: SpanOutcome::Cancelled,
                constants: &[],
                attributes: Attributes::default(),
            });
            Live { scope, clock, record }
        }))
    }
}

impl ActiveSpan {
    /// Returns a span that nobody records.
    pub fn none() -> Self {
        Self(None)
    }

    /// Returns whether it is recorded: what only describes it need not be computed otherwise.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Says what is said of all work of this sort, by names of `docs/specs/telemetry.md`; costs nothing.
    pub fn constants(&mut self, constants: &'static [(&'static str, &'static str)]) {
        if let Some(live) = &mut self.0 {
            live.record.constants = constants;
        }
    }

    /// Says something about the work, by a name of `docs/specs/telemetry.md`. Never a secret.
    pub fn attribute<'a>(&mut self, name: &str, value: impl Into<Attribute<'a>>) {
        if let Some(live) = &mut self.0 {
            live.record.attributes.push(name, value.into());
        }
    }

    /// Gives the work the name that is known only now.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(live) = &mut self.0 {
            live.record.name = name.into();
        }
    }

    /// Says which request the work follows from, where the context does not know.
    pub fn correlation_id(&mut self, id: &str) {
        if let Some(live) = &mut self.0 {
            live.record.correlation_id = id.into();
        }
    }

    /// Names a span that led to this one without waiting for it.
    pub fn link(&mut self, to: TraceContext) {
        if let Some(live) = &mut self.0 {
            live.record.links.push(to);
        }
    }

    /// Returns the place of the work in its trace, for others to link to; `None` if it is not recorded.
    pub fn trace(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|live| live.record.trace)
    }

    /// Ends the span with the outcome of its work.
    pub fn end<T>(mut self, outcome: &Result<T, Error>) {
        if let Some(live) = &mut self.0 {
            live.record.outcome = match outcome {
                Ok(_) => SpanOutcome::Ok,
                Err(error) => SpanOutcome::of(error),
            };
        }
    }
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        if let Some(mut live) = self.0.take() {
            live.record.duration = live.clock.now().saturating_duration_since(live.record.started_at);
            live.scope.sink.finished(&live.record);
            live.record.spare();
        }
    }
}

impl SpanRecord {
    /// Puts a record in a box, one that an ended span left if there is any.
    fn boxed(record: Self) -> Box<Self> {
        let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop());
        let Ok(Some(mut spare)) = spare else { return Box::new(record) };
        let mut attributes = std::mem::take(&mut spare.attributes);
        attributes.clear();
        *spare = Self { attributes, ..record };
        spare
    }

    /// Leaves the box to the next span of this thread.
    fn spare(self: Box<Self>) {
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut()
                && spare.len() < SPARE_MAX
                && self.attributes.capacity() <= SPARE_BYTES_MAX
            {
                spare.push(self);
            }
        });
    }
}

impl Current {
    pub(crate) fn of(cx: &Context) -> Self {
        Self {
            trace: cx.trace(),
            correlation_id: cx.correlation().clone(),
            service: cx.signals().0.map(|scope| &*scope.service),
        }
    }

    /// Polls something that works on `this`. A panic in it leaves the thread with a wrong idea until the next poll of this
    /// kind: only log lines show it.
    pub(crate) fn poll<T>(this: &mut Option<Self>, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
        let before = CURRENT.replace(this.take());
        let polled = poll();
        *this = CURRENT.replace(before);
        polled
    }
}

impl SpanOutcome {
    fn of(error: &Error) -> Self {
        Self::Failed {
            code: error.code(),
            reason: error.reason().to_owned(),
            message: error.message().to_owned(),
            server: error.blame() != Blame::Caller,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Env, Identity};

    #[derive(Default)]
    struct Kept(Mutex<Vec<SpanRecord>>);

    impl SpanSink for Kept {
        fn finished(&self, span: &SpanRecord) {
            self.0.lock().push(span.clone());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_span_tells_how_long_it_took_how_it_ended_and_in_whose_name() {
        let kept = Arc::new(Kept::default());
        let mut env = Env::simulated(1, 0);
        env.signals = Signals::new(kept.clone(), "orders");
        let cx = Context::new(&env, Identity::anonymous());
        let (inner, mut span) = cx.begin(SpanKind::Client, "charge");
        span.attribute("attempt", 2_u64);
        tokio::time::advance(Duration::from_millis(5)).await;
        let (_, unfinished) =
            inner.with_signals(&env.signals.for_service("payments")).begin(SpanKind::Server, "x");
        drop(unfinished);
        span.end(&Err::<(), _>(Error::deadline_exceeded()));

        let spans = std::mem::take(&mut *kept.0.lock());
        let [callee, caller] = &spans[..] else { panic!("two spans ended: {spans:?}") };
        assert_eq!((callee.service, &callee.outcome), ("payments", &SpanOutcome::Cancelled));
        assert_eq!((caller.service, caller.duration), ("orders", Duration::from_millis(5)));
        assert_eq!((callee.parent_id, caller.parent_id), (caller.trace.span_id, cx.trace().span_id));
        assert_eq!(caller.attributes.iter().collect::<Vec<_>>(), [("attempt", Attribute::Number(2))]);
        let SpanOutcome::Failed { code, server, .. } = &caller.outcome else {
            panic!("{:?}", caller.outcome)
        };
        assert!(*code == Code::DeadlineExceeded && *server);
    }

    #[tokio::test]
    async fn what_is_logged_within_a_context_belongs_to_it() {
        let (outer, inner) = (Context::background(), Context::background());
        let seen = outer.within(async {
            tokio::task::yield_now().await;
            inner.within(async { Ok(()) }).await?;
            Ok(current().map(|current| current.trace))
        });
        assert_eq!(seen.await.expect("it ends"), Some(outer.trace()));
        assert!(current().is_none());
    }

    #[test]
    fn nothing_is_recorded_where_nobody_listens() {
        let (cx, mut span) = Context::background().begin(SpanKind::Internal, "x");
        span.attribute("a", true);
        assert!(!span.is_recorded() && !cx.signals().is_on());
    }
}
