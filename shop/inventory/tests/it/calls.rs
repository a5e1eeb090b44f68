//! What is asked directly, as an orchestrated checkout does, and what becomes of it with time.

use crate::{Fixture, items, refused};
use banyan::prelude::*;
use banyan_testkit::until;
use shop_contracts::inventory::v1::*;

#[tokio::test]
async fn an_order_gets_all_of_its_goods_or_none() {
    let it = Fixture::new().await;
    let error = it.reserve("o-1", &[("a", 10), ("b", 6)]).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "INSUFFICIENT_STOCK"));
    assert!(error.message().contains("of b are wanted, 5 are there"), "{error}");
    assert_eq!(refused(it.reserve("o-2", &[("uncounted", 1)]).await), "INSUFFICIENT_STOCK");
    assert_eq!((it.stock("a").await, it.stock("b").await), ((10, 0), (5, 0)));

    // What was refused for want of goods may be asked for again.
    it.set("b", 6).await.unwrap();
    let held = it.reserve("o-1", &[("a", 10), ("b", 6)]).await.unwrap();
    assert_eq!((held.state(), held.items), (ReservationState::Held, items(&[("a", 10), ("b", 6)])));
    assert_eq!((it.stock("a").await, it.stock("b").await), ((10, 10), (6, 6)));
}

#[tokio::test]
async fn goods_move_once_however_often_they_are_asked_to() {
    let it = Fixture::new().await;
    it.system.duplicate_calls();
    let goods = [("a", 3), ("b", 1)];
    let held = it.reserve("o-1", &goods).await.unwrap();
    assert_eq!(it.reserve("o-1", &goods).await.unwrap(), held);
    assert_eq!(it.stock("a").await, (10, 3));
    let committed = it.commit("o-1").await.unwrap();
    assert_eq!(
        (it.commit("o-1").await.unwrap(), committed.state()),
        (committed.clone(), ReservationState::Committed)
    );
    assert_eq!((it.stock("a").await, it.stock("b").await), ((7, 0), (4, 0)));
    let back = it.restock("o-1").await.unwrap();
    assert_eq!((it.restock("o-1").await.unwrap(), back.state()), (back.clone(), ReservationState::Restocked));
    assert_eq!((it.stock("a").await, it.stock("b").await), ((10, 0), (5, 0)));

    it.reserve("o-2", &goods).await.unwrap();
    let released = it.release("o-2").await.unwrap();
    assert_eq!(
        (it.release("o-2").await.unwrap(), released.state()),
        (released.clone(), ReservationState::Released)
    );
    assert_eq!(it.stock("a").await, (10, 0));
}

#[tokio::test]
async fn what_comes_too_late_is_refused() {
    let it = Fixture::new().await;
    // The undo of a step that was never done, and then the step.
    for (order_id, never) in [("o-1", it.release("o-1").await), ("o-2", it.restock("o-2").await)] {
        assert_eq!(never.unwrap().state(), ReservationState::Released);
        assert_eq!(refused(it.reserve(order_id, &[("a", 1)]).await), "RESERVATION_CLOSED");
        assert_eq!(refused(it.commit(order_id).await), "RESERVATION_CLOSED");
    }
    it.reserve("o-3", &[("a", 1)]).await.unwrap();
    it.release("o-3").await.unwrap();
    assert_eq!(refused(it.reserve("o-3", &[("a", 1)]).await), "RESERVATION_CLOSED");
    assert_eq!(refused(it.commit("o-3").await), "RESERVATION_CLOSED");
    assert_eq!(refused(it.commit("o-4").await), "RESERVATION_CLOSED");

    it.reserve("o-5", &[("a", 1)]).await.unwrap();
    it.commit("o-5").await.unwrap();
    assert_eq!(refused(it.release("o-5").await), "RESERVATION_COMMITTED");
    it.restock("o-5").await.unwrap();
    assert_eq!(refused(it.commit("o-5").await), "RESERVATION_CLOSED");
    assert_eq!(it.stock("a").await, (10, 0));
}

#[tokio::test]
async fn goods_are_not_held_for_ever() {
    let it = Fixture::with("expiry_check_ms = 10").await;
    let mut announced = it.system.listen("inventory").await;
    it.reserve_for("o-1", &[("a", 10)], Some(1)).await.unwrap();
    let expired: ReservationExpired = announced.next_of().await;
    assert_eq!((expired.order_id.as_str(), it.stock("a").await), ("o-1", (10, 0)));
    assert_eq!(refused(it.commit("o-1").await), "RESERVATION_CLOSED");
    assert_eq!(refused(it.reserve("o-1", &[("a", 1)]).await), "RESERVATION_CLOSED");
    // The undo of the order finds nothing to do.
    assert_eq!(it.release("o-1").await.unwrap().state(), ReservationState::Expired);
    assert_eq!(it.restock("o-1").await.unwrap().state(), ReservationState::Expired);

    // What is held for longer, or has left, stays so.
    it.reserve_for("o-2", &[("a", 1)], Some(60_000)).await.unwrap();
    it.reserve_for("o-3", &[("b", 1)], Some(60_000)).await.unwrap();
    it.commit("o-3").await.unwrap();
    it.reserve_for("o-4", &[("a", 2)], Some(1)).await.unwrap();
    assert_eq!(announced.next_of::<ReservationExpired>().await.order_id, "o-4");
    assert_eq!((it.stock("a").await, it.stock("b").await), ((10, 1), (4, 0)));
}

#[tokio::test]
async fn more_reservations_than_a_batch_expire_also_over_a_restart() {
    const ORDERS: i32 = 450;
    let it = Fixture::with("expiry_check_ms = 500").await;
    it.set("a", ORDERS).await.unwrap();
    let reserve = |n| {
        let it = &it;
        async move { it.reserve_for(&format!("o-{n}"), &[("a", 1)], Some(1)).await.unwrap() }
    };
    futures::future::join_all((0..ORDERS).map(reserve)).await;
    it.system.restart("inventory").await;
    until("all reservations to expire", async || it.stock("a").await == (ORDERS, 0)).await;
}

#[tokio::test]
async fn the_last_pieces_go_to_somebody_once() {
    let it = Fixture::new().await;
    let orders = (0..40).map(|n| {
        let it = &it;
        async move { it.reserve(&format!("o-{n}"), &[("b", 1), ("a", 2)]).await }
    });
    let outcomes = futures::future::join_all(orders).await;
    let (held, short): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((held.len(), short.len()), (5, 35));
    assert!(short.into_iter().all(|outcome| refused(outcome) == "INSUFFICIENT_STOCK"));
    assert_eq!((it.stock("a").await, it.stock("b").await), ((10, 10), (5, 5)));
}

#[tokio::test]
async fn what_is_held_cannot_be_counted_away() {
    let it = Fixture::new().await;
    it.reserve("o-1", &[("a", 4)]).await.unwrap();
    let error = it.set("a", 3).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "STOCK_RESERVED"));
    it.set("a", 4).await.unwrap();
    assert_eq!(refused(it.reserve("o-2", &[("a", 1)]).await), "INSUFFICIENT_STOCK");
    it.commit("o-1").await.unwrap();
    assert_eq!(it.stock("a").await, (0, 0));
}

#[tokio::test]
async fn an_import_counts_every_product() {
    let it = Fixture::new().await;
    let counted = |n: i32| ImportStockRequest { product_id: format!("p{n}"), on_hand: n };
    let admin = it.system.as_admin();
    for _ in 0..2 {
        let requests: Vec<_> = (0..1_200).map(counted).collect();
        let imported = it.inventory.import_stock(&admin, Streaming::of(requests)).await.unwrap();
        assert_eq!(imported.imported, 1_200);
    }
    assert_eq!(it.stock("p1199").await, (1_199, 0));
    let bad = ImportStockRequest { product_id: "p7".into(), on_hand: -1 };
    let error = it.inventory.import_stock(&admin, Streaming::of(vec![counted(8), bad])).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(it.stock("p7").await, (7, 0));
}

#[tokio::test]
async fn what_is_invalid_names_its_field_and_moves_nothing() {
    let it = Fixture::new().await;
    let field = |outcome: Result<Reservation>| {
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        error.violations()[0].field.clone()
    };
    assert_eq!(field(it.reserve("", &[("a", 1)]).await), "order_id");
    assert_eq!(field(it.reserve("o-1", &[]).await), "items");
    assert_eq!(field(it.reserve("o-1", &[("a", 1), ("b", 0)]).await), "items[1].quantity");
    assert_eq!(field(it.reserve("o-1", &[("a", -1)]).await), "items[0].quantity");
    assert_eq!(field(it.reserve("o-1", &[("a", 1), ("a", 1)]).await), "items[1].product_id");
    assert_eq!(field(it.reserve_for("o-1", &[("a", 1)], Some(0)).await), "ttl");
    assert_eq!(field(it.reserve_for("o-1", &[("a", 1)], Some(86_400_001)).await), "ttl");
    assert_eq!(field(it.release("").await), "order_id");
    assert_eq!(it.set("a", -1).await.unwrap_err().violations()[0].field, "on_hand");
    assert_eq!(it.set(" ", 1).await.unwrap_err().violations()[0].field, "product_id");
    let unknown = GetStockRequest { product_id: "nope".into() };
    assert_eq!(it.inventory.get_stock(&it.cx, unknown).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(it.stock("a").await, (10, 0));
}
