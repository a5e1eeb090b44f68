//! The difficult cards: whatever the processor does, a customer pays once or not at all.

use crate::support::{Draft, Person, Shop, order_id, state};
use serde_json::json;

pub(super) async fn a_declined_card_leaves_no_trace(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(2_500, 10).await;
    let order = customer.buy(&Draft::of(&lamp, 2).card("tok_declined")).await;
    assert_eq!((state(&order), &order["cancelReason"]), ("CANCELLED", &json!("CARD_DECLINED")), "{order}");
    let id = order_id(&order);
    shop.admin.held(&lamp, (10, 0)).await;
    assert_eq!(shop.ledger_of(&id).await, [0; 0], "no money moved");
    customer.emails(&id, &["CANCELLED"]).await;
    assert_eq!(customer.points(&id, &[]).await, 0);
}

pub(super) async fn a_card_that_fails_first_is_charged_once(shop: &Shop) {
    charged_once(shop, "tok_error").await;
}

pub(super) async fn a_slow_card_is_charged_once(shop: &Shop) {
    charged_once(shop, "tok_slow").await;
}

pub(super) async fn a_card_whose_answer_is_lost_is_charged_once(shop: &Shop) {
    charged_once(shop, "tok_timeout").await;
}

async fn charged_once(shop: &Shop, card: &'static str) {
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(1_000, 10).await;
    let order = customer.buy(&Draft::of(&lamp, 3).card(card)).await;
    assert_eq!(state(&order), "CONFIRMED", "{order}");
    let id = order_id(&order);
    assert_eq!(shop.ledger_of(&id).await, [3_000]);
    assert_eq!(shop.admin.stock(&lamp).await, (7, 0));
    customer.emails(&id, &["CONFIRMED"]).await;
    assert_eq!(customer.points(&id, &[30]).await, 30);
}
