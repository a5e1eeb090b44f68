//! A real collector (Rotel) takes everything that the shop keeps, by gRPC and by HTTP, also what was kept while it was away, and
//! passes it on to the test.

use crate::export::web;
use crate::support::{Draft, Person, Setup, Shop, list, order_id, until};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use banyan::core::Tasks;
use banyan_engines::{Engine, Kind, Options};
use banyan_telemetry::metrics::Snapshot;
use banyan_telemetry::{LogLine, Span, otlp};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// How long until something has arrived.
const ARRIVED_MAX: Duration = Duration::from_secs(60);
/// Bytes of a request.
const BODY_MAX: usize = 32 << 20;

/// What the collector has passed on.
#[derive(Default)]
struct Got {
    spans: Vec<Span>,
    lines: Vec<LogLine>,
    measured: Vec<Snapshot>,
}

type Passed = Arc<Mutex<Got>>;

async fn receiver(passed: &Passed, tasks: &Tasks) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let router = Router::new().fallback(take).with_state(passed.clone());
    tasks.spawn_until_stopped("receiver", async move {
        axum::serve(listener, router).await.expect("it serves");
    });
    url
}

async fn take(State(passed): State<Passed>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = to_bytes(request.into_body(), BODY_MAX).await.expect("it ends");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).expect("Rotel compresses");
    let mut got = passed.lock().expect("no test panics with it");
    match path.as_str() {
        "/v1/traces" => got.spans.extend(otlp::decode(&plain).expect("spans")),
        "/v1/logs" => got.lines.extend(otlp::decode_lines(&plain).expect("lines")),
        "/v1/metrics" => got.measured.push(Snapshot::decode(&plain).expect("measurements")),
        other => panic!("{other}"),
    }
    Response::new(Body::empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_all_of_it_over_grpc() {
    nothing_is_lost("grpc").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_all_of_it_over_http() {
    nothing_is_lost("http").await;
}

/// Buys something while the collector is there and while it is away, and compares what it has with what the shop keeps.
async fn nothing_is_lost(protocol: &str) {
    let (passed, tasks) = (Passed::default(), Tasks::new());
    let url = receiver(&passed, &tasks).await;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let to_us = ["--exporter", "otlp", "--otlp-exporter-protocol", "http"];
    let to_us = to_us.into_iter().chain(["--otlp-exporter-endpoint", &url]);
    let options = Options::in_folder(folder.path()).arguments(to_us);
    let rotel = Engine::start(Kind::Rotel, options).await.expect("Rotel starts");
    let endpoint = match protocol {
        "grpc" => rotel.url().to_owned(),
        _ => format!("http://127.0.0.1:{}", rotel.inner_ports()[0]),
    };
    let setup = Setup::apart()
        .set(&format!("telemetry.otlp.endpoint={endpoint}"))
        .set(&format!("telemetry.otlp.protocol={protocol}"))
        .set("telemetry.otlp.measurements_every_ms=1000");
    let shop = Shop::start(setup).await;
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(1_000, 10).await;
    customer.buy(&Draft::of(&lamp, 1)).await;
    until(ARRIVED_MAX, "spans arrive", || async { look(&passed, |got| !got.spans.is_empty()).then_some(()) })
        .await;
    // Told to end it passes on what it has taken; killed, it would lose that, and nobody could send it again.
    rotel.stop().await.expect("it can be stopped");
    let away = order_id(&customer.buy(&Draft::of(&lamp, 1)).await);
    until(ARRIVED_MAX, "spans wait for the collector", || async {
        (number(&shop, "banyan_telemetry_export_waiting_bytes").await > 0.0).then_some(())
    })
    .await;
    rotel.restart().await.expect("it starts again");

    let kept = until(ARRIVED_MAX, "the collector has every span that the shop keeps", || async {
        let kept = kept_spans(&shop).await;
        let got: BTreeSet<_> =
            look(&passed, |got| got.spans.iter().map(|span| format!("{:016x}", span.span_id)).collect());
        (kept.is_subset(&got) && shop.command(&["traces", "show", &away]).await.is_ok()).then_some(kept)
    })
    .await;
    until(ARRIVED_MAX, "lines and measurements arrive", || async {
        let measured = |got: &Got| {
            let mut names = got.measured.iter().flat_map(|one| &one.histograms);
            names.any(|series| {
                series.name == "rpc.server.call.duration"
                    && series.labels.contains(&("service.name".to_owned(), "payments".to_owned()))
            })
        };
        let logged = |got: &Got| {
            got.lines.iter().any(|line| line.service.as_deref() == Some("payments") && line.level == "INFO")
        };
        look(&passed, |got| measured(got) && logged(got)).then_some(())
    })
    .await;
    assert_eq!(number(&shop, "banyan_telemetry_export_lost_total").await, 0.0);
    println!("{} spans over {protocol}, none lost", kept.len());
    shop.stop().await;
    tasks.stop();
}

fn look<T>(passed: &Passed, look: impl FnOnce(&Got) -> T) -> T {
    look(&passed.lock().expect("no test panics with it"))
}

/// The ids of all spans in the shop's own memory.
async fn kept_spans(shop: &Shop) -> BTreeSet<String> {
    let traces = shop.command(&["traces", "--limit", "1000"]).await.expect("it lists");
    let mut ids = BTreeSet::new();
    for trace in list(&traces["traces"]) {
        let id = trace["trace_id"].as_str().expect("an id").to_owned();
        let Ok(shown) = shop.command(&["traces", "show", &id]).await else { continue };
        ids.extend(
            list(&shown["spans"])
                .iter()
                .filter_map(|span: &Value| span["span_id"].as_str().map(str::to_owned)),
        );
    }
    ids
}

/// The sum of a number over its series, as the shop exposes it.
async fn number(shop: &Shop, name: &str) -> f64 {
    let console = shop.status().await.expect("it runs")["console"].as_str().expect("a URL").to_owned();
    let text = web::get(&format!("{console}/metrics")).await.expect("the console answers");
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
