//! Every test card does what its name says.

use crate::client::{HANG, SLOW, charge, start};
use std::time::Duration;

#[tokio::test]
async fn visa_is_approved() {
    let fixture = start().await;
    let answer = fixture.ask.charge("order-1", "tok_visa", 1250).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.text("/object"), "charge");
    assert_eq!(answer.text("/status"), "succeeded");
    assert_eq!(answer.text("/metadata/order_id"), "order-1");
    assert_eq!(answer.body["amount"], 1250);

    let read = fixture.ask.get(&format!("/v1/charges/{}", answer.text("/id"))).await;
    assert_eq!(read.body, answer.body);
    assert_eq!(fixture.ask.balance().await, 1250);
}

#[tokio::test]
async fn a_declined_card_moves_no_money_and_the_attempt_can_be_found() {
    let fixture = start().await;
    let answer = fixture.ask.charge("order-1", "tok_declined", 1250).await;
    assert_eq!(answer.status, 402, "{answer:?}");
    assert_eq!(answer.text("/error/type"), "card_error");
    assert_eq!(answer.text("/error/code"), "card_declined");
    assert_eq!(answer.text("/error/decline_code"), "generic_decline");

    let again = fixture.ask.charge("order-1", "tok_declined", 1250).await;
    assert!(again.replayed, "the same key is declined once");
    assert_eq!(again.body, answer.body);
    let found = fixture.ask.get("/v1/charges?idempotency_key=order-1").await;
    assert_eq!(found.text("/data/0/id"), answer.text("/error/charge"));
    assert_eq!(found.text("/data/0/status"), "failed");
    assert!(fixture.ask.list("/v1/ledger", 10).await.is_empty());
}

#[tokio::test]
async fn a_slow_card_is_approved_late() {
    let fixture = start().await;
    let before = tokio::time::Instant::now();
    let answer = fixture.ask.charge("order-1", "tok_slow", 400).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(before.elapsed() >= SLOW);

    let before = tokio::time::Instant::now();
    let again = fixture.ask.charge("order-1", "tok_slow", 400).await;
    assert!(again.replayed && before.elapsed() < SLOW, "a repeat is answered at once");
}

#[tokio::test]
async fn a_slow_charge_goes_on_when_its_client_has_gone() {
    let fixture = start().await;
    let impatient = fixture.ask.charge("order-1", "tok_slow", 400);
    assert!(tokio::time::timeout(SLOW / 3, impatient).await.is_err(), "not answered yet");
    let answer = fixture.ask.charge("order-1", "tok_slow", 400).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(fixture.ask.list("/v1/ledger", 10).await.len(), 1);
}

#[tokio::test]
async fn a_card_that_times_out_is_charged_and_the_outcome_is_known_when_asked_again() {
    let fixture = start().await;
    let hanging = fixture.ask.charge("order-1", "tok_timeout", 999);
    assert!(tokio::time::timeout(Duration::from_millis(500), hanging).await.is_err(), "hangs for {HANG:?}");

    let found = fixture.ask.get("/v1/charges?idempotency_key=order-1").await;
    assert_eq!(found.text("/data/0/status"), "succeeded", "{found:?}");
    let again = fixture.ask.charge("order-1", "tok_timeout", 999).await;
    assert_eq!((again.status, again.replayed), (200, true));
    assert_eq!(fixture.ask.balance().await, 999);
    let before = tokio::time::Instant::now();
    fixture.processor.stop().await.expect("a hanging request does not hold the stop");
    assert!(before.elapsed() < HANG / 2);
}

#[tokio::test]
async fn a_card_with_an_error_fails_once_per_key() {
    let fixture = start().await;
    for key in ["order-1", "order-2"] {
        let first = fixture.ask.charge(key, "tok_error", 100).await;
        assert_eq!((first.status, first.text("/error/type")), (500, "api_error"), "{first:?}");
        assert_eq!(fixture.ask.charge(key, "tok_error", 100).await.status, 200);
        assert!(fixture.ask.charge(key, "tok_error", 100).await.replayed);
    }
    assert_eq!(fixture.ask.balance().await, 200);
    let keyless = fixture.ask.post("/v1/charges", None, &charge("tok_error", 100, "order-3")).await;
    assert_eq!(keyless.status, 500, "without a key every time is the first");
}
