//! Goods: nothing appears, nothing vanishes, and every piece that left has its order.

use super::{by_order, no_strangers};
use crate::facts::{Facts, MovementKind, Order, OrderState, Stock};
use crate::report::Check;
use std::collections::BTreeMap;

pub(crate) fn stock_conserved(facts: &Facts) -> Check {
    let mut check = Check::new(
        "stock_conserved",
        "per product, received = on hand + shipped - restocked, and reserved is what orders hold",
    );
    let mut expected: BTreeMap<&str, Stock> = BTreeMap::new();
    for movement in &facts.movements {
        if movement.quantity < 0 && movement.kind != MovementKind::Received {
            check.violated(&movement.product_id, format!("a movement of {} pieces", movement.quantity));
        }
        let stock = expected.entry(&movement.product_id).or_default();
        match movement.kind {
            MovementKind::Received | MovementKind::Restocked => stock.on_hand += movement.quantity,
            MovementKind::Reserved => stock.reserved += movement.quantity,
            MovementKind::Released => stock.reserved -= movement.quantity,
            MovementKind::Shipped => {
                stock.on_hand -= movement.quantity;
                stock.reserved -= movement.quantity;
            }
        }
    }
    for (product_id, found) in &facts.stock {
        check.examined += 1;
        let journal = expected.remove(product_id.as_str()).unwrap_or_default();
        check.equal(product_id, "on hand", found.on_hand, journal.on_hand);
        check.equal(product_id, "reserved", found.reserved, journal.reserved);
        if found.on_hand < 0 || found.reserved < 0 || found.reserved > found.on_hand {
            check.violated(product_id, format!("{} on hand, {} reserved", found.on_hand, found.reserved));
        }
    }
    for product_id in expected.into_keys() {
        check.violated(product_id, "has movements, but no stock");
    }
    check
}

/// Pieces of one product that moved for one order.
#[derive(Clone, Copy, Default)]
struct Moved {
    reserved: i64,
    released: i64,
    shipped: i64,
    restocked: i64,
}

pub(crate) fn stock_follows_orders(facts: &Facts) -> Check {
    let mut check = Check::new(
        "stock_follows_orders",
        "a confirmed order shipped its lines, a refunded one got them back, a cancelled one moved nothing for good",
    );
    let groups = by_order(&facts.movements, |movement| movement.order_id.as_deref());
    no_strangers(&mut check, facts, &groups, "a stock movement");
    for (id, order) in &facts.orders {
        check.examined += 1;
        let mut products: BTreeMap<&str, Moved> = BTreeMap::new();
        for movement in groups.get(id.as_str()).into_iter().flatten() {
            let moved = products.entry(&movement.product_id).or_default();
            match movement.kind {
                MovementKind::Received => {}
                MovementKind::Reserved => moved.reserved += movement.quantity,
                MovementKind::Released => moved.released += movement.quantity,
                MovementKind::Shipped => moved.shipped += movement.quantity,
                MovementKind::Restocked => moved.restocked += movement.quantity,
            }
        }
        follow(&mut check, id, order, &products);
    }
    check
}

fn follow(check: &mut Check, id: &str, order: &Order, products: &BTreeMap<&str, Moved>) {
    let mut ordered: BTreeMap<&str, i64> = BTreeMap::new();
    for line in &order.lines {
        *ordered.entry(&line.product_id).or_default() += line.quantity;
    }
    for (product_id, moved) in products {
        if !ordered.contains_key(product_id) {
            check.violated(id, format!("moved {product_id}, which it did not order"));
        }
        if order.state != OrderState::Pending && moved.reserved != moved.released + moved.shipped {
            let Moved { reserved, released, shipped, .. } = moved;
            let problem =
                format!("{product_id}: {reserved} reserved, {released} released, {shipped} shipped");
            check.violated(id, problem);
        }
    }
    for (product_id, quantity) in ordered {
        let moved = products.get(product_id).copied().unwrap_or_default();
        let gone = moved.shipped - moved.restocked;
        match order.state {
            OrderState::Confirmed => check.equal(id, &format!("{product_id}: pieces gone"), gone, quantity),
            OrderState::Cancelled => check.equal(id, &format!("{product_id}: pieces gone"), gone, 0),
            OrderState::Refunded => {
                check.equal(id, &format!("{product_id}: pieces shipped"), moved.shipped, quantity);
                check.equal(id, &format!("{product_id}: pieces restocked"), moved.restocked, quantity);
            }
            OrderState::Pending | OrderState::Unknown(_) => {}
        }
    }
}

pub(crate) fn shipments_follow_orders(facts: &Facts) -> Check {
    let mut check = Check::new(
        "shipments_follow_orders",
        "a confirmed order has one shipment on its way, any other order has none",
    );
    let groups = by_order(&facts.shipments, |shipment| Some(&shipment.order_id));
    no_strangers(&mut check, facts, &groups, "a shipment");
    for (id, order) in &facts.orders {
        check.examined += 1;
        let of_order = groups.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let under_way = of_order.iter().filter(|shipment| !shipment.cancelled).count();
        match order.state {
            OrderState::Confirmed => check.equal(id, "shipments under way", under_way as i64, 1),
            OrderState::Cancelled | OrderState::Refunded => {
                check.equal(id, "shipments under way", under_way as i64, 0);
            }
            OrderState::Pending | OrderState::Unknown(_) => {}
        }
    }
    check
}
