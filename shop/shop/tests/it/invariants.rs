//! What always holds, watched while the shop works: nothing is found where nothing is wrong, and what is wrong is named.

use crate::support::{Draft, Person, Setup, Shop, list, order_id, state, until};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// How long it may take until the auditor has found something, on a busy machine.
const FOUND_MAX: Duration = Duration::from_secs(60);

/// A shop whose auditor looks often, and gives little grace.
fn watched() -> Setup {
    Setup::one_process().set("invariants.period_ms=200").set("invariants.grace_s=5")
}

/// Waits until a look has found what is `wanted`.
async fn found(shop: &Shop, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let (file, wanted) = (shop.data().join("run/invariants.json"), &wanted);
    until(FOUND_MAX, what, || async {
        let found: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).expect("a whole file");
        wanted(&found).then_some(found)
    })
    .await
}

fn check<'a>(found: &'a Value, name: &str) -> &'a Value {
    let checks = found["checks"].as_array().expect("it has checks");
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("there is no {name} in {found}"))
}

/// Writes into a file that belongs to somebody else.
fn tamper(file: &Path, sql: &str) -> usize {
    let file = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("it is there");
    file.busy_timeout(Duration::from_secs(10)).expect("it waits");
    file.pragma_update(None, "ignore_check_constraints", true).expect("a pragma");
    file.execute(sql, []).expect("it is written")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_at_work_breaks_nothing_and_a_changed_row_is_found() {
    let shop = Shop::start(watched()).await;
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(1_000, 100).await;
    let chair = shop.admin.product(2_000, 100).await;
    let cards = ["tok_visa", "tok_declined", "tok_error", "tok_slow"];
    let draft = |n: usize| Draft::of(&lamp, 1).and(&chair, 2).card(cards[n % cards.len()]);
    let mut bought = Vec::new();
    for n in 0..12 {
        bought.push(customer.buy(&draft(n)).await);
    }
    let refunded = bought.iter().find(|order| state(order) == "CONFIRMED");
    let refunded = order_id(refunded.expect("most cards are good"));
    shop.admin.refund(&refunded).await.ok();
    // Longer than the grace: what never came about would be found.
    let orders = |found: &Value| check(found, "emails_follow_orders")["checked"].as_u64().unwrap_or_default();
    let first = found(&shop, "it has looked at the orders", |found| orders(found) >= 12).await;
    let later = first["checked_ms"].as_u64().expect("a time") + 7_000;
    let well = found(&shop, "the grace was over", |found| found["checked_ms"].as_u64() > Some(later)).await;
    assert_eq!((&well["ok"], &well["problem"]), (&true.into(), &Value::Null), "{well}");
    for name in ["stock_conserved", "paid_once", "moved_for_orders", "captured_is_charged", "ledger_sums_up"]
    {
        assert_eq!(check(&well, name)["ok"], true, "{well}");
    }
    assert!(shop.print(&["invariants"]).await.contains("ok     stock     stock_conserved"));

    let stores = shop.data().join("stores");
    assert_eq!(
        tamper(
            &stores.join("inventory.db"),
            &format!("UPDATE stock SET on_hand = -3 WHERE product_id = '{lamp}'")
        ),
        1
    );
    let broken = found(&shop, "the stock below zero was found", |found| {
        check(found, "stock_not_negative")["ok"] == false
    })
    .await;
    assert_eq!(list(&check(&broken, "stock_not_negative")["offenders"])[0]["id"], lamp.as_str());
    assert_eq!((&broken["ok"], &check(&broken, "stock_conserved")["ok"]), (&false.into(), &false.into()));

    let charged = order_id(&customer.buy(&Draft::of(&chair, 1)).await);
    let doubled = format!(
        "INSERT INTO ledger (kind, amount, currency, charge, order_id, created) SELECT kind, amount, currency, charge, \
         order_id, created FROM ledger WHERE order_id = '{charged}' AND kind = 'charge'"
    );
    assert_eq!(tamper(&shop.data().join("processor/processor.sqlite"), &doubled), 1);
    let broken =
        found(&shop, "the doubled charge was found", |found| check(found, "paid_once")["ok"] == false).await;
    assert_eq!(list(&check(&broken, "paid_once")["offenders"])[0]["id"], charged.as_str());
    let complaint = shop.command(&["invariants"]).await.unwrap_err();
    assert!(complaint.contains("INVARIANT_BROKEN") && complaint.contains("paid_once"), "{complaint}");
    until(FOUND_MAX, "it was logged", || async {
        let logged = shop.command(&["logs", "--level", "error"]).await.ok()?;
        logged.to_string().contains("an invariant is broken").then_some(())
    })
    .await;
    shop.stop().await;
}
