//! Log lines: what `tracing` events become, with the request and the service they belong to, and without secrets.

use banyan_core::{Clock, current, rfc3339};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that wait to be collected; the oldest is lost then.
const WAITING_MAX: usize = 5_000;
/// Bytes of a message or a field; what is longer is cut.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// Fields whose names hold one of these are not written.
const SECRETS: [&str; 6] = ["password", "secret", "token", "authorization", "cookie", "api_key"];

/// A log line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LogLine {
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// ERROR, WARN, INFO, DEBUG or TRACE.
    pub level: String,
    /// Absent where the line belongs to no service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The module that wrote it.
    pub target: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// The log of a process: what waits to be collected. Cheap to clone.
#[derive(Clone, Default)]
pub struct Logs(Arc<Inner>);

#[derive(Default)]
struct Inner {
    waiting: Mutex<VecDeque<LogLine>>,
    lost: AtomicU64,
    clock: Clock,
}

static INSTALLED: OnceLock<Logs> = OnceLock::new();

impl Logs {
    /// Makes this the log that the process's collector takes from; only the first time. `tracing` knows one subscriber for a
    /// process, whatever runs in it.
    pub fn install(&self) {
        let _ = INSTALLED.set(self.clone());
    }

    /// Returns the log of the process, if it has one.
    pub fn installed() -> Option<&'static Self> {
        INSTALLED.get()
    }

    /// Takes what has been logged since the last call.
    pub fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut *self.0.waiting.lock()).into()
    }

    /// Returns how many lines were lost because nobody collected them in time.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = LogLine::of(event, &self.0.clock);
        let mut waiting = self.0.waiting.lock();
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
        waiting.push_back(line);
    }
}

/// Prints each line as JSON, on standard error by default.
#[derive(Default)]
pub struct JsonLines {
    clock: Clock,
    on_stdout: bool,
}

/// A line as it is printed.
#[derive(Serialize)]
struct Printed {
    /// By RFC 3339, in UTC.
    timestamp: String,
    #[serde(flatten)]
    line: LogLine,
}

impl JsonLines {
    /// Prints on standard output, where platforms collect logs.
    pub fn on_stdout() -> Self {
        Self { on_stdout: true, ..Self::default() }
    }
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = LogLine::of(event, &self.clock);
        if let Ok(text) = serde_json::to_string(&Printed { timestamp: rfc3339(line.time_ms), line }) {
            // A closed output must not stop the work that is logged.
            let _ = match self.on_stdout {
                true => writeln!(std::io::stdout().lock(), "{text}"),
                false => writeln!(std::io::stderr().lock(), "{text}"),
            };
        }
    }
}

impl LogLine {
    fn of(event: &Event<'_>, clock: &Clock) -> Self {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let current = current();
        let service = fields.rest.remove("service").and_then(|value| value.as_str().map(str::to_owned));
        Self {
            time_ms: clock.unix_ms(),
            level: metadata.level().to_string(),
            service: service.or_else(|| current.as_ref()?.service.map(str::to_owned)),
            message: fields.message,
            trace_id: current.as_ref().map(|current| format!("{:032x}", current.trace.trace_id)),
            correlation_id: current.map(|current| current.correlation_id.as_ref().to_owned()),
            target: metadata.target().to_owned(),
            fields: fields.rest,
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if name == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return;
        }
        let lower = name.to_lowercase();
        let value = if SECRETS.iter().any(|secret| lower.contains(secret)) { "…".into() } else { value };
        self.rest.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(format!("{value:?}")).into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value.to_owned()).into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[tokio::test]
    async fn a_line_knows_its_request_and_tells_no_secret() {
        let logs = Logs::default();
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(logs.clone()));
        let cx = banyan_core::Context::background();
        let work = cx.within(async {
            tracing::warn!(service = "orders", attempt = 2, access_token = "abc", "the card {}", "failed");
            Ok(())
        });
        work.await.expect("it ends");
        tracing::info!("outside");
        let lines = logs.take();
        let [card, outside] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((card.level.as_str(), card.message.as_str()), ("WARN", "the card failed"));
        assert_eq!(card.service.as_deref(), Some("orders"));
        assert_eq!(card.trace_id, Some(format!("{:032x}", cx.trace().trace_id)));
        assert_eq!(card.fields.get("attempt"), Some(&2.into()));
        assert!(!serde_json::to_string(card).expect("it is plain").contains("abc"));
        assert!(outside.trace_id.is_none() && logs.take().is_empty());
    }
}
