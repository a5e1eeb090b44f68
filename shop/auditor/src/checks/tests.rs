//! A small shop whose books balance, and every way in which they could not: each has to be found by its check.

use super::run;
use crate::facts::{
    Email, EmailKind, Facts, LedgerEntry, Line, Movement, MovementKind, Order, OrderState, Payment,
    PaymentState, Points, Sale, SalesGroup, Shipment, Stock,
};

const CONFIRMED: &str = "order-confirmed";
const CANCELLED: &str = "order-cancelled";
const REFUNDED: &str = "order-refunded";

fn order(state: OrderState) -> Order {
    let line =
        |product_id: &str, quantity, total| Line { product_id: product_id.to_owned(), quantity, total };
    let lines = vec![line("85123A", 2, 510), line("22423", 1, 1275)];
    Order { user_id: "user-1".to_owned(), state, total: 1785, country: "France".to_owned(), lines }
}

fn moves(order_id: &str, kinds: &[MovementKind]) -> Vec<Movement> {
    let movement = |kind: &MovementKind, product_id: &str, quantity| Movement {
        product_id: product_id.to_owned(),
        order_id: Some(order_id.to_owned()),
        kind: *kind,
        quantity,
    };
    kinds.iter().flat_map(|kind| [movement(kind, "85123A", 2), movement(kind, "22423", 1)]).collect()
}

fn entry(order_id: &str, amount: i64) -> LedgerEntry {
    LedgerEntry { id: format!("txn of {order_id}"), order_id: Some(order_id.to_owned()), amount }
}

fn email(order_id: &str, kind: EmailKind) -> Email {
    Email { order_id: order_id.to_owned(), kind, user_id: "user-1".to_owned() }
}

fn points(order_id: &str, points: i64) -> Points {
    Points { order_id: order_id.to_owned(), user_id: "user-1".to_owned(), points }
}

fn sale(group: SalesGroup, key: &str, units: i64, revenue: i64) -> Sale {
    Sale { group, key: key.to_owned(), orders: 1, units, revenue }
}

/// One order of each final state; 100 pieces of each product were received.
fn shop() -> Facts {
    use MovementKind::{Received, Released, Reserved, Restocked, Shipped};
    let received = |product_id: &str| Movement {
        product_id: product_id.to_owned(),
        order_id: None,
        kind: Received,
        quantity: 100,
    };
    let payment = |order_id: &str, state| Payment { order_id: order_id.to_owned(), state, amount: 1785 };
    let shipment = |order_id: &str, cancelled| Shipment { order_id: order_id.to_owned(), cancelled };
    Facts {
        orders: [
            (CONFIRMED.to_owned(), order(OrderState::Confirmed)),
            (CANCELLED.to_owned(), order(OrderState::Cancelled)),
            (REFUNDED.to_owned(), order(OrderState::Refunded)),
        ]
        .into(),
        stock: [
            ("85123A".to_owned(), Stock { on_hand: 98, reserved: 0 }),
            ("22423".to_owned(), Stock { on_hand: 99, reserved: 0 }),
        ]
        .into(),
        movements: [
            vec![received("85123A"), received("22423")],
            moves(CONFIRMED, &[Reserved, Shipped]),
            moves(CANCELLED, &[Reserved, Released]),
            moves(REFUNDED, &[Reserved, Shipped, Restocked]),
        ]
        .concat(),
        payments: vec![
            payment(CONFIRMED, PaymentState::Captured),
            payment(CANCELLED, PaymentState::Refunded),
            payment(REFUNDED, PaymentState::Refunded),
        ],
        ledger: vec![
            entry(CONFIRMED, 1785),
            entry(CANCELLED, 1785),
            entry(CANCELLED, -1785),
            entry(REFUNDED, 1785),
            entry(REFUNDED, -1785),
        ],
        balance: 1785,
        shipments: vec![shipment(CONFIRMED, false), shipment(CANCELLED, true), shipment(REFUNDED, true)],
        emails: vec![
            email(CONFIRMED, EmailKind::Confirmed),
            email(CANCELLED, EmailKind::Cancelled),
            email(REFUNDED, EmailKind::Confirmed),
            email(REFUNDED, EmailKind::Refunded),
        ],
        points: vec![points(CONFIRMED, 17), points(REFUNDED, 17), points(REFUNDED, -17)],
        sales: vec![
            sale(SalesGroup::Product, "85123A", 2, 510),
            sale(SalesGroup::Product, "22423", 1, 1275),
            sale(SalesGroup::Country, "France", 3, 1785),
        ],
    }
}

/// Damages the books and returns the names of the checks that notice.
fn failed_after(damage: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
    let mut facts = shop();
    damage(&mut facts);
    let report = run(&facts);
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.passed).map(|check| check.name).collect();
    assert_eq!(report.passed, failed.is_empty());
    failed
}

fn state_of<'a>(facts: &'a mut Facts, id: &str) -> &'a mut OrderState {
    &mut facts.orders.get_mut(id).expect("one of the three orders").state
}

#[test]
fn books_that_balance_pass_every_check() {
    let report = run(&shop());
    assert!(report.passed, "{report}");
    assert_eq!((report.orders.total, report.orders.confirmed, report.orders.pending), (3, 1, 0));
    assert!(report.checks.iter().all(|check| check.examined > 0), "{report}");
    assert!(run(&Facts::default()).passed, "a shop without orders");
}

#[test]
fn a_pending_order_is_found() {
    let failed = failed_after(|facts| *state_of(facts, CANCELLED) = OrderState::Pending);
    assert!(failed.contains(&"orders_final"), "{failed:?}");
    let failed = failed_after(|facts| *state_of(facts, CANCELLED) = OrderState::Unknown(9));
    assert!(failed.contains(&"orders_final"), "{failed:?}");
}

#[test]
fn a_wrong_total_is_found() {
    let failed = failed_after(|facts| facts.orders.get_mut(CANCELLED).expect("exists").lines[0].total -= 1);
    assert_eq!(failed, ["order_totals"]);
}

#[test]
fn lost_stolen_and_misplaced_goods_are_found() {
    let failed = failed_after(|facts| facts.stock.get_mut("22423").expect("exists").on_hand -= 1);
    assert_eq!(failed, ["stock_conserved"]);
    let failed = failed_after(|facts| facts.stock.get_mut("22423").expect("exists").reserved += 1);
    assert_eq!(failed, ["stock_conserved"]);
    let failed = failed_after(|facts| facts.stock.retain(|product_id, _| product_id != "22423"));
    assert_eq!(failed, ["stock_conserved"]);

    // A movement that is missing also from the stock: only its order shows it.
    let failed = failed_after(|facts| {
        facts.movements.retain(|known| known.order_id.as_deref() != Some(CONFIRMED));
        for stock in facts.stock.values_mut() {
            stock.on_hand = 100;
        }
    });
    assert_eq!(failed, ["stock_follows_orders"]);
    // Goods shipped twice, consistently booked.
    let failed = failed_after(|facts| {
        facts.movements.extend(moves(CONFIRMED, &[MovementKind::Reserved, MovementKind::Shipped]));
        facts.stock.insert("85123A".to_owned(), Stock { on_hand: 96, reserved: 0 });
        facts.stock.insert("22423".to_owned(), Stock { on_hand: 98, reserved: 0 });
    });
    assert_eq!(failed, ["stock_follows_orders"]);
    // A reservation that nobody gave back.
    let failed = failed_after(|facts| {
        facts.movements.extend(moves(CANCELLED, &[MovementKind::Reserved]));
        facts.stock.insert("85123A".to_owned(), Stock { on_hand: 98, reserved: 2 });
        facts.stock.insert("22423".to_owned(), Stock { on_hand: 99, reserved: 1 });
    });
    assert_eq!(failed, ["stock_follows_orders"]);
}

#[test]
fn a_missing_or_forgotten_parcel_is_found() {
    assert_eq!(failed_after(|facts| facts.shipments[0].cancelled = true), ["shipments_follow_orders"]);
    assert_eq!(failed_after(|facts| facts.shipments[1].cancelled = false), ["shipments_follow_orders"]);
    let stranger = |facts: &mut Facts| facts.shipments[1].order_id = "nobody".to_owned();
    assert_eq!(failed_after(stranger), ["shipments_follow_orders"]);
}

#[test]
fn money_that_moved_wrongly_is_found() {
    let charged_twice = failed_after(|facts| {
        facts.ledger.push(entry(CONFIRMED, 1785));
        facts.balance += 1785;
    });
    assert_eq!(charged_twice, ["ledger_follows_orders", "ledger_sums_up", "payments_follow_ledger"]);
    let not_refunded = failed_after(|facts| {
        facts.ledger.remove(2);
        facts.balance += 1785;
    });
    assert_eq!(not_refunded, ["ledger_follows_orders", "ledger_sums_up", "payments_follow_ledger"]);
    let charged_and_refunded_twice = failed_after(|facts| {
        facts.ledger.extend([entry(CANCELLED, 1785), entry(CANCELLED, -1785)]);
    });
    assert_eq!(charged_and_refunded_twice, ["ledger_follows_orders"]);
    let other_amount = failed_after(|facts| {
        facts.ledger[1].amount = 1000;
        facts.ledger[2].amount = -1000;
    });
    assert_eq!(other_amount, ["ledger_follows_orders"]);
    assert_eq!(failed_after(|facts| facts.ledger[0].order_id = None)[0], "ledger_follows_orders");
    assert_eq!(failed_after(|facts| facts.balance += 1), ["ledger_sums_up"]);
}

#[test]
fn payments_that_disagree_with_the_processor_are_found() {
    for damage in [
        (|facts: &mut Facts| facts.payments[0].state = PaymentState::Pending) as fn(&mut Facts),
        |facts| facts.payments[0].state = PaymentState::Declined,
        |facts| facts.payments[1].state = PaymentState::Captured,
        |facts| facts.payments[2].state = PaymentState::Declined,
        |facts| facts.payments[0].amount -= 1,
        |facts| facts.payments.push(facts.payments[0].clone()),
        |facts| drop(facts.payments.remove(0)),
    ] {
        assert_eq!(failed_after(damage), ["payments_follow_ledger"]);
    }
}

#[test]
fn doubled_missing_and_wrong_receipts_are_found() {
    for damage in [
        (|facts: &mut Facts| facts.emails.push(facts.emails[0].clone())) as fn(&mut Facts),
        |facts| drop(facts.emails.remove(0)),
        |facts| facts.emails[1].kind = EmailKind::Confirmed,
        |facts| facts.emails[0].order_id = "nobody".to_owned(),
        |facts| facts.emails[0].user_id = "user-2".to_owned(),
    ] {
        assert_eq!(failed_after(damage), ["emails_follow_orders"]);
    }
    for damage in [
        (|facts: &mut Facts| facts.points.push(facts.points[0].clone())) as fn(&mut Facts),
        |facts| drop(facts.points.remove(0)),
        |facts| facts.points[0].points += 1,
        |facts| facts.points[0].user_id = "user-2".to_owned(),
        |facts| drop(facts.points.pop()),
    ] {
        assert_eq!(failed_after(damage), ["points_follow_orders"]);
    }
    for damage in [
        (|facts: &mut Facts| facts.sales[0].units += 1) as fn(&mut Facts),
        |facts| facts.sales[1].orders += 1,
        |facts| facts.sales[2].revenue -= 1,
        |facts| facts.sales[2].key = "Spain".to_owned(),
        |facts| drop(facts.sales.pop()),
    ] {
        assert_eq!(failed_after(damage), ["sales_follow_orders"]);
    }
}

#[test]
fn a_check_names_ten_offenders_and_counts_the_rest() {
    let mut facts = Facts::default();
    for number in 0..25 {
        facts.orders.insert(format!("order-{number:02}"), order(OrderState::Pending));
    }
    let report = run(&facts);
    let check = report.check("orders_final").expect("it always runs");
    assert_eq!((check.examined, check.violations, check.offenders.len()), (25, 25, 10));
    let text = report.to_string();
    assert!(text.contains("order-09: is Pending") && text.contains("and 15 more"), "{text}");
    assert!(text.ends_with("THE BOOKS DO NOT BALANCE"), "{text}");
}
