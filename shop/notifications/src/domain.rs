//! What an e-mail says: pure text, no I/O.

use banyan::prelude::*;
use shop_contracts::notifications::v1::NotificationKind as Kind;
use shop_contracts::orders::v1::{OrderCancelled, OrderConfirmed, OrderRefunded};
use shop_contracts::types::v1::{LineItem, Money};
use std::fmt::Write;

/// Lines of an order that an e-mail lists; of more it says how many.
const LINES_MAX: usize = 20;

/// An e-mail that is not addressed yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    pub(crate) order_id: String,
    pub(crate) kind: Kind,
    pub(crate) user_id: String,
    pub(crate) subject: String,
    pub(crate) body: String,
}

impl Draft {
    pub(crate) fn confirmed(order: &OrderConfirmed) -> Result<Self> {
        let total = total(&order.order_id, &order.total)?;
        let goods = goods(&order.lines);
        Ok(Self {
            order_id: order.order_id.clone(),
            kind: Kind::OrderConfirmed,
            user_id: order.user_id.clone(),
            subject: format!("Your order {} is on its way", order.order_id),
            body: format!(
                "We have charged your card with {total} and handed over your parcel:\n\n{goods}\nThank you!\n"
            ),
        })
    }

    pub(crate) fn cancelled(order: &OrderCancelled) -> Result<Self> {
        let total = total(&order.order_id, &order.total)?;
        let why = explain(&order.reason);
        Ok(Self {
            order_id: order.order_id.clone(),
            kind: Kind::OrderCancelled,
            user_id: order.user_id.clone(),
            subject: format!("Your order {} was cancelled", order.order_id),
            body: format!("{why}\n\nIf we had charged your card, you have the {total} back.\n"),
        })
    }

    pub(crate) fn refunded(order: &OrderRefunded) -> Result<Self> {
        let total = total(&order.order_id, &order.total)?;
        let goods = goods(&order.lines);
        Ok(Self {
            order_id: order.order_id.clone(),
            kind: Kind::OrderRefunded,
            user_id: order.user_id.clone(),
            subject: format!("Your order {} was refunded", order.order_id),
            body: format!("Your card got {total} back for:\n\n{goods}"),
        })
    }
}

fn total<'a>(order_id: &str, total: &'a Option<Money>) -> Result<&'a Money> {
    total.as_ref().ok_or_else(|| Error::data_loss(format!("an event of order {order_id} has no total")))
}

fn goods(lines: &[LineItem]) -> String {
    let mut text = String::new();
    for line in lines.iter().take(LINES_MAX) {
        writeln!(text, "{:>6} x {} ({})", line.quantity, line.name, line.product_id)
            .expect("a String takes all text");
    }
    if let Some(more @ 1..) = lines.len().checked_sub(LINES_MAX) {
        writeln!(text, "and {more} more").expect("a String takes all text");
    }
    text
}

/// Says a reason in a customer's words.
fn explain(reason: &str) -> String {
    match reason {
        "INSUFFICIENT_STOCK" => "We are sorry: something in your order is sold out.".to_owned(),
        "CARD_DECLINED" => "We are sorry: your card was declined.".to_owned(),
        "RESERVATION_EXPIRED" => {
            "We are sorry: we could not complete your order in time and had to let the goods go.".to_owned()
        }
        "" => "Your order was cancelled.".to_owned(),
        reason => format!("Your order was cancelled: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, quantity: i32) -> LineItem {
        LineItem::priced("85123A".into(), name.into(), quantity, Money::gbp(255)).unwrap()
    }

    #[test]
    fn a_confirmation_names_the_money_and_the_goods() {
        let draft = Draft::confirmed(&OrderConfirmed {
            order_id: "o-1".into(),
            user_id: "u-1".into(),
            lines: vec![line("HEART HOLDER", 6)],
            total: Some(Money::gbp(1530)),
            ..OrderConfirmed::default()
        })
        .unwrap();
        assert_eq!(
            (draft.kind, draft.subject.as_str()),
            (Kind::OrderConfirmed, "Your order o-1 is on its way")
        );
        assert!(draft.body.contains("15.30 GBP"), "{}", draft.body);
        assert!(draft.body.contains("6 x HEART HOLDER (85123A)"), "{}", draft.body);
    }

    #[test]
    fn a_long_order_does_not_make_a_long_email() {
        let lines = |n: usize| goods(&vec![line("CUP", 1); n]);
        assert_eq!(lines(LINES_MAX).lines().count(), LINES_MAX);
        assert!(lines(500).ends_with("and 480 more\n"));
        assert_eq!(lines(500).lines().count(), LINES_MAX + 1);
    }

    #[test]
    fn a_cancellation_says_why_in_the_customers_words() {
        for (reason, words) in [
            ("CARD_DECLINED", "your card was declined"),
            ("INSUFFICIENT_STOCK", "sold out"),
            ("", "was cancelled."),
            ("changed my mind", "cancelled: changed my mind"),
        ] {
            let total = Some(Money::gbp(1));
            let order = OrderCancelled { reason: reason.into(), total, ..OrderCancelled::default() };
            let body = Draft::cancelled(&order).unwrap().body;
            assert!(body.contains(words), "{reason}: {body}");
        }
    }

    #[test]
    fn an_event_without_money_is_not_an_event() {
        let error = Draft::refunded(&OrderRefunded::default()).unwrap_err();
        assert_eq!(error.code(), Code::DataLoss);
    }
}
