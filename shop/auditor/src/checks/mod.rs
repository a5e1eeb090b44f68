//! The checks: pure functions over [`Facts`], each proving one claim.

pub(crate) mod money;
pub(crate) mod receipts;
pub(crate) mod stock;

use crate::facts::{Facts, OrderState};
use crate::report::{Check, OrderCounts, Report};
use std::collections::BTreeMap;

/// Runs every check.
pub(crate) fn run(facts: &Facts) -> Report {
    let checks = vec![
        orders_final(facts),
        order_totals(facts),
        stock::stock_conserved(facts),
        stock::stock_follows_orders(facts),
        stock::shipments_follow_orders(facts),
        money::ledger_follows_orders(facts),
        money::ledger_sums_up(facts),
        money::payments_follow_ledger(facts),
        receipts::emails_follow_orders(facts),
        receipts::points_follow_orders(facts),
        receipts::sales_follow_orders(facts),
    ];
    Report::new(counts(facts), checks)
}

fn counts(facts: &Facts) -> OrderCounts {
    let mut counts = OrderCounts { total: facts.orders.len(), ..OrderCounts::default() };
    for order in facts.orders.values() {
        match order.state {
            OrderState::Pending => counts.pending += 1,
            OrderState::Confirmed => counts.confirmed += 1,
            OrderState::Cancelled => counts.cancelled += 1,
            OrderState::Refunded => counts.refunded += 1,
            OrderState::Unknown(_) => {}
        }
    }
    counts
}

fn orders_final(facts: &Facts) -> Check {
    let mut check = Check::new("orders_final", "every order is confirmed, cancelled or refunded");
    for (id, order) in &facts.orders {
        check.examined += 1;
        if matches!(order.state, OrderState::Pending | OrderState::Unknown(_)) {
            check.violated(id, format!("is {:?}", order.state));
        }
    }
    check
}

pub(crate) fn order_totals(facts: &Facts) -> Check {
    let mut check =
        Check::new("order_totals", "an order's total is the sum of its lines, and there is at least one");
    for (id, order) in &facts.orders {
        check.examined += 1;
        check.equal(id, "the lines sum up to", order.lines.iter().map(|line| line.total).sum(), order.total);
        if order.lines.iter().any(|line| line.quantity <= 0 || line.total < 0) || order.lines.is_empty() {
            check.violated(id, "has no lines, or a line without pieces or with a negative price");
        }
    }
    check
}

/// Groups rows by the order they belong to.
fn by_order<'a, T>(
    rows: &'a [T],
    order_id: impl Fn(&'a T) -> Option<&'a str>,
) -> BTreeMap<&'a str, Vec<&'a T>> {
    let mut groups: BTreeMap<&str, Vec<&T>> = BTreeMap::new();
    for row in rows {
        if let Some(order_id) = order_id(row) {
            groups.entry(order_id).or_default().push(row);
        }
    }
    groups
}

/// Notes a violation for each group whose order does not exist.
fn no_strangers<T>(check: &mut Check, facts: &Facts, groups: &BTreeMap<&str, Vec<&T>>, what: &str) {
    for order_id in groups.keys().filter(|order_id| !facts.orders.contains_key(**order_id)) {
        check.violated(*order_id, format!("{what} of an order that does not exist"));
    }
}

#[cfg(test)]
mod tests;
