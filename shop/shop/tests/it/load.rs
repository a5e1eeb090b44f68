//! `shop load`: customers come at a rate that the shop does not influence; objectives are judged, and the books balance.

use crate::support::{Setup, Shop, seed};
use serde_json::Value;
use std::collections::BTreeSet;

/// How often and how long customers come in a test.
const RATE: [&str; 6] = ["--rate", "20", "--for", "3s", "--arrivals", "uniform"];
const ARRIVALS: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_who_come_at_a_rate_are_all_served_and_the_books_balance() {
    let shop = Shop::start(Setup::one_process().set("telemetry.traces_per_second=1000")).await;
    shop.admin.product(1_000, 10_000).await;
    let (summary, page) = ("summary.json", shop.data().join("load.html"));
    let (summary, page_arg) = (shop.data().join(summary), page.display().to_string());
    let (summary_arg, seed) = (summary.display().to_string(), seed().to_string());
    println!("seed {seed}");
    // The objectives of the scenario are for a machine that does nothing else.
    let mut args =
        vec!["load", "checkout", "--no-file-slos", "--slo", "errors <= 0%", "--slo", "dropped <= 0%"];
    args.extend(RATE);
    // As many users as arrivals: nobody is dropped on a busy machine.
    args.extend(["--in-flight-max", "60", "--seed", &seed, "--report", &page_arg, "--summary", &summary_arg]);
    let load = shop.command(&args).await.expect("the objectives are kept");
    let runs = &load["runs"];
    assert_eq!((&runs["due"], &runs["completed"]), (&ARRIVALS.into(), &ARRIVALS.into()), "{load}");
    let count = |name: &str| {
        let steps = load["steps"].as_array().into_iter().flatten();
        let step = steps.into_iter().find(|step| step["name"] == name);
        step.and_then(|step| step["count"].as_u64()).unwrap_or_default()
    };
    assert_eq!((count("put into cart"), count("check out")), (ARRIVALS, ARRIVALS));
    assert_eq!(count("order (until)"), ARRIVALS, "each order came to its end");
    let written: Value =
        serde_json::from_slice(&std::fs::read(summary).expect("it was written")).expect("JSON");
    assert_eq!(written, load);
    let page = std::fs::read_to_string(page).expect("it was written");
    assert!(page.contains("2 of 2 SLOs kept") && page.contains("/traces/"), "it links to the console");

    // The slowest request can be looked at.
    assert_eq!(load["slowest"][0]["kept"], true, "{}", load["slowest"]);
    let slowest = load["slowest"][0]["trace_id"].as_str().expect("it has a trace");
    let trace = shop.command(&["traces", "show", slowest]).await.expect("its trace was kept");
    let spans = trace["spans"].as_array().into_iter().flatten();
    let services: BTreeSet<_> = spans.filter_map(|span| span["service"].as_str()).collect();
    assert!(services.contains("gateway"), "{services:?}");
    println!("{}", shop.audit().await);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_that_is_slowed_down_breaks_its_objectives() {
    let setup = Setup::one_process().set("faults.delay_probability=1").set("faults.delay_ms=400");
    let shop = Shop::start(setup).await;
    shop.admin.product(1_000, 10_000).await;
    let mut args =
        vec!["load", "checkout", "--no-file-slos", "--in-flight-max", "60", "--slo", "errors < 100%"];
    args.extend(RATE);
    args.extend(["--slo", "check out: p50 < 400ms"]);
    let error = shop.command(&args).await.expect_err("every call takes 400 ms");
    let problem: Value = serde_json::from_str(error.lines().last().unwrap_or_default()).expect("JSON");
    assert_eq!(problem["reason"], "SLO_BROKEN", "{error}");
    let message = problem["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("1 of 2 SLOs broken: check out: p50 < 400ms (measured: "), "{message}");
    shop.audit().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scenarios_that_are_built_in_are_valid_and_run() {
    let shop = Shop::start(Setup::one_process()).await;
    shop.admin.product(1_000, 10_000).await;
    let list = shop.command(&["load", "--list"]).await.expect("it lists");
    let names: Vec<_> =
        list["scenarios"].as_array().into_iter().flatten().map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, ["browse", "checkout", "mixed"]);
    for name in ["browse", "mixed"] {
        let mut args = vec!["load", name, "--no-file-slos", "--in-flight-max", "40", "--slo", "errors <= 0%"];
        args.extend(RATE);
        let load = shop.command(&args).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(load["runs"]["due"], ARRIVALS, "{load}");
    }
    shop.audit().await;
    shop.stop().await;
}
