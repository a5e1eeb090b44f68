//! Events published to the embedded event log.

use super::BODY_BYTES;
use crate::load::{Caller, Done, closed_loop};
use anyhow::Result;
use banyan_core::{Context, Envelope};
use banyan_event_log::{EmbeddedLog, EmbeddedOptions, EventLog};
use bytes::Bytes;
use std::path::Path;
use std::time::Duration;

/// Returns what the publishers did, and how many events shared one sync.
pub(super) async fn turn(
    folder: &Path,
    cx: &Context,
    publishers: usize,
    length: Duration,
) -> Result<(Done, f64)> {
    let log = EmbeddedLog::open(EmbeddedOptions::new(folder.join("log"), cx.env().clone())).await?;
    let callers = (0..publishers).map(|n| Publisher { log: log.clone(), event: envelope(cx, n) });
    let before = log.syncs();
    let done = closed_loop(callers, length).await?;
    let group = done.latencies.count() as f64 / (log.syncs() - before).max(1) as f64;
    log.close().await;
    Ok((done, group))
}

struct Publisher {
    log: EmbeddedLog,
    event: Envelope,
}

impl Caller for Publisher {
    async fn call(&mut self) -> Result<()> {
        self.log.publish(vec![self.event.clone()]).await?;
        Ok(())
    }
}

/// Makes an event as a service publishes it; its key is the publisher's own.
fn envelope(cx: &Context, publisher: usize) -> Envelope {
    Envelope {
        id: cx.env().new_id(),
        event_type: "bench.v1.Appended".to_owned(),
        source: "bench".to_owned(),
        topic: "bench".to_owned(),
        key: format!("publisher-{publisher}"),
        time_ms: cx.env().clock.unix_ms(),
        correlation_id: cx.correlation_id().to_owned(),
        traceparent: cx.trace().to_header(),
        reply_to: String::new(),
        payload: Bytes::from_static(&[7; BODY_BYTES]),
    }
}
