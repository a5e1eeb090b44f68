//! The ledger has every movement of money, in order; the balance is their sum.

use crate::client::{Asker, charge, start};
use futures::future::join_all;
use serde_json::{Value, json};
use shop_processor::Options;

fn amounts(entries: &[Value]) -> Vec<i64> {
    entries.iter().map(|entry| entry["amount"].as_i64().expect("an entry has an amount")).collect()
}

#[tokio::test]
async fn the_balance_is_charges_minus_refunds_also_under_load() {
    let fixture = start().await;
    let ask = &fixture.ask;
    let outcomes = join_all((1..=300_i64).map(|number| async move {
        let key = format!("order-{number}");
        let source = if number % 5 == 0 { "tok_declined" } else { "tok_visa" };
        let answer = ask.charge(&key, source, number).await;
        if number % 3 != 0 || answer.status != 200 {
            return if answer.status == 200 { number } else { 0 };
        }
        let refund = ask.post("/v1/refunds", None, &json!({"charge": answer.text("/id")})).await;
        assert_eq!(refund.status, 200, "{refund:?}");
        0
    }))
    .await;
    let expected: i64 = outcomes.iter().sum();
    let entries = ask.list("/v1/ledger", 7).await;
    assert_eq!(entries.len(), 240 + 80, "240 approved charges, 80 of them refunded");
    assert_eq!(amounts(&entries).iter().sum::<i64>(), expected);
    assert_eq!(ask.balance().await, expected);
    let ids: Vec<&str> = entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
    assert!(ids.is_sorted(), "the oldest comes first");
}

#[tokio::test]
async fn a_refunded_charge_says_so_and_names_its_order_in_the_ledger() {
    let fixture = start().await;
    let made = fixture.ask.charge("order-1", "tok_visa", 80).await;
    fixture.ask.post("/v1/refunds", Some("r"), &json!({"charge": made.text("/id")})).await;
    let read = fixture.ask.get(&format!("/v1/charges/{}", made.text("/id"))).await;
    assert_eq!(
        (read.body["refunded"].clone(), read.body["amount_refunded"].clone()),
        (json!(true), json!(80))
    );

    let entries = fixture.ask.list("/v1/ledger", 10).await;
    assert_eq!(amounts(&entries), [80, -80]);
    assert_eq!((entries[0]["type"].clone(), entries[1]["type"].clone()), (json!("charge"), json!("refund")));
    assert_eq!(fixture.processor.moved("order-1").await.expect("the ledger can be read"), [80, -80]);
    assert_eq!(fixture.processor.moved("order-2").await.expect("the ledger can be read"), [0_i64; 0]);
    for entry in &entries {
        assert_eq!(entry["metadata"]["order_id"], "order-1");
        assert_eq!(entry["charge"], made.body["id"]);
    }
}

#[tokio::test]
async fn charges_are_listed_newest_first_and_by_order() {
    let fixture = start().await;
    for number in 1..=25_i64 {
        let order = if number % 2 == 0 { "even" } else { "odd" };
        fixture.ask.post("/v1/charges", None, &charge("tok_visa", number, order)).await;
    }
    let expected: Vec<i64> = (1..=25).rev().collect();
    assert_eq!(amounts(&fixture.ask.list("/v1/charges", 4).await), expected);
    let even = fixture.ask.get("/v1/charges?order_id=even&limit=100").await;
    assert_eq!(even.body["data"].as_array().map(Vec::len), Some(12));
}

#[tokio::test]
async fn everything_is_still_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let first = shop_processor::run(Options::new(folder.path())).await.expect("the processor starts");
    let before = Asker::new(first.url()).charge("order-1", "tok_visa", 60).await;
    first.stop().await.expect("it stops");

    let second = shop_processor::run(Options::new(folder.path())).await.expect("it starts again");
    let ask = Asker::new(second.url());
    let after = ask.charge("order-1", "tok_visa", 60).await;
    assert_eq!((after.replayed, after.body), (true, before.body));
    assert_eq!(ask.balance().await, 60);
}
