//! A request that is sent again, because its sender could not know better.

use crate::support::{Draft, Person, Shop, order_id, state};
use futures::future::join_all;
use std::collections::BTreeSet;

pub(super) async fn the_same_key_places_one_order(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(700, 10).await;
    let draft = Draft::of(&lamp, 1);
    let at_once = join_all((0..4).map(|_| customer.place_again(&draft, "once"))).await;
    let ids: BTreeSet<String> = at_once.into_iter().map(|answer| order_id(&answer.ok())).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let order = customer.ended(ids.first().expect("one")).await;
    assert_eq!(state(&order), "CONFIRMED");

    let late = customer.place_again(&draft, "once").await.ok();
    assert_eq!((order_id(&late), state(&late)), (order_id(&order), "PENDING"), "the recorded answer");
    let orders = customer.get("/v1/orders").await;
    assert_eq!(orders["orders"].as_array().map(Vec::len), Some(1));
    assert_eq!(shop.admin.stock(&lamp).await, (9, 0));
    assert_eq!(shop.ledger_of(&order_id(&order)).await, [700]);
}

pub(super) async fn a_key_is_for_one_request_of_one_person(shop: &Shop) {
    let (ann, ben) = tokio::join!(Person::register(&shop.client), Person::register(&shop.client));
    let lamp = shop.admin.product(700, 10).await;
    let first = ann.place_again(&Draft::of(&lamp, 1), "mine").await.ok();
    let other_body = ann.place_again(&Draft::of(&lamp, 2), "mine").await;
    other_body.refused(400, "IDEMPOTENCY_KEY_REUSED");
    let other_person = ben.place_again(&Draft::of(&lamp, 2), "mine").await.ok();
    assert_ne!(order_id(&first), order_id(&other_person));
    assert_eq!(state(&ann.ended(&order_id(&first)).await), "CONFIRMED");
    assert_eq!(state(&ben.ended(&order_id(&other_person)).await), "CONFIRMED");
    assert_eq!(shop.admin.stock(&lamp).await, (7, 0));
}
