//! What a probe is told while parts of the shop do not work, and what it costs to ask.

use crate::support::{Answer, Ask, Client, Patience, Person, Setup, Shop, list, until, until_every};
use banyan::core::Clock;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a probe may take: the bound of the shop, and as much again for a busy machine.
const PROBE_MAX: Duration = Duration::from_secs(4);
/// How long a change may take to be seen: an answer is kept for two seconds.
const SEEN_MAX: Duration = Duration::from_secs(30);
/// How long an answer is kept.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// Asks for the whole tree, which may say that the system fails.
async fn tree(client: &Client) -> Value {
    let ask = Ask::get("/health/detailed");
    let asked = client.send(&ask);
    let answer = tokio::time::timeout(PROBE_MAX, asked).await.expect("a probe is answered in time");
    answer.expect("it is answered").body
}

pub(crate) fn of<'a>(tree: &'a Value, kind: &str, name: &str) -> &'a Value {
    let children = tree["children"].as_array().expect("there is something below it");
    let found = children.iter().find(|node| node["kind"] == kind && node["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name} in {tree}"))
}

/// Waits until the tree is as `wanted`.
pub(crate) async fn seen(client: &Client, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let wanted = &wanted;
    until(SEEN_MAX, what, || async {
        let tree = tree(client).await;
        wanted(&tree).then_some(tree)
    })
    .await
}

/// Asks once whether a service is ready.
pub(crate) async fn service_ready(client: &Client, service: &str) -> Answer {
    client.send(&Ask::get(format!("/health/ready/{service}"))).await.expect("it is answered")
}

/// Neither is told of anything that goes wrong elsewhere.
pub(crate) async fn live_and_ready(client: &Client) {
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(client.ask(Ask::get(path)).await.ok()["status"], "ok", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependency_that_is_away_degrades_its_service_and_no_more() {
    let shop = Shop::start(Setup::one_process()).await;
    let client = &shop.client;
    live_and_ready(client).await;
    let well = seen(client, "all is well", |tree| tree["status"] == "ok").await;
    let services = list(&well["children"]).iter().filter(|node| node["kind"] == "service").count();
    assert_eq!(services, 10, "{well}");
    let payments = of(&well, "service", "payments");
    for (kind, name) in [("store", "store"), ("outbox", "outbox"), ("check", "card processor")] {
        assert_eq!(of(payments, kind, name)["status"], "ok");
    }
    assert_eq!(of(of(&well, "service", "orders"), "call", "payments")["status"], "ok");
    let printed = shop.print(&["health"]).await;
    assert!(printed.contains("card processor") && printed.contains("as of "), "{printed}");

    let companion =
        shop.status().await.expect("it tells")["beside"][0]["pid"].as_u64().expect("it runs") as u32;
    shop.signal("STOP", companion).await;
    let away = |tree: &Value| of(tree, "service", "payments")["status"] == "degraded";
    let degraded = seen(client, "payments was degraded", away).await;
    let check = of(of(&degraded, "service", "payments"), "check", "card processor");
    assert_eq!((&check["status"], &check["message"]), (&"failed".into(), &"no answer within 500 ms".into()));
    assert_eq!(degraded["status"], "degraded");
    assert_eq!(
        of(&degraded, "service", "orders")["status"],
        "ok",
        "a degraded service still serves its callers"
    );
    live_and_ready(client).await;
    shop.signal("CONT", companion).await;
    seen(client, "all was well again", |tree| tree["status"] == "ok").await;

    // Who asks from elsewhere is told one word, unless he proves that he may know more.
    let elsewhere = || Ask::get("/health/detailed").header("x-forwarded-for", "203.0.113.7");
    assert_eq!(client.ask(elsewhere()).await.ok(), serde_json::json!({"status": "ok"}));
    let customer = Person::register(client).await;
    assert_eq!(customer.ask(elsewhere()).await.ok(), serde_json::json!({"status": "ok"}));
    assert_eq!(
        list(&shop.admin.ask(elsewhere()).await.ok()["children"]).len(),
        list(&well["children"]).len()
    );
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_hangs_is_named_in_time() {
    // Nobody kills it for not answering.
    let mut setup = Setup::one_process().set("supervision.probes_missed_max=0");
    setup.args.extend(["--apart".to_owned(), "payments".to_owned()]);
    let shop = Shop::start(setup).await;
    seen(&shop.client, "all is well", |tree| tree["status"] == "ok").await;
    let hangs = shop.process_id("payments").await;
    shop.signal("STOP", hangs).await;
    let hung = |tree: &Value| of(tree, "process", "payments")["status"] == "failed";
    let failed = seen(&shop.client, "the process was named", hung).await;
    assert_eq!(of(&failed, "service", "payments")["status"], "unknown");
    assert_eq!(of(&failed, "service", "orders")["status"], "degraded", "it calls payments");
    assert_eq!(failed["status"], "failed");
    service_ready(&shop.client, "payments").await.refused(503, "NOT_READY");
    assert_eq!(service_ready(&shop.client, "orders").await.ok()["status"], "ok", "it can work");
    service_ready(&shop.client, "nothing").await.refused(404, "NOT_FOUND");
    let detailed = shop.client.send(&Ask::get("/health/detailed")).await.expect("it is answered");
    assert_eq!(detailed.status, 503);
    live_and_ready(&shop.client).await;
    let complaint = shop.command(&["health"]).await.unwrap_err();
    assert!(
        complaint.contains("SYSTEM_FAILED") && complaint.contains("process payments is failed"),
        "{complaint}"
    );
    shop.signal("CONT", hangs).await;
    seen(&shop.client, "all was well again", |tree| tree["status"] == "ok").await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_probes_at_once_are_one_round_of_checks() {
    const PROBES: usize = 500;
    let shop = Shop::start(Setup::apart()).await;
    let (clock, client) = (Clock::default(), shop.client.clone());
    let began = clock.now();
    let mut probing = tokio::task::JoinSet::new();
    for _ in 0..PROBES {
        let client = client.clone();
        probing.spawn(async move { client.ask(Ask::get("/health/detailed")).await.ok() });
    }
    let trees = probing.join_all().await;
    assert_eq!(trees.len(), PROBES);
    // Each check that was made says when: a store that was read twice says it twice.
    let checked: BTreeSet<u64> = trees
        .iter()
        .filter_map(|tree| of(of(tree, "service", "payments"), "store", "store")["checked_ms"].as_u64())
        .collect();
    let rounds_max = 1 + (began.elapsed().as_millis() / FRESH_FOR.as_millis()) as usize;
    println!("{PROBES} probes in {:?}: {} rounds", began.elapsed(), checked.len());
    assert!((1..=rounds_max).contains(&checked.len()), "{checked:?}, at most {rounds_max}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_that_is_told_to_end_says_so_before_it_does() {
    let shop = Shop::start(Setup::one_process().set("gateway.drain_delay_ms=3000")).await;
    live_and_ready(&shop.client).await;
    shop.signal("TERM", shop.pid()).await;
    let strict = shop.client.with_patience(Patience::Strict);
    let refused = until_every(Duration::from_millis(20), SEEN_MAX, "it was not ready", || async {
        let answer = strict.send(&Ask::get("/health/ready")).await.expect("it still answers");
        (answer.status != 200).then_some(answer)
    })
    .await;
    refused.refused(503, "DRAINING");
    // Whoever has not heard of it yet is still served, over new connections too.
    let late = Client::new(shop.client.url(), Patience::Strict);
    assert_eq!(late.ask(Ask::get("/health")).await.ok()["status"], "ok");
    late.ask(Ask::get("/v1/products")).await.ok();
    shop.stop().await;
}
