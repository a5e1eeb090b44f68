//! Changing one's mind: before the order is confirmed, and after.

use crate::support::{Ask, Draft, Person, Shop, order_id, state};
use futures::future::join_all;
use serde_json::json;

pub(super) async fn a_pending_order_is_cancelled(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(900, 10).await;
    // The processor thinks about this card for two seconds.
    let placed = customer.place(&Draft::of(&lamp, 2).card("tok_slow")).await;
    let id = order_id(&placed);
    customer.cancel(&id, "found it cheaper").await.ok();
    let order = customer.ended(&id).await;
    assert_eq!((state(&order), &order["cancelReason"]), ("CANCELLED", &json!("found it cheaper")), "{order}");
    customer.cancel(&id, "still cheaper").await.ok();
    shop.admin.held(&lamp, (10, 0)).await;
    shop.settled(&id, 0).await;
    customer.emails(&id, &["CANCELLED"]).await;
    assert_eq!(customer.points(&id, &[]).await, 0);
    let refund = shop.admin.refund(&id).await;
    refund.refused(400, "ORDER_NOT_REFUNDABLE");
}

pub(super) async fn a_confirmed_order_is_refunded_once(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(1_500, 10).await;
    let id = order_id(&customer.buy(&Draft::of(&lamp, 4)).await);
    customer.points(&id, &[60]).await;
    customer.cancel(&id, "too late").await.refused(400, "ORDER_NOT_CANCELLABLE");
    customer.refund(&id).await.refused(403, "PERMISSION_DENIED");

    let asked = join_all((0..3).map(|_| shop.admin.refund(&id))).await;
    asked.into_iter().for_each(|answer| drop(answer.ok()));
    let order = customer.reached(&id, |state| state == "REFUNDED").await;
    assert_eq!(order["total"]["minorUnits"], "6000");
    shop.admin.refund(&id).await.ok();
    assert_eq!(shop.ledger_of(&id).await, [6_000, -6_000]);
    shop.admin.held(&lamp, (10, 0)).await;
    let shipment = customer.ask(Ask::get(format!("/v1/orders/{id}/shipment"))).await.ok();
    assert_eq!(shipment["state"], "SHIPMENT_STATE_CANCELLED");
    customer.emails(&id, &["CONFIRMED", "REFUNDED"]).await;
    assert_eq!(customer.points(&id, &[60, -60]).await, 0);
}
