//! What an order is worth: pure decisions, no I/O.

use banyan::prelude::*;
use shop_contracts::money::GBP;
use shop_contracts::orders::v1::{OrderConfirmed, OrderRefunded};
use shop_contracts::types::v1::Money;

/// Pence that earn a point.
const PENCE_PER_POINT: i64 = 100;

/// Why an entry is there; an order has at most one of each. The numbers are kept in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Awarded = 1,
    TakenBack = 2,
}

/// An entry that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewEntry {
    pub(crate) order_id: String,
    pub(crate) kind: Kind,
    pub(crate) user_id: String,
    pub(crate) points: i64,
}

impl NewEntry {
    pub(crate) fn awarded(order: &OrderConfirmed) -> Result<Self> {
        Ok(Self {
            order_id: order.order_id.clone(),
            kind: Kind::Awarded,
            user_id: order.user_id.clone(),
            points: points(&order.order_id, &order.total)?,
        })
    }

    /// Takes back what was `awarded` for the order; if nothing is known of that, what it is worth.
    pub(crate) fn taken_back(order: &OrderRefunded, awarded: Option<i64>) -> Result<Self> {
        let worth = points(&order.order_id, &order.total)?;
        Ok(Self {
            order_id: order.order_id.clone(),
            kind: Kind::TakenBack,
            user_id: order.user_id.clone(),
            points: -awarded.unwrap_or(worth),
        })
    }
}

/// Returns the points for an order: one a whole pound.
fn points(order_id: &str, total: &Option<Money>) -> Result<i64> {
    match total {
        Some(total) if total.currency_code == GBP && total.minor_units >= 0 => {
            Ok(total.minor_units / PENCE_PER_POINT)
        }
        _ => Err(Error::data_loss(format!("an event of order {order_id} has no total in {GBP}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed(total: Option<Money>) -> OrderConfirmed {
        OrderConfirmed { order_id: "o-1".into(), user_id: "u-1".into(), total, ..OrderConfirmed::default() }
    }

    fn refunded(pence: i64) -> OrderRefunded {
        let total = Some(Money::gbp(pence));
        OrderRefunded { order_id: "o-1".into(), user_id: "u-1".into(), total, ..OrderRefunded::default() }
    }

    #[test]
    fn only_whole_pounds_count() {
        for (pence, points) in [(0, 0), (99, 0), (100, 1), (1_530, 15), (i64::MAX, i64::MAX / 100)] {
            assert_eq!(NewEntry::awarded(&confirmed(Some(Money::gbp(pence)))).unwrap().points, points);
        }
    }

    #[test]
    fn a_refund_takes_the_same_points_back() {
        assert_eq!(NewEntry::taken_back(&refunded(1_530), Some(15)).unwrap().points, -15);
        assert_eq!(NewEntry::taken_back(&refunded(1_530), Some(30)).unwrap().points, -30);
        assert_eq!(NewEntry::taken_back(&refunded(1_530), None).unwrap().points, -15);
    }

    #[test]
    fn an_event_without_pounds_is_not_an_event() {
        let euro = Money { currency_code: "EUR".into(), minor_units: 100 };
        for total in [None, Some(euro), Some(Money::gbp(-1))] {
            assert_eq!(NewEntry::awarded(&confirmed(total)).unwrap_err().code(), Code::DataLoss);
        }
    }
}
