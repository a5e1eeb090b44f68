//! The console in a real browser: `tests/console.mjs` of crates/console/web, against shops of these tests.

use crate::support::{Draft, END_MAX, Person, Setup, Shop, order_id, state, until};
use banyan::core::{Context, Env, Envelope, Identity};
use banyan::event_log::EventLog;
use banyan_cli::Remote;
use banyan_identity::{PasswordOptions, Passwords, Secret};
use serde_json::{Value, json};
use shop_contracts::orders::v1::OrderConfirmed;
use shop_contracts::types::v1::Money;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::process::Command;
use tokio::task::JoinSet;

/// How long a whole walk through the pages may take on a busy machine.
const WALK_MAX: Duration = Duration::from_secs(600);
/// The pages, from this crate on.
const CONSOLE: &str = "../../crates/console/web";
const STOREFRONT: &str = "web";
/// Where the pictures are put, if they are to be kept: `cargo xtask screenshots` sets it.
const PICTURES: &str = "BANYAN_PICTURES";
const PASSWORD: &str = "a sentence nobody else says";

/// Walks through the pages of the shop's console.
async fn walk(shop: &Shop, scenario: &str, given: &Value) {
    node(CONSOLE, &["tests/console.mjs", scenario, &console(shop).await, &given.to_string()]).await;
}

/// Where the shop's console is.
async fn console(shop: &Shop) -> String {
    let status = shop.status().await.expect("the shop tells its status");
    status["console"].as_str().expect("it has a console").to_owned()
}

/// Runs a script of the pages in `web`, a folder from this crate on.
async fn node(web: &str, args: &[&str]) {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join(web);
    assert!(
        web.join("node_modules/playwright-core").is_dir(),
        "what drives the browser is missing; get it with: cargo xtask setup"
    );
    let ran = Command::new("node").args(args).current_dir(web).kill_on_drop(true).output();
    let ran = tokio::time::timeout(WALK_MAX, ran).await.expect("the walk ends").expect("node starts");
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    println!("{said}");
    assert!(ran.status.success(), "{said}\n{complained}");
}

/// Publishes an event that loyalty refuses, and waits until it is a dead letter of it.
async fn dead_letter(shop: &Shop, user: &str, order: &str, currency: &str) {
    let remote = Remote::find(&shop.data()).expect("the shop runs");
    let total = Money { currency_code: currency.into(), minor_units: 1_250 };
    let event = OrderConfirmed {
        order_id: order.into(),
        user_id: user.into(),
        total: Some(total),
        ..OrderConfirmed::default()
    };
    let cx = Context::new(&Env::default(), Identity::service("test"));
    let log = remote.log().expect("it has a log");
    log.publish(vec![Envelope::new(&cx, "test", &event)]).await.expect("it is published");
    until(END_MAX, "loyalty gave the event up", || async {
        let listed = shop.command(&["dlq", "list", "loyalty"]).await.ok()?;
        listed.to_string().contains(order).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_found_by_order_number_and_a_dead_letter_is_mended() {
    const ORDER: &str = "in-dollars";
    let shop = Shop::start(Setup::one_process()).await;
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(1_000, 10).await;
    let order = customer.buy(&Draft::of(&lamp, 1)).await;
    assert_eq!(state(&order), "CONFIRMED");
    dead_letter(&shop, &customer.user_id, ORDER, "USD").await;
    dead_letter(&shop, &customer.user_id, "order-dropped", "EUR").await;
    let given = json!({"order": order_id(&order), "user": customer.user_id, "letter": ORDER});
    walk(&shop, "read", &given).await;
    // Loyalty handled what it was sent again: a point for each pound.
    customer.points(ORDER, &[12]).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_moved_from_the_console_while_orders_flow_and_none_is_lost() {
    const SHOPPERS: usize = 4;
    let shop = Shop::start(Setup::one_process()).await;
    let lamp = shop.admin.product(300, 1_000_000).await;
    let (done, bought) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut shoppers = JoinSet::new();
    for _ in 0..SHOPPERS {
        let customer = Person::register(&shop.client).await;
        let (done, bought, draft) = (done.clone(), bought.clone(), Draft::of(&lamp, 1));
        shoppers.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let order = customer.buy(&draft).await;
                assert_eq!(state(&order), "CONFIRMED", "{} {order}", order_id(&order));
                bought.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    walk(&shop, "move", &json!({"service": "payments"})).await;
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = shoppers.join_next().await {
        ended.expect("no shopper meets a failure");
    }
    let bought = bought.load(Ordering::Relaxed);
    let report = shop.audit().await;
    assert!(bought > 0);
    assert_eq!((report.orders.total, report.orders.confirmed), (bought, bought), "{report}");
    println!("{bought} orders, all confirmed");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_is_cancelled_gets_stuck_and_is_freed_from_the_console() {
    let shop = Shop::start(Setup::one_process()).await;
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(1_000, 10).await;
    let status = shop.status().await.expect("the shop tells its status");
    let processor: u32 =
        status["beside"][0]["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid");
    // Its card is not charged before the walk lets the processor go on.
    shop.signal("STOP", processor).await;
    let order = order_id(&customer.place(&Draft::of(&lamp, 2)).await);
    until(END_MAX, "the card was being charged", || async {
        let saga = shop.command(&["sagas", "show", "orders", &order]).await.ok()?;
        saga.to_string().contains("charge_card").then_some(())
    })
    .await;
    walk(&shop, "operate", &json!({"order": order, "processor": processor})).await;
    let order = customer.ended(&order).await;
    assert_eq!(
        (state(&order), &order["cancelReason"]),
        ("CANCELLED", &"the customer called".into()),
        "{order}"
    );
    shop.settled(&order_id(&order), 0).await;
    assert_eq!(shop.admin.stock(&lamp).await, (10, 0));
    shop.audit().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_is_read_again_and_seen_with_where_it_stands() {
    let shop = Shop::start(Setup::one_process()).await;
    let data = shop.data();
    let file = data.parent().expect("the data folder is in the shop's").join("banyan.toml");
    walk(&shop, "configure", &json!({"file": file})).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_listed_with_how_they_ended_and_set_side_by_side() {
    const ORDERS: usize = 25;
    let labelled = |label: &str| Setup::one_process().set(&format!("telemetry.label={label}"));
    let mut shop = Shop::start(labelled("first")).await;
    let lamp = shop.admin.product(1_000, 500).await;
    shop.end_root().await;
    shop.set_up(labelled("before"));
    shop.restart().await;
    buy(&shop, &lamp, ORDERS, "before").await;
    shop.kill_root().await;
    shop.set_up(labelled("after").set("faults.delay_probability=1").set("faults.delay_ms=200"));
    shop.restart().await;
    buy(&shop, &lamp, ORDERS, "after").await;
    walk(&shop, "runs", &json!({})).await;
    shop.stop().await;
}

/// Buys so many pieces, each with an order of its own, and waits until that is measured in the run of this label.
async fn buy(shop: &Shop, product: &str, orders: usize, run: &str) {
    let customer = Person::register(&shop.client).await;
    let mut placed = JoinSet::new();
    for _ in 0..orders {
        let (customer, draft) = (customer.clone(), Draft::of(product, 1));
        placed.spawn(async move { assert_eq!(state(&customer.buy(&draft).await), "CONFIRMED") });
    }
    while let Some(bought) = placed.join_next().await {
        bought.expect("it is confirmed");
    }
    until(END_MAX, "all orders were measured", || async {
        let query =
            ["metrics", "banyan.saga.operation.duration", "--by", "banyan.saga.operation", "--run", run];
        let sagas = shop.command(&query).await.ok()?;
        let series = sagas["series"].as_array().cloned().unwrap_or_default();
        let confirmed = series.iter().find(|s| s["labels"]["banyan.saga.operation"] == "commit confirm")?;
        (confirmed["total"]["count"] == orders).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_look_logs_in_and_sees_no_button_that_would_be_refused() {
    let passwords = Passwords::new(&PasswordOptions::default()).expect("valid options");
    let hash =
        passwords.hash(&Context::background(), Secret::new(PASSWORD.to_owned())).await.expect("a hash");
    let setup =
        Setup::one_process().set(&format!("console.users.vera={{password_hash='{hash}', role='viewer'}}"));
    let shop = Shop::start(setup).await;
    walk(&shop, "viewer", &json!({"name": "vera", "password": PASSWORD})).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pictures_of_the_documents_can_be_drawn() {
    const CURRENCIES: [&str; 4] = ["USD", "EUR", "JPY", "CHF"];
    let shop = Shop::start(Setup::one_process()).await;
    shop.command(&["import"]).await.expect("the seed data is imported");
    let env = Env::default();
    for currency in CURRENCIES {
        dead_letter(&shop, &env.new_id(), &env.new_id(), currency).await;
    }
    let thrown_away = shop.data().join("pictures");
    let folder = std::env::var(PICTURES).map_or(thrown_away, Into::into);
    std::fs::create_dir_all(&folder).expect("a folder for the pictures");
    let (console, storefront) = (console(&shop).await, folder.join("storefront.png"));
    let (folder, storefront) = (folder.display().to_string(), storefront.display().to_string());
    let drawing = async {
        node(STOREFRONT, &["scripts/screenshot.mjs", shop.client.url(), &storefront]).await;
        node(CONSOLE, &["scripts/screenshots.mjs", &console, &folder]).await;
    };
    // Visitors come while it is drawn.
    let visitors = shop.command(&[
        "demo",
        "--rate",
        "5",
        "--duration",
        "45",
        "--seed",
        "7",
        "--cards",
        "declined=0.2,error=0.1",
    ]);
    let (visited, ()) = tokio::join!(visitors, drawing);
    visited.expect("visitors come");
    shop.stop().await;
}
