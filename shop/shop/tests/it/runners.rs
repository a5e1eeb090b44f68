//! One suite of scenarios, three placements of the same shop, two ways in which an order finds its end.

use crate::scenarios;
use crate::support::{Ask, Setup, Shop, until};
use serde_json::json;
use std::time::Duration;

async fn run(setup: Setup) -> Shop {
    let shop = Shop::start(setup).await;
    scenarios::run_all(&shop).await;
    let report = shop.audit().await;
    println!("{report}");
    shop
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orchestrated_in_one_process() {
    run(Setup::one_process()).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orchestrated_in_separate_processes() {
    run(Setup::apart()).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orchestrated_over_failing_calls() {
    let shop = run(Setup::with_faults()).await;
    assert_that_calls_fail(&shop).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orchestrated_in_groups_and_replicas() {
    run(Setup::grouped()).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choreographed_in_one_process() {
    run(Setup::one_process().choreographed()).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choreographed_in_separate_processes() {
    run(Setup::apart().choreographed()).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choreographed_over_failing_calls() {
    let shop = run(Setup::with_faults().choreographed()).await;
    assert_that_calls_fail(&shop).await;
    shop.stop().await;
}

/// Without this, a runner whose faults are never injected would prove nothing.
async fn assert_that_calls_fail(shop: &Shop) {
    let nobody = json!({"email": "nobody@example.com", "password": "no password"});
    let ask = Ask::post("/v1/users:login", &nobody).header("grpc-timeout", "1S");
    until(Duration::from_secs(60), "a call failed by an injected fault", || async {
        let answer = shop.client.send(&ask).await.expect("the gateway itself answers always");
        matches!(answer.status, 503 | 504).then_some(())
    })
    .await;
    println!("clients had to ask again {} times", shop.client.retries());
}
