//! From a cart to an order: once, whatever is lost or repeated on the way.

use crate::{Fixture, address, contents};
use banyan::prelude::*;
use shop_contracts::types::v1::Item;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_checkout_orders_what_is_in_the_cart_and_empties_it() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    it.put(&ann, "b", 2).await.unwrap();
    it.put(&ann, "a", 1).await.unwrap();
    let order = it.checkout(&ann, "tok_visa").await.unwrap();

    let placed = it.desk.placed();
    let [(identity, _, request)] = &placed[..] else { panic!("placed: {placed:?}") };
    assert_eq!(identity, &Identity::user("ann", &[]));
    let items = [("b", 2), ("a", 1)];
    assert_eq!(request.items, items.map(|(id, quantity)| Item { product_id: id.into(), quantity }));
    assert_eq!((request.card_token.as_str(), &request.shipping_address), ("tok_visa", &Some(address())));
    assert_eq!(order.user_id, "ann");
    assert!(it.cart(&ann).await.lines.is_empty());
}

#[tokio::test]
async fn an_empty_cart_cannot_be_ordered() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    for cx in [&ann, &ann.with_idempotency_key("k-1")] {
        let error = it.checkout(cx, "tok_visa").await.unwrap_err();
        assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "CART_EMPTY"));
    }
    it.put(&ann, "a", 1).await.unwrap();
    it.remove(&ann, "a").await.unwrap();
    assert_eq!(it.checkout(&ann, "tok_visa").await.unwrap_err().reason(), "CART_EMPTY");
    assert!(it.desk.placed().is_empty());
}

#[tokio::test]
async fn a_double_click_places_one_order() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    it.put(&ann, "a", 1).await.unwrap();
    let (one, two) = tokio::join!(it.checkout(&ann, "tok_visa"), it.checkout(&ann, "tok_visa"));
    let order = one.unwrap();
    assert_eq!(two.unwrap(), order);
    // A slow second click, when the cart is empty already.
    assert_eq!(it.checkout(&ann, "tok_visa").await.unwrap(), order);
    assert_eq!(it.desk.placed().len(), 1);
    // Another card is not a repetition.
    assert_eq!(it.checkout(&ann, "tok_other").await.unwrap_err().reason(), "CART_EMPTY");
    // Nor is a checkout after the cart was used again.
    it.put(&ann, "a", 1).await.unwrap();
    assert_ne!(it.checkout(&ann, "tok_visa").await.unwrap().order_id, order.order_id);
    assert_eq!(it.desk.placed().len(), 2);
}

#[tokio::test]
async fn a_click_that_comes_too_late_is_no_repetition() {
    let it = Fixture::with("repeat_seconds = 0").await;
    let ann = it.user("ann");
    it.put(&ann, "a", 1).await.unwrap();
    it.checkout(&ann, "tok_visa").await.unwrap();
    assert_eq!(it.checkout(&ann, "tok_visa").await.unwrap_err().reason(), "CART_EMPTY");
}

#[tokio::test]
async fn the_callers_key_gets_the_first_answer_for_good() {
    let it = Fixture::with("repeat_seconds = 0").await;
    let ann = it.user("ann");
    let keyed = ann.with_idempotency_key("k-1");
    it.put(&ann, "a", 1).await.unwrap();
    let order = it.checkout(&keyed, "tok_visa").await.unwrap();
    assert_eq!(it.desk.placed()[0].1, "k-1");
    it.put(&ann, "b", 1).await.unwrap();
    assert_eq!(it.checkout(&keyed, "tok_visa").await.unwrap(), order);
    assert_eq!(it.checkout(&keyed, "tok_other").await.unwrap_err().reason(), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!((it.desk.placed().len(), contents(&it.cart(&ann).await)), (1, vec![("b", 1)]));
}

#[tokio::test]
async fn after_a_lost_answer_the_same_order_is_found() {
    for key in [None, Some("k-1")] {
        let it = Fixture::new().await;
        let ann = it.user("ann");
        let cx = key.map_or(ann.clone(), |key| ann.with_idempotency_key(key));
        it.put(&ann, "a", 1).await.unwrap();
        it.desk.lose_answers.store(true, Ordering::SeqCst);
        assert_eq!(it.checkout(&cx, "tok_visa").await.unwrap_err().code(), Code::Internal);
        assert_eq!(contents(&it.cart(&ann).await), [("a", 1)]);

        it.desk.lose_answers.store(false, Ordering::SeqCst);
        assert!(it.checkout(&cx, "tok_visa").await.is_ok());
        assert_eq!((it.desk.placed().len(), it.cart(&ann).await.lines.len()), (1, 0));
    }
}

#[tokio::test]
async fn after_a_lost_answer_another_card_does_not_order_again() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    it.put(&ann, "a", 1).await.unwrap();
    it.desk.lose_answers.store(true, Ordering::SeqCst);
    it.checkout(&ann, "tok_visa").await.unwrap_err();
    it.desk.lose_answers.store(false, Ordering::SeqCst);

    let error = it.checkout(&ann, "tok_other").await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "CART_ORDERED"));
    assert_eq!((it.desk.placed().len(), it.cart(&ann).await.lines.len()), (1, 0));
    it.put(&ann, "b", 1).await.unwrap();
    assert!(it.checkout(&ann, "tok_other").await.is_ok());
}

#[tokio::test]
async fn what_is_put_during_a_checkout_is_not_lost() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    it.put(&ann, "a", 1).await.unwrap();
    let closed = it.desk.door.write().await;
    let meanwhile = async {
        it.desk.arrived.notified().await;
        it.put(&ann, "b", 1).await.unwrap();
        drop(closed);
    };
    let (order, ()) = tokio::join!(it.checkout(&ann, "tok_visa"), meanwhile);
    assert!(order.is_ok());
    assert_eq!(it.desk.placed()[0].2.items.len(), 1);
    assert_eq!(contents(&it.cart(&ann).await), [("a", 1), ("b", 1)]);
}

#[tokio::test]
async fn an_order_that_is_refused_leaves_the_cart_as_it_is() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    it.put(&ann, "a", 1).await.unwrap();
    it.desk.refuse.store(true, Ordering::SeqCst);
    let before = it.cart(&ann).await;
    let error = it.checkout(&ann, "tok_visa").await.unwrap_err();
    assert_eq!(error.violations()[0].field, "shipping_address.city");
    assert_eq!(it.cart(&ann).await, before);
    // What was refused does not stand in the way of what is right.
    it.desk.refuse.store(false, Ordering::SeqCst);
    assert!(it.checkout(&ann, "tok_visa").await.is_ok());
}

#[tokio::test]
async fn messages_that_arrive_twice_place_one_order() {
    let it = Fixture::new().await;
    it.system.duplicate_calls();
    let ann = it.user("ann");
    assert_eq!(contents(&it.put(&ann, "a", 1).await.unwrap()), [("a", 1)]);
    assert_eq!(it.checkout(&ann, "tok_visa").await.unwrap().user_id, "ann");
    assert_eq!((it.desk.placed().len(), it.cart(&ann).await.lines.len()), (1, 0));
}
