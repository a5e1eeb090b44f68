//! What was measured is remembered: it outlives the system, and two runs can be set side by side.

use crate::support::{Draft, Person, Setup, Shop, list, order_id, state, until};
use serde_json::Value;
use std::time::Duration;

/// How long measurements may take to arrive.
const MEASURED_MAX: Duration = Duration::from_secs(90);
/// Orders of a run: enough to be judged.
const ORDERS: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_outlives_a_kill_and_a_slower_run_is_told() {
    let mut shop = Shop::start(labelled("before")).await;
    let lamp = shop.admin.product(1_000, 500).await;
    buy(&shop, &lamp).await;
    measured(&shop, "before").await;
    let slos = shop.command(&["slos"]).await.expect("it judges");
    let slos = list(&slos["slos"]);
    let ordering = slos.iter().find(|slo| slo["name"] == "ordering" && slo["indicator"] == "availability");
    let ordering = ordering.expect("the shop promises it");
    assert_eq!((&ordering["good"], &ordering["total"]), (&ORDERS.into(), &ORDERS.into()), "{ordering}");
    assert!(ordering["state"] == "ok" && ordering["burn"]["5m"] == 0.0, "{ordering}");

    shop.kill_root().await;
    let runs = shop.command(&["runs"]).await.expect("it lists");
    assert_eq!(list(&runs["runs"])[0]["state"], "killed", "its last sign of life is fresh: {runs}");
    // It can be read while nothing runs, and a SIGKILL took nothing of what was told.
    let orders = placed(&shop, "before").await.expect("it is remembered");
    assert_eq!(orders["total"]["count"], ORDERS, "{orders}");
    assert!(orders["total"]["p50"].as_f64().is_some_and(|p50| p50 > 0.0), "{orders}");
    let rates: Vec<_> = list(&orders["points"]).iter().map(|point| point["rate"].as_f64()).collect();
    assert!(rates.iter().all(|rate| rate.is_some_and(|rate| rate >= 0.0)), "{rates:?}");

    shop.set_up(labelled("after").set("faults.delay_probability=1").set("faults.delay_ms=300"));
    shop.restart().await;
    buy(&shop, &lamp).await;
    measured(&shop, "after").await;
    assert_eq!(placed(&shop, "before").await.expect("it stays")["total"]["count"], ORDERS);
    let runs = shop.command(&["runs"]).await.expect("it lists");
    let states: Vec<_> = list(&runs["runs"]).iter().map(|run| run["state"].clone()).collect();
    assert_eq!(states, ["running", "killed"], "{runs}");

    let compared = shop.command(&["runs", "compare", "before", "after"]).await.expect("it compares");
    assert_eq!(compared["settings"]["faults.delay_ms"]["after"], "300", "{}", compared["settings"]);
    let verdict = |metric: &str, label: &str, value: &str| {
        let work = list(&compared["work"]);
        let of = |work: &&Value| work["metric"] == metric && work["labels"][label] == value;
        work.iter().find(of).unwrap_or_else(|| panic!("{metric} {value} is not in {work:#?}")).clone()
    };
    let step = verdict("banyan.saga.operation.duration", "banyan.saga.operation", "step reserve_stock");
    assert!(step["verdict"] == "worse" && list(&step["because"]).contains(&"p50".into()), "{step}");
    let slower = step["after"]["p50"].as_f64().zip(step["before"]["p50"].as_f64());
    assert!(slower.is_some_and(|(after, before)| after > before + 0.1), "{step}");
    let request = verdict("http.server.request.duration", "http.route", "/v1/orders");
    let slowest = request["slowest"]["trace_id"].as_str().or(step["slowest"]["trace_id"].as_str());
    let slowest = slowest.expect("what became worse has a trace to look at").to_owned();
    shop.command(&["traces", "show", &slowest]).await.expect("it was kept");
    let refused = shop.command(&["runs", "compare", "--check"]).await.unwrap_err();
    assert!(refused.contains("RUN_WORSE"), "{refused}");
    // The other way round, from a file somewhere else.
    let file = shop.data().join("telemetry.db");
    let file = file.to_str().expect("the folder is UTF-8");
    let back = ["runs", "compare", "after", "before", "--with", file, "--check", "--ms", "150"];
    let better = shop.command(&back).await.expect("nothing became so much worse");
    assert_eq!(better["after"]["run"]["label"], "before");
    let step = |work: &&Value| work["labels"]["banyan.saga.operation"] == "step commit_stock";
    assert_eq!(list(&better["work"]).iter().find(step).expect("it was done")["verdict"], "better");
    let of = async |service: &str| {
        let metrics = shop.command(&["metrics", "--service", service]).await.expect("it lists");
        list(&metrics["metrics"]).iter().map(|metric| metric["name"].clone()).collect::<Vec<_>>()
    };
    let (orders, cart) = (of("orders").await, of("cart").await);
    let sagas = Value::from("banyan.saga.operation.duration");
    assert!(orders.contains(&sagas) && !cart.is_empty() && !cart.contains(&sagas), "{orders:?} {cart:?}");
    let text = shop.print(&["runs", "compare"]).await;
    assert!(text.contains("WORSE") && text.contains("saga orders step reserve_stock"), "{text}");
    shop.stop().await;
}

fn labelled(label: &str) -> Setup {
    // What is slow is kept, whatever else is.
    Setup::apart().set(&format!("telemetry.label={label}"))
}

async fn buy(shop: &Shop, product: &str) {
    let customer = Person::register(&shop.client).await;
    let mut placed = Vec::new();
    for _ in 0..ORDERS {
        placed.push(order_id(&customer.place(&Draft::of(product, 1)).await));
    }
    for order in placed {
        assert_eq!(state(&customer.ended(&order).await), "CONFIRMED");
    }
}

/// Returns the series of orders at the edge of a run; none before the first is measured.
async fn placed(shop: &Shop, run: &str) -> Option<Value> {
    let query = "metrics http.server.request.duration --label http.route=/v1/orders --by none --run";
    let query: Vec<_> = query.split(' ').chain([run]).collect();
    let answer = shop.command(&query).await.ok()?;
    list(&answer["series"]).into_iter().next()
}

/// Waits until every process has told what it did for the orders of a run.
async fn measured(shop: &Shop, run: &str) {
    until(MEASURED_MAX, "all orders are measured", || async {
        let orders = placed(shop, run).await?;
        let query =
            ["metrics", "banyan.saga.operation.duration", "--by", "banyan.saga.operation", "--run", run];
        let sagas = shop.command(&query).await.ok()?;
        let confirmed = list(&sagas["series"])
            .into_iter()
            .find(|series| series["labels"]["banyan.saga.operation"] == "commit confirm")?;
        (orders["total"]["count"] == ORDERS && confirmed["total"]["count"] == ORDERS).then_some(())
    })
    .await;
}
