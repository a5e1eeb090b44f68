//! One request can be followed through everything that it caused, and what is worth it is kept.

use crate::support::{Draft, Person, Setup, Shop, list, order_id, state, until};
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, HOST};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long the last span of an order may take to arrive.
const ARRIVED_MAX: Duration = Duration::from_secs(90);
/// The last things that follow from an order.
const LAST: [&str; 3] = [
    "notifications process shop.orders.v1.OrderConfirmed",
    "loyalty process shop.orders.v1.OrderConfirmed",
    "orders commit confirm",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_one_trace_in_one_process() {
    let processes = one_trace(Setup::one_process()).await;
    assert_eq!(processes, BTreeSet::from(["main".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_one_trace_across_processes() {
    let processes = one_trace(Setup::apart()).await;
    assert!(processes.len() >= 8, "{processes:?}");
}

/// Buys something, checks its trace and returns the processes that took part.
async fn one_trace(setup: Setup) -> BTreeSet<String> {
    let shop = Shop::start(setup).await;
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(1_000, 10).await;
    let order = customer.buy(&Draft::of(&lamp, 1)).await;
    let spans = whole_trace(&shop, &order_id(&order)).await;
    let ids: BTreeSet<_> = spans.iter().map(|span| text(span, "span_id")).collect();
    let first: Vec<_> = spans.iter().filter(|span| !ids.contains(&text(span, "parent_id"))).collect();
    assert_eq!(first.len(), 1, "everything hangs together: {first:?}");
    assert_eq!(named(first[0]), "gateway POST /v1/orders");
    let names: BTreeSet<_> = spans.iter().map(named).collect();
    for expected in [
        "orders shop.orders.v1.OrderService/PlaceOrder",
        "orders publish shop.orders.v1.OrderPlaced",
        "orders step charge_card",
        "payments shop.payments.v1.PaymentService/Charge",
        "payments POST /v1/charges",
    ] {
        assert!(names.contains(expected), "{expected} is not in {names:#?}");
    }
    let failed: Vec<_> = spans.iter().filter(|span| text(span, "status") != "ok").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let slow = shop.command(&["traces", "--min-ms", "3600000"]).await.expect("it lists");
    assert_eq!(
        slow,
        serde_json::json!({"traces": [], "more": false, "looked_through": null}),
        "all was seen"
    );
    let drawn = shop.print(&["traces", "show", &order_id(&order)]).await;
    assert!(drawn.contains("● POST /v1/orders") && drawn.contains("· step charge_card"), "{drawn}");
    let processes = spans.iter().map(|span| text(span, "process")).collect();
    shop.stop().await;
    processes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_kept_whole_wherever_it_failed_and_the_rest_is_forgotten() {
    let mut shop = Shop::start(Setup::apart().set("telemetry.traces_per_second=0")).await;
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(1_000, 10).await;
    let unremarkable = customer.buy(&Draft::of(&lamp, 1)).await;
    // The processor answers with an error first: the step is repeated, and the order goes through.
    let mended = customer.buy(&Draft::of(&lamp, 1).card("tok_error")).await;
    assert_eq!((state(&unremarkable), state(&mended)), ("CONFIRMED", "CONFIRMED"));

    let spans = whole_trace(&shop, &order_id(&mended)).await;
    // The gateway had answered long before the card failed in another process.
    assert!(spans.iter().any(|span| named(span) == "gateway POST /v1/orders"));
    let charges =
        spans.iter().filter(|span| named(span) == "payments shop.payments.v1.PaymentService/Charge");
    let charges: Vec<_> = charges.map(|span| text(span, "status")).collect();
    assert_eq!(charges, ["failed", "ok"], "the call was made again");

    let error = shop.command(&["traces", "show", &order_id(&unremarkable)]).await.unwrap_err();
    assert!(error.contains("no trace was kept"), "{error}");
    // What was kept survives the system's end, and can be read also while nothing runs.
    shop.kill_root().await;
    let kept = shop.command(&["traces", "--failed"]).await.expect("it lists");
    let of_mended = |trace: &Value| text(trace, "correlation_id") == text(&spans[0], "correlation_id");
    assert!(list(&kept["traces"]).iter().any(of_mended), "{kept}");
    shop.restart().await;
    // Spans at the ends of the trace may have come after it was looked at.
    let ids = |spans: &[Value]| spans.iter().map(|span| text(span, "span_id")).collect::<BTreeSet<_>>();
    assert!(ids(&whole_trace(&shop, &order_id(&mended)).await).is_superset(&ids(&spans)));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scraper_gets_numbers_of_all_processes_and_examples_that_can_be_looked_at() {
    let shop = Shop::start(Setup::apart()).await;
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(1_000, 10).await;
    let order = order_id(&customer.buy(&Draft::of(&lamp, 1)).await);
    whole_trace(&shop, &order).await;
    let status = shop.command(&["status"]).await.expect("it runs");
    let console = text(&status, "console");
    let charge = "rpc_server_call_duration_seconds_bucket{service_name=\"payments\",\
                  rpc_method=\"shop.payments.v1.PaymentService/Charge\",rpc_response_status_code=\"OK\",\
                  service_instance_id=\"payments\",";
    let exemplar = until(ARRIVED_MAX, "the charge is counted, with an example", || async {
        let text = scrape(&console, "127.0.0.1", "application/openmetrics-text").await.1;
        let line = text.lines().find(|line| line.starts_with(charge) && line.contains("# {"))?;
        line.split("trace_id=\"").nth(1)?.split('"').next().map(str::to_owned)
    })
    .await;
    let exposed = scrape(&console, "127.0.0.1", "text/plain").await.1;
    let families = |mark: &str| -> BTreeSet<&str> {
        exposed.lines().filter_map(|line| line.strip_prefix(mark)?.split(' ').next()).collect()
    };
    assert_eq!(families("# HELP "), families("# TYPE "), "what is exposed says what it is");
    let trace = shop.command(&["traces", "show", &exemplar]).await.expect("an example is a kept trace");
    assert!(list(&trace["spans"]).iter().any(|span| named(span) == "orders step charge_card"), "{trace}");
    let (status, _) = scrape(&console, "evil.example", "*/*").await;
    assert_eq!(status, 403, "a page under another name gets nothing");
    let logged = shop.command(&["logs", "--service", "payments"]).await.expect("it lists");
    let lines: Vec<_> = list(&logged["lines"]).iter().map(|line| text(line, "message")).collect();
    assert!(lines.contains(&"service started".to_owned()), "{lines:?}");
    shop.stop().await;
}

/// Asks the console for the measurements, under the name `host`; returns status and body.
async fn scrape(console: &str, host: &str, accept: &str) -> (u16, String) {
    let request = Request::get(format!("{console}/metrics")).header(HOST, host).header(ACCEPT, accept);
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.expect("the console answers");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("an answer has an end").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Waits until the last consequences of an order are in its trace, and everything that led to them: processes hand their spans
/// over one by one. Returns its spans.
async fn whole_trace(shop: &Shop, order: &str) -> Vec<Value> {
    until(ARRIVED_MAX, "the trace of the order is whole", || async {
        let trace = shop.command(&["traces", "show", order]).await.ok()?;
        let spans = list(&trace["spans"]);
        let names: BTreeSet<_> = spans.iter().map(named).collect();
        let ids: BTreeSet<_> = spans.iter().map(|span| text(span, "span_id")).collect();
        let begins = |parent: &str| parent.bytes().all(|digit| digit == b'0');
        let is_rooted = |span: &Value| {
            let parent = text(span, "parent_id");
            begins(&parent) || ids.contains(&parent)
        };
        let parents: BTreeSet<_> = spans.iter().map(|span| text(span, "parent_id")).collect();
        // What a call caused in another process comes when that one hands it over.
        let is_answered = |span: &Value| {
            let name = text(span, "name");
            let method = name.strip_prefix("shop.").filter(|method| method.contains('/'));
            let callee = method.and_then(|method| method.split('.').next());
            callee.is_none_or(|callee| text(span, "service") == callee)
                || parents.contains(&text(span, "span_id"))
        };
        let is_whole = LAST.iter().all(|last| names.contains(*last))
            && spans.iter().all(|span| is_rooted(span) && is_answered(span));
        is_whole.then_some(spans)
    })
    .await
}

fn named(span: &Value) -> String {
    format!("{} {}", text(span, "service"), text(span, "name"))
}

fn text(span: &Value, field: &str) -> String {
    span[field].as_str().unwrap_or_default().to_owned()
}
