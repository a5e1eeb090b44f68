//! One key, one effect, one answer.

use crate::client::{charge, start};
use futures::future::join_all;
use serde_json::json;

#[tokio::test]
async fn the_same_key_and_request_get_the_same_answer() {
    let fixture = start().await;
    let first = fixture.ask.charge("key-1", "tok_visa", 500).await;
    let second = fixture.ask.charge("key-1", "tok_visa", 500).await;
    assert!(!first.replayed && second.replayed);
    assert_eq!(first.body, second.body);

    // The same request, written in another way.
    let body = r#"{ "source":"tok_visa", "metadata":{"order_id":"key-1"}, "currency":"GBP", "amount":500 }"#;
    let reordered = serde_json::from_str(body).expect("valid JSON");
    assert!(fixture.ask.post("/v1/charges", Some("key-1"), &reordered).await.replayed);
    assert_eq!(fixture.ask.list("/v1/ledger", 10).await.len(), 1);
}

#[tokio::test]
async fn the_same_key_with_another_request_is_an_error() {
    let fixture = start().await;
    let first = fixture.ask.charge("key-1", "tok_visa", 500).await;
    let refund = json!({"charge": first.text("/id")});
    for (path, body) in [
        ("/v1/charges", charge("tok_visa", 501, "key-1")),
        ("/v1/charges", charge("tok_visa", 500, "another order")),
        ("/v1/charges", charge("tok_declined", 500, "key-1")),
        ("/v1/refunds", refund),
    ] {
        let answer = fixture.ask.post(path, Some("key-1"), &body).await;
        assert_eq!((answer.status, answer.text("/error/type")), (400, "idempotency_error"), "{body}");
    }
    assert_eq!(fixture.ask.balance().await, 500);
}

#[tokio::test]
async fn without_a_key_every_request_is_a_new_charge() {
    let fixture = start().await;
    for _ in 0..2 {
        assert_eq!(
            fixture.ask.post("/v1/charges", None, &charge("tok_visa", 5, "order-1")).await.status,
            200
        );
    }
    assert_eq!(fixture.ask.balance().await, 10);
}

#[tokio::test]
async fn concurrent_duplicates_are_one_charge() {
    let fixture = start().await;
    for source in ["tok_visa", "tok_slow"] {
        let answers = join_all((0..64).map(|_| fixture.ask.charge(source, source, 700))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        assert!(answers.iter().all(|answer| answer.body == answers[0].body), "all get the same charge");
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    }
    assert_eq!(fixture.ask.list("/v1/charges", 10).await.len(), 2);
    assert_eq!(fixture.ask.balance().await, 1400);
}

#[tokio::test]
async fn concurrent_refunds_are_one_refund_with_or_without_keys() {
    let fixture = start().await;
    let charge = fixture.ask.charge("order-1", "tok_visa", 700).await;
    let body = json!({"charge": charge.text("/id")});
    let keyed = join_all((0..16).map(|_| fixture.ask.post("/v1/refunds", Some("refund-1"), &body))).await;
    assert!(keyed.iter().all(|answer| answer.status == 200 && answer.body == keyed[0].body), "{keyed:?}");
    let keyless = join_all((0..16).map(|_| fixture.ask.post("/v1/refunds", None, &body))).await;
    for answer in keyless {
        assert_eq!((answer.status, answer.text("/error/code")), (400, "charge_already_refunded"));
    }
    assert_eq!(fixture.ask.balance().await, 0);
}
