//! Telemetry on its way to a collector that is there, away, busy or in a bad mood.

use crate::receiver::{Mood, Receiver, certificate};
use banyan_core::{Env, Signals, SpanSink, Tasks};
use banyan_telemetry::metrics::Snapshot;
use banyan_telemetry::{
    Exchange, Exporter, Headers, Keeper, Kind, LogLine, Memory, OtlpOptions, Protocol, Recorder, Signal,
    Span, Status, TelemetryOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// How long something may take to arrive.
const ARRIVED_MAX: Duration = Duration::from_secs(30);

/// A memory with an exporter, and the numbers that it tells.
struct Sender {
    memory: Memory,
    recorder: Arc<Recorder>,
    tasks: Tasks,
    _folder: TempDir,
}

impl Sender {
    fn start(options: OtlpOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (env, tasks) = (Env::default(), Tasks::new());
        let path = folder.path().join("telemetry.db");
        let memory = Memory::open(&path, &TelemetryOptions::default(), &env).expect("a memory");
        let exporter = Exporter::start(&options, memory.clone(), &env, &tasks).expect("it is valid");
        let exporter = exporter.expect("it has an endpoint");
        let recorder = Arc::new(Recorder::default());
        exporter.measure(&Signals::new(recorder.clone(), "main"));
        memory.export(exporter);
        Self { memory, recorder, tasks, _folder: folder }
    }

    /// Keeps a span and a line for each of `ids`.
    async fn keep(&self, ids: std::ops::Range<u64>) {
        let batch = Exchange {
            process: "main".into(),
            spans: ids.clone().map(span).collect(),
            lines: ids.map(line).collect(),
            measured: Some(Snapshot::default()),
            ..Exchange::default()
        };
        self.memory.exchange(Arc::new(batch)).await.expect("it is kept");
    }

    /// What it says of a signal: how many were sent, and how many lost.
    fn told(&self, signal: Signal) -> (u64, u64) {
        let name = match signal {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
        };
        let of = |metric: &str| {
            let mut readings = self.recorder.sources().expect("it measures").read().into_iter();
            let found = readings.find(|reading| {
                reading.name == metric && reading.labels.iter().any(|(_, value)| value == name)
            });
            found.map_or(0, |reading| reading.value as u64)
        };
        (of("banyan.telemetry.export.sent"), of("banyan.telemetry.export.lost"))
    }

    async fn stop(self) {
        self.tasks.stop();
        self.tasks.drain(ARRIVED_MAX).await.expect("it ends");
    }
}

fn span(id: u64) -> Span {
    Span {
        trace_id: 1,
        span_id: id + 1,
        parent_id: 0,
        service: "orders".into(),
        process: "main".into(),
        kind: Kind::Server,
        name: "a.v1.Orders/Place".into(),
        started_ns: 1_000 + id,
        duration_ns: 5,
        status: Status::Ok,
        code: String::new(),
        reason: String::new(),
        message: String::new(),
        correlation_id: "c-1".into(),
        attributes: Vec::new(),
        links: Vec::new(),
    }
}

fn line(id: u64) -> LogLine {
    LogLine {
        time_ms: 1_000 + id,
        level: "INFO".into(),
        service: Some("orders".into()),
        message: format!("line {id}"),
        trace_id: None,
        correlation_id: None,
        target: "shop_orders".into(),
        fields: serde_json::Map::new(),
    }
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let looking = async {
        while !look() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(ARRIVED_MAX, looking).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// Waits until spans and lines of all these ids are there, each once.
async fn all_there(receiver: &Receiver, ids: u64) {
    until("all spans and lines are there", || {
        receiver.look(|got| got.spans.len() as u64 >= ids && got.lines.len() as u64 >= ids)
    })
    .await;
    receiver.look(|got| {
        let spans: BTreeSet<_> = got.spans.iter().map(|span| span.span_id).collect();
        let lines: BTreeSet<_> = got.lines.iter().map(|line| line.message.clone()).collect();
        assert_eq!((spans.len() as u64, lines.len() as u64), (ids, ids));
        assert_eq!((got.spans.len() as u64, got.lines.len() as u64), (ids, ids), "none came twice");
    });
}

fn options(scheme: &str, address: std::net::SocketAddr, protocol: Protocol) -> OtlpOptions {
    let endpoint = Some(format!("{scheme}://{address}"));
    OtlpOptions { endpoint, protocol, measurements_every_ms: 1_000, ..OtlpOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_collector_is_verified_and_knows_who_sends() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = certificate(folder.path());
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let (receiver, tasks) = (Receiver::default(), Tasks::new());
        let address = receiver.start(Some(&files), &tasks).await;
        let headers = Headers(BTreeMap::from([("authorization".to_owned(), "Bearer abc".to_owned())]));
        let trusting = OtlpOptions {
            ca_file: Some(PathBuf::from(&files[0])),
            headers: headers.clone(),
            ..options("https", address, protocol)
        };
        // The certificates of the machine do not vouch for this one.
        let wary = Sender::start(OtlpOptions { headers, ..options("https", address, protocol) });
        wary.keep(0..5).await;
        let sender = Sender::start(trusting);
        sender.keep(0..5).await;
        all_there(&receiver, 5).await;
        until("measurements arrive", || receiver.look(|got| !got.measured.is_empty())).await;
        receiver.look(|got| {
            assert_eq!(got.headers["authorization"], "Bearer abc");
            assert!(got.headers["user-agent"].to_str().is_ok_and(|agent| agent.contains("Banyan")));
        });
        assert_eq!(wary.told(Signal::Traces).0, 0, "it sent to somebody that it did not know");
        wary.stop().await;
        sender.stop().await;
        tasks.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_later_waits_and_what_is_refused_is_counted() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let (receiver, tasks) = (Receiver::default(), Tasks::new());
        let address = receiver.start(None, &tasks).await;
        receiver.is(Mood::Busy);
        let sender = Sender::start(options("http", address, protocol));
        for batch in 0..10 {
            sender.keep(batch * 10..batch * 10 + 10).await;
        }
        until("it has tried again", || receiver.look(|got| got.requests > 3)).await;
        assert_eq!(sender.told(Signal::Traces), (0, 0));
        receiver.is(Mood::Takes);
        all_there(&receiver, 100).await;
        until("all are counted", || sender.told(Signal::Traces) == (100, 0)).await;
        until("all are counted", || sender.told(Signal::Logs) == (100, 0)).await;

        receiver.is(Mood::Refuses);
        sender.keep(100..110).await;
        until("refused spans are lost", || sender.told(Signal::Traces) == (100, 10)).await;
        until("refused lines are lost", || sender.told(Signal::Logs) == (100, 10)).await;
        receiver.is(Mood::Partly);
        sender.keep(110..120).await;
        until("two of ten are lost", || sender.told(Signal::Traces) == (108, 12)).await;
        until("two of ten are lost", || sender.told(Signal::Logs) == (108, 12)).await;
        sender.stop().await;
        tasks.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_lost_from_the_oldest_on_and_nothing_else() {
    let (receiver, tasks) = (Receiver::default(), Tasks::new());
    let address = receiver.start(None, &tasks).await;
    receiver.is(Mood::Busy);
    let signals = vec![Signal::Traces];
    let sender = Sender::start(OtlpOptions {
        waiting_mib_max: 1,
        signals,
        ..options("http", address, Protocol::Http)
    });
    let all = 30_000;
    for first in (0..all).step_by(1_000) {
        sender.keep(first..first + 1_000).await;
    }
    let lost = sender.told(Signal::Traces).1;
    assert!(lost > 0 && lost < all, "{lost} of {all} do not fit into a MiB");
    receiver.is(Mood::Takes);
    until("the rest is sent", || {
        let (sent, lost) = sender.told(Signal::Traces);
        sent + lost == all
    })
    .await;
    let (sent, _) = sender.told(Signal::Traces);
    receiver.look(|got| {
        let newest: BTreeSet<_> = got.spans.iter().map(|span| span.span_id).collect();
        assert_eq!(newest.len() as u64, sent);
        assert!(newest.contains(&all), "the newest is there");
        assert!(got.lines.is_empty() && got.measured.is_empty(), "only traces were wanted");
    });
    sender.stop().await;
    tasks.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_when_the_system_stops_is_sent() {
    let (receiver, tasks) = (Receiver::default(), Tasks::new());
    let address = receiver.start(None, &tasks).await;
    let sender = Sender::start(options("http", address, Protocol::Grpc));
    sender.keep(0..10).await;
    sender.keep(10..20).await;
    sender.stop().await;
    all_there(&receiver, 20).await;
    tasks.stop();
}
