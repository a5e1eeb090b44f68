//! Money: what the card processor moved is what the orders cost, to the penny.

use super::{by_order, no_strangers};
use crate::facts::{Facts, OrderState, PaymentState};
use crate::report::Check;

pub(crate) fn ledger_follows_orders(facts: &Facts) -> Check {
    let mut check = Check::new(
        "ledger_follows_orders",
        "a confirmed order was charged its total once, a refunded one got it back once, a cancelled one nets zero",
    );
    let groups = by_order(&facts.ledger, |entry| entry.order_id.as_deref());
    no_strangers(&mut check, facts, &groups, "a movement of money");
    for entry in facts.ledger.iter().filter(|entry| entry.order_id.is_none()) {
        check.violated(&entry.id, format!("{} pence moved for no order", entry.amount));
    }
    for (id, order) in &facts.orders {
        check.examined += 1;
        let amounts: Vec<i64> =
            groups.get(id.as_str()).into_iter().flatten().map(|entry| entry.amount).collect();
        let expected: &[&[i64]] = match order.state {
            OrderState::Confirmed => &[&[order.total]],
            OrderState::Refunded => &[&[order.total, -order.total]],
            OrderState::Cancelled => &[&[], &[order.total, -order.total]],
            OrderState::Pending | OrderState::Unknown(_) => continue,
        };
        if !expected.contains(&amounts.as_slice()) {
            let problem =
                format!("is {:?} and costs {}, the ledger has {amounts:?}", order.state, order.total);
            check.violated(id, problem);
        }
    }
    check
}

pub(crate) fn ledger_sums_up(facts: &Facts) -> Check {
    let mut check = Check::new(
        "ledger_sums_up",
        "the processor's balance is the sum of its ledger and of all confirmed orders",
    );
    check.examined = facts.ledger.len();
    let confirmed = facts.orders.values().filter(|order| order.state == OrderState::Confirmed);
    check.equal("ledger", "sums up to", facts.ledger.iter().map(|entry| entry.amount).sum(), facts.balance);
    check.equal("balance", "is", facts.balance, confirmed.map(|order| order.total).sum());
    check
}

pub(crate) fn payments_follow_ledger(facts: &Facts) -> Check {
    let mut check = Check::new(
        "payments_follow_ledger",
        "the payment of every order is settled and says what the processor's ledger says",
    );
    let ledger = by_order(&facts.ledger, |entry| entry.order_id.as_deref());
    let groups = by_order(&facts.payments, |payment| Some(&payment.order_id));
    no_strangers(&mut check, facts, &groups, "a payment");
    for (id, order) in &facts.orders {
        check.examined += 1;
        let of_order = groups.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let net: i64 = ledger.get(id.as_str()).into_iter().flatten().map(|entry| entry.amount).sum();
        let [payment] = of_order else {
            if !of_order.is_empty() || order.state.was_confirmed() || net != 0 {
                check.violated(id, format!("is {:?} and has {} payments", order.state, of_order.len()));
            }
            continue;
        };
        let captured = match payment.state {
            PaymentState::Captured => payment.amount,
            PaymentState::Declined | PaymentState::Refunded => 0,
            PaymentState::Pending | PaymentState::Unknown(_) => {
                if order.state != OrderState::Pending {
                    check.violated(id, format!("is {:?}, its payment {:?}", order.state, payment.state));
                }
                continue;
            }
        };
        check.equal(id, "the payment says", captured, net);
        if order.state == OrderState::Refunded && payment.state != PaymentState::Refunded {
            check.violated(id, format!("is refunded, its payment {:?}", payment.state));
        }
    }
    check
}
