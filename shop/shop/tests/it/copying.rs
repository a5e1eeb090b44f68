//! The shop's data go from engine to engine while orders are half-way to their end; the books balance.

use crate::support::{Draft, Person, Setup, Shop, order_id, seed};
use banyan::core::Rng;
use banyan_engines::{Engine, Kind};
use std::time::Duration;

/// Orders that have come to their end before the shop is killed, and such that have not.
const ENDED: usize = 8;
const UNDER_WAY: usize = 8;
/// How often a copy is killed, and how soon after its start.
const KILLS: u64 = 6;
const KILL_AFTER_MAX_MS: u64 = 400;

async fn database(kind: Kind, service: &str) -> String {
    let server = Engine::shared(kind).await.expect("the engine starts");
    server.create_database(service).await.expect("a database is made")
}

/// Copies a service's data, killed again and again at a row each, until it is done.
async fn copy(shop: &Shop, rng: &Rng, service: &str, from: &str, to: &str) {
    let args = ["copy", service, "--from", from, "--to", to];
    let mut killed = 0;
    for _ in 0..KILLS {
        let mut child = shop.spawn(&[&args[..], &["--batch-rows", "1"]].concat());
        let after = Duration::from_millis(rng.below(KILL_AFTER_MAX_MS));
        if tokio::time::timeout(after, child.wait()).await.is_err() {
            child.kill().await.expect("it is killed");
            killed += 1;
        }
    }
    println!("the copy of {service} was killed {killed} times");
    let report = shop.command(&args).await.expect("the same copy goes on, or compares once more");
    assert_eq!((&report["verified"], &report["marked"]), (&true.into(), &true.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_survive_that_their_stores_change_engines() {
    let rng = Rng::seeded(seed());
    let mut shop = Shop::start(Setup::one_process()).await;
    let lamp = shop.admin.product(450, 1_000).await;
    let customer = Person::register(&shop.client).await;
    let mut orders = Vec::new();
    for number in 0..ENDED + UNDER_WAY {
        let card = if number % 3 == 2 { "tok_slow" } else { "tok_visa" };
        orders.push(order_id(&customer.place(&Draft::of(&lamp, 1).card(card)).await));
        if number < ENDED {
            customer.ended(&orders[number]).await;
        }
    }
    shop.kill_root().await;

    let stores = [
        ("orders", database(Kind::Postgres, "orders").await),
        ("users", database(Kind::Postgres, "users").await),
        ("payments", database(Kind::MariaDb, "payments").await),
        ("inventory", database(Kind::MariaDb, "inventory").await),
    ];
    let mut setup = Setup::one_process();
    for (service, url) in &stores {
        copy(&shop, &rng, service, "sqlite", url).await;
        setup = setup.set(&format!("stores.{service}={url}"));
    }
    let said = shop.command(&["run", "--port", "0"]).await.expect_err("the old stores are marked");
    assert!(said.contains("STORE_MOVED") && said.contains("stores."), "{said}");
    shop.set_up(setup.clone());
    shop.restart().await;
    for order in &orders {
        customer.ended(order).await;
    }
    shop.audit().await;

    // On to another engine, and back to a file.
    shop.kill_root().await;
    let other = database(Kind::Postgres, "payments").await;
    copy(&shop, &rng, "payments", &stores[2].1, &other).await;
    let file = shop.data().join("stores/orders.db");
    std::fs::rename(&file, file.with_extension("old")).expect("the old file is moved away");
    copy(&shop, &rng, "orders", &stores[0].1, "sqlite").await;
    shop.set_up(setup.set(&format!("stores.payments={other}")).set("stores.orders=sqlite"));
    shop.restart().await;
    let order = order_id(&customer.place(&Draft::of(&lamp, 2)).await);
    customer.ended(&order).await;
    shop.audit().await;
    shop.stop().await;
}
