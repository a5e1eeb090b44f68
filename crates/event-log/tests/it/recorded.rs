//! What a part of the platform told while a test ran: spans, readings, log lines.

use banyan_core::{Current, Sources, SpanRecord, SpanSink, current};
use parking_lot::Mutex;
use std::sync::Arc;

/// Keeps the spans that ended, and asks for readings.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) spans: Mutex<Vec<SpanRecord>>,
    sources: Sources,
}

impl SpanSink for Recorded {
    fn finished(&self, span: &SpanRecord) {
        self.spans.lock().push(span.clone());
    }

    fn sources(&self) -> Option<&Sources> {
        Some(&self.sources)
    }
}

impl Recorded {
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.sources.read().into_iter().find(|reading| reading.name == name).map(|reading| reading.value)
    }
}

/// What the lines belonged to that one part of the platform logged on this thread.
#[derive(Clone)]
pub(crate) struct Lines {
    part: &'static str,
    pub(crate) belonged_to: Arc<Mutex<Vec<Option<Current>>>>,
}

impl Lines {
    /// Listens to the modules whose path begins with `part`.
    pub(crate) fn of(part: &'static str) -> Self {
        Self { part, belonged_to: Arc::default() }
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with(self.part)
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.belonged_to.lock().push(current());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
