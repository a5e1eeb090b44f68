//! What follows an order's end: one e-mail, one award of points, one count in the sales.

use super::{by_order, no_strangers};
use crate::facts::{EmailKind, Facts, OrderState, SalesGroup};
use crate::report::Check;
use std::collections::BTreeMap;

/// Pence for which one point is awarded.
const PENCE_PER_POINT: i64 = 100;

pub(crate) fn emails_follow_orders(facts: &Facts) -> Check {
    let mut check = Check::new(
        "emails_follow_orders",
        "every order has exactly one e-mail for each end it came to, and no other",
    );
    let groups = by_order(&facts.emails, |email| Some(&email.order_id));
    no_strangers(&mut check, facts, &groups, "an e-mail");
    for (id, order) in &facts.orders {
        check.examined += 1;
        let emails = groups.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let mut found: Vec<EmailKind> = emails.iter().map(|email| email.kind).collect();
        found.sort_unstable();
        let expected: &[EmailKind] = match order.state {
            OrderState::Confirmed => &[EmailKind::Confirmed],
            OrderState::Cancelled => &[EmailKind::Cancelled],
            OrderState::Refunded => &[EmailKind::Confirmed, EmailKind::Refunded],
            OrderState::Pending | OrderState::Unknown(_) => &[],
        };
        if found != expected {
            check.violated(id, format!("is {:?} and has the e-mails {found:?}", order.state));
        }
        if emails.iter().any(|email| email.user_id != order.user_id) {
            check.violated(id, "an e-mail went to somebody else");
        }
    }
    check
}

pub(crate) fn points_follow_orders(facts: &Facts) -> Check {
    let mut check = Check::new(
        "points_follow_orders",
        "every confirmed order has exactly one entry of a point per pound, a refunded one also the opposite",
    );
    let groups = by_order(&facts.points, |entry| Some(&entry.order_id));
    no_strangers(&mut check, facts, &groups, "points");
    for (id, order) in &facts.orders {
        check.examined += 1;
        let entries = groups.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let mut found: Vec<i64> = entries.iter().map(|entry| entry.points).collect();
        found.sort_unstable();
        let award = order.total / PENCE_PER_POINT;
        let expected: &[i64] = match order.state {
            OrderState::Confirmed => &[award],
            OrderState::Refunded => &[-award, award],
            OrderState::Cancelled | OrderState::Pending | OrderState::Unknown(_) => &[],
        };
        if found != expected {
            check.violated(id, format!("is {:?} and has entries of {found:?} points", order.state));
        }
        if entries.iter().any(|entry| entry.user_id != order.user_id) {
            check.violated(id, "its points went to somebody else");
        }
    }
    check
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sold {
    orders: i64,
    units: i64,
    revenue: i64,
}

pub(crate) fn sales_follow_orders(facts: &Facts) -> Check {
    let mut check = Check::new(
        "sales_follow_orders",
        "analytics counts the confirmed orders: their number, pieces and money per product and per country",
    );
    let mut expected: BTreeMap<(SalesGroup, &str), Sold> = BTreeMap::new();
    for order in facts.orders.values().filter(|order| order.state == OrderState::Confirmed) {
        let mut of_order: BTreeMap<(SalesGroup, &str), Sold> = BTreeMap::new();
        for line in &order.lines {
            for key in
                [(SalesGroup::Product, line.product_id.as_str()), (SalesGroup::Country, &order.country)]
            {
                let sold = of_order.entry(key).or_default();
                sold.orders = 1;
                sold.units += line.quantity;
                sold.revenue += line.total;
            }
        }
        for (key, of_order) in of_order {
            add(expected.entry(key).or_default(), of_order);
        }
    }
    let mut found: BTreeMap<(SalesGroup, &str), Sold> = BTreeMap::new();
    for sale in &facts.sales {
        let counted = Sold { orders: sale.orders, units: sale.units, revenue: sale.revenue };
        add(found.entry((sale.group, &sale.key)).or_default(), counted);
    }
    let nothing = Sold::default();
    for key in expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key))) {
        check.examined += 1;
        let (wanted, counted) = (expected.get(key).unwrap_or(&nothing), found.get(key).unwrap_or(&nothing));
        check.equal(key.1, "orders", counted.orders, wanted.orders);
        check.equal(key.1, "pieces", counted.units, wanted.units);
        check.equal(key.1, "pence", counted.revenue, wanted.revenue);
    }
    check
}

fn add(sum: &mut Sold, more: Sold) {
    sum.orders += more.orders;
    sum.units += more.units;
    sum.revenue += more.revenue;
}
