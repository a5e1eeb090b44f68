//! What processes share on Redis: products that are read once for all of them, and the counts of rate limits.

use crate::support::{Answer, Ask, Client, REST_MAX, Setup, Shop, until};
use banyan::core::{Clock, Code, Context, Env, Identity};
use banyan::rpc::{Client as _, Directory, Endpoint, Streaming, Target};
use banyan_cli::Remote;
use banyan_engines::{Engine, Kind, Options};
use futures::future::join_all;
use shop_contracts::catalog::v1::{
    CatalogServiceClient, ImportProductsRequest, Product, SearchProductsRequest,
};
use shop_contracts::types::v1::Money;
use std::time::Duration;
use tempfile::TempDir;

const READERS: usize = 100;
/// How long a change may take until all processes show it, on a machine that does much else.
const SEEN_MAX: Duration = Duration::from_secs(90);

/// A server of one test, which may be killed.
async fn start_redis() -> (Engine, TempDir) {
    let folder = tempfile::Builder::new().prefix("redis-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.expect("a folder for Redis");
    let redis = Engine::start(Kind::Redis, Options::in_folder(folder.path())).await;
    (redis.expect("Redis starts"), folder)
}

fn on(redis: &Engine, setup: Setup) -> Setup {
    setup.set(&format!("cache.url={}", redis.url()))
}

/// Writes the product by the way that leaves the cache to the event alone.
async fn import(remote: &Remote, price_pence: i64) {
    let product = Product {
        product_id: "p-shared".into(),
        name: "Shared".into(),
        price: Some(Money::gbp(price_pence)),
        ..Product::default()
    };
    let catalog: CatalogServiceClient = remote.directory().await.expect("the shop runs").client();
    let requests = Streaming::of(vec![ImportProductsRequest { product: Some(product) }]);
    let cx = Context::new(&Env::default(), Identity::service("test"));
    let answer = catalog.import_products(&cx, requests).await.expect("it is imported");
    assert_eq!(answer.imported, 1);
}

/// Waits until every event was handled.
async fn at_rest(remote: &Remote) {
    let handled = async || remote.under_way().await.ok().filter(|under_way| under_way.events == 0);
    until(REST_MAX, "all events were handled", handled).await;
}

/// Has many read the product at the same time, and returns the different prices that they see.
async fn read(client: &Client) -> Vec<String> {
    let one =
        async || client.ask(Ask::get("/v1/products/p-shared")).await.ok()["price"]["minorUnits"].to_string();
    let mut prices = join_all((0..READERS).map(|_| one())).await;
    prices.sort_unstable();
    prices.dedup();
    prices
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_product_is_seen_by_all_processes_and_loaded_once_for_a_hundred_readers() {
    let (redis, _folder) = start_redis().await;
    let setup = on(&redis, Setup::default())
        .set("placement.groups.shelf=['catalog']")
        .set("placement.replicas.catalog=2")
        .variable("RUST_LOG", "warn,banyan_cache=debug");
    let shop = Shop::start(setup).await;
    let remote = Remote::find(&shop.data()).expect("the shop runs");
    let loads = || shop.log().lines().filter(|line| line.contains("a value is loaded")).count();
    import(&remote, 100).await;
    at_rest(&remote).await;
    assert_eq!(read(&shop.client).await, ["\"100\""]);
    let mut counts = vec![loads()];
    for price in [200, 300] {
        let (before, began) = (loads(), Clock::default().now());
        import(&remote, price).await;
        let seen = async || (read(&shop.client).await == [format!("\"{price}\"")]).then_some(());
        until(SEEN_MAX, "all see the new price", seen).await;
        println!("{READERS} readers saw a new price {:?} after it was written", began.elapsed());
        // From here on nobody sees the old one again.
        at_rest(&remote).await;
        assert_eq!(read(&shop.client).await, [format!("\"{price}\"")]);
        counts.push(loads() - before);
    }
    println!("loads for {READERS} readers: {counts:?}");
    // A process that waits too long for another one's load makes one of its own.
    assert!(counts.iter().all(|loads| (1..=2).contains(loads)) && counts.contains(&1), "{counts:?}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_share_one_limit_and_go_on_without_redis() {
    const LIMIT: usize = 10;
    let (redis, _folder) = start_redis().await;
    let setup = || {
        on(&redis, Setup::one_process())
            .set("gateway.limits_timeout_ms=10000")
            .set("gateway.limits.reads.requests=10")
            .set("gateway.limits.reads.window_s=86400")
            .set("gateway.trusted_proxies=['127.0.0.1']")
            .set("gateway.limits.reads.routes=GET /v1/products*")
    };
    let (a, b) = tokio::join!(Shop::start(setup()), Shop::start(setup()));
    let (one, other) = (&a.client, &b.client);
    let ask = async |client: &Client, address: &str| {
        let ask = Ask::get("/v1/products").header("x-forwarded-for", address);
        client.send(&ask).await.expect("an answer")
    };
    let header = |answer: &Answer, name: &str| {
        answer
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default().to_owned())
            .unwrap_or_default()
    };
    for round in 1..=LIMIT {
        let answer = ask(if round % 2 == 0 { one } else { other }, "192.0.2.1").await;
        assert_eq!(answer.status, 200, "{round}: {}", answer.body);
        assert_eq!(header(&answer, "ratelimit-policy"), "\"reads\";q=10;w=86400");
        let left = format!("\"reads\";r={};t=", LIMIT - round);
        assert!(header(&answer, "ratelimit").starts_with(&left), "{round}: {:?}", answer.headers);
    }
    for client in [one, other] {
        let refused = ask(client, "192.0.2.1").await;
        refused.refused(429, "RATE_LIMIT_EXCEEDED");
        let after: u64 = header(&refused, "retry-after").parse().expect("seconds");
        assert!((8_000..=8_640).contains(&after), "{after}");
    }
    // Another client and another route are another matter.
    assert_eq!(ask(one, "192.0.2.2").await.status, 200);
    assert_eq!(one.ask(Ask::get("/v1/categories")).await.status, 200);

    // A method has its limit however it is called.
    let directory = Directory::new(&Env::default());
    let remote = Remote::find(&a.data()).expect("the shop runs");
    let endpoint = Endpoint::new(remote.url().trim_start_matches("http://")).expect("an address");
    directory.set(CatalogServiceClient::SERVICE, Target::Remote(vec![endpoint]));
    let catalog: CatalogServiceClient = directory.client();
    let search =
        async || catalog.search_products(&Context::background(), SearchProductsRequest::default()).await;
    for _ in 0..LIMIT - 1 {
        search().await.expect("it is admitted");
    }
    assert_eq!(ask(other, "").await.status, 200);
    let refused = search().await.expect_err("it is one too many");
    assert_eq!((refused.code(), refused.reason()), (Code::ResourceExhausted, "RATE_LIMIT_EXCEEDED"));
    assert!(refused.retry_after().is_some_and(|after| after > Duration::from_secs(8_000)), "{refused:?}");

    // Without Redis each gateway limits by itself, with the same limit.
    redis.kill().await.expect("Redis is killed");
    for client in [one, other] {
        let mut admitted = 0;
        for _ in 0..LIMIT + 3 {
            admitted += usize::from(ask(client, "192.0.2.1").await.status == 200);
        }
        assert_eq!(admitted, LIMIT);
    }
    // When it is back, what one gateway takes from a new client the other one misses.
    redis.restart().await.expect("Redis starts again");
    let env = Env::default();
    let shared = async || {
        let address = format!("198.51.{}.{}", env.rng.below(256), env.rng.below(256));
        ask(one, &address).await;
        let left = header(&ask(other, &address).await, "ratelimit");
        left.starts_with(&format!("\"reads\";r={};", LIMIT - 2)).then_some(())
    };
    until(SEEN_MAX, "Redis counts again", shared).await;
    a.stop().await;
    b.stop().await;
}
