//! What an order is and how it may change: pure decisions, no I/O.

use banyan::prelude::*;
use shop_contracts::checks::{check_distinct_items, check_required, check_shipping_address};
use shop_contracts::orders::v1::{
    Order, OrderCancelled, OrderConfirmed, OrderPlaced, OrderRefunded, OrderState, PlaceOrderRequest,
};
use shop_contracts::time::timestamp;
use shop_contracts::types::v1::{Address, Flow, Item, LineItem, Money};

/// The largest sum of an order: a million pounds, in pence. What is worth more is not sold by card.
const TOTAL_MINOR_MAX: i64 = 100_000_000;

/// An order is confirmed or refunded and cannot be cancelled any more.
pub(crate) const ORDER_NOT_CANCELLABLE: Reason = Reason::new("ORDER_NOT_CANCELLABLE");
/// Only a confirmed order can be refunded.
pub(crate) const ORDER_NOT_REFUNDABLE: Reason = Reason::new("ORDER_NOT_REFUNDABLE");

/// A checked request to place an order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlaceOrder {
    pub(crate) items: Vec<Item>,
    pub(crate) card_token: String,
    pub(crate) address: Address,
}

impl TryFrom<PlaceOrderRequest> for PlaceOrder {
    type Error = Error;

    fn try_from(req: PlaceOrderRequest) -> Result<Self> {
        check_distinct_items(&req.items)?;
        check_required("card_token", &req.card_token)?;
        let address = check_shipping_address(req.shipping_address.as_ref())?.clone();
        Ok(Self { items: req.items, card_token: req.card_token, address })
    }
}

/// Decides what is placed: the command with today's prices.
///
/// # Errors
/// [`Code::InvalidArgument`] if the sum is nothing or more than a card pays.
pub(crate) fn place(
    command: PlaceOrder,
    lines: Vec<LineItem>,
    order_id: String,
    user_id: &str,
    flow: Flow,
    now_ms: u64,
) -> Result<OrderPlaced> {
    let total = Money::total(lines.iter().filter_map(|line| line.total.as_ref()))?;
    if !(1..=TOTAL_MINOR_MAX).contains(&total.minor_units) {
        let max = Money::gbp(TOTAL_MINOR_MAX);
        return Err(Error::invalid("items", format!("come to {total}; an order is worth 0.01 to {max}")));
    }
    Ok(OrderPlaced {
        order_id,
        user_id: user_id.to_owned(),
        lines,
        total: Some(total),
        card_token: command.card_token,
        shipping_address: Some(command.address),
        flow: flow.into(),
        placed_at: Some(timestamp(now_ms)),
    })
}

/// What inventory, payments and shipping have done for an order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fulfilment {
    pub(crate) payment_id: String,
    pub(crate) shipment_id: String,
    pub(crate) tracking: String,
}

/// The state of one order, as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OrderRecord {
    /// What was placed; without the card's token.
    pub(crate) placed: OrderPlaced,
    pub(crate) state: OrderState,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
    pub(crate) confirmed_ms: u64,
    pub(crate) cancel_reason: String,
    pub(crate) fulfilment: Fulfilment,
}

impl OrderRecord {
    pub(crate) fn new(placed: &OrderPlaced, now_ms: u64) -> Self {
        Self {
            placed: OrderPlaced { card_token: String::new(), ..placed.clone() },
            state: OrderState::Pending,
            created_ms: now_ms,
            updated_ms: now_ms,
            confirmed_ms: 0,
            cancel_reason: String::new(),
            fulfilment: Fulfilment::default(),
        }
    }

    /// Confirms a pending order. `None` if there is nothing to do: it has ended already.
    pub(crate) fn confirm(&mut self, fulfilment: Fulfilment, now_ms: u64) -> Option<OrderConfirmed> {
        if self.state != OrderState::Pending {
            return None;
        }
        self.state = OrderState::Confirmed;
        self.updated_ms = now_ms;
        self.confirmed_ms = now_ms;
        self.fulfilment = fulfilment;
        let placed = &self.placed;
        Some(OrderConfirmed {
            order_id: placed.order_id.clone(),
            user_id: placed.user_id.clone(),
            lines: placed.lines.clone(),
            total: placed.total.clone(),
            country: self.country(),
            flow: placed.flow,
            confirmed_at: Some(timestamp(now_ms)),
        })
    }

    /// Cancels a pending order. `None` if there is nothing to do: it has ended already.
    pub(crate) fn cancel(&mut self, reason: &str, now_ms: u64) -> Option<OrderCancelled> {
        if self.state != OrderState::Pending {
            return None;
        }
        self.state = OrderState::Cancelled;
        self.updated_ms = now_ms;
        self.cancel_reason = reason.to_owned();
        let placed = &self.placed;
        Some(OrderCancelled {
            order_id: placed.order_id.clone(),
            user_id: placed.user_id.clone(),
            lines: placed.lines.clone(),
            total: placed.total.clone(),
            country: self.country(),
            flow: placed.flow,
            cancelled_at: Some(timestamp(now_ms)),
            reason: reason.to_owned(),
        })
    }

    /// Refunds a confirmed order. `None` if there is nothing to do.
    pub(crate) fn refund(&mut self, now_ms: u64) -> Option<OrderRefunded> {
        if self.state != OrderState::Confirmed {
            return None;
        }
        self.state = OrderState::Refunded;
        self.updated_ms = now_ms;
        let placed = &self.placed;
        Some(OrderRefunded {
            order_id: placed.order_id.clone(),
            user_id: placed.user_id.clone(),
            lines: placed.lines.clone(),
            total: placed.total.clone(),
            country: self.country(),
            flow: placed.flow,
            refunded_at: Some(timestamp(now_ms)),
            confirmed_at: Some(timestamp(self.confirmed_ms)),
        })
    }

    /// Refuses to cancel what has been confirmed.
    pub(crate) fn check_cancellable(&self) -> Result<()> {
        match self.state {
            OrderState::Confirmed | OrderState::Refunded => Err(Error::failed_precondition(
                ORDER_NOT_CANCELLABLE,
                "the order is confirmed already; ask for a refund instead",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses to refund what was never confirmed.
    pub(crate) fn check_refundable(&self) -> Result<()> {
        match self.state {
            OrderState::Confirmed | OrderState::Refunded => Ok(()),
            _ => Err(Error::failed_precondition(
                ORDER_NOT_REFUNDABLE,
                "only a confirmed order can be refunded",
            )),
        }
    }

    /// Tells whether nothing more happens to the order by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.state != OrderState::Pending
    }

    /// Returns the order as people see it.
    pub(crate) fn view(&self) -> Order {
        let placed = self.placed.clone();
        Order {
            order_id: placed.order_id,
            user_id: placed.user_id,
            lines: placed.lines,
            total: placed.total,
            state: self.state.into(),
            created_at: Some(timestamp(self.created_ms)),
            updated_at: Some(timestamp(self.updated_ms)),
            cancel_reason: self.cancel_reason.clone(),
            payment_id: self.fulfilment.payment_id.clone(),
            shipment_id: self.fulfilment.shipment_id.clone(),
            tracking: self.fulfilment.tracking.clone(),
        }
    }

    pub(crate) fn country(&self) -> String {
        self.placed.shipping_address.as_ref().map(|a| a.country.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> PlaceOrderRequest {
        let text = |s: &str| s.to_owned();
        PlaceOrderRequest {
            items: vec![Item { product_id: text("85123A"), quantity: 2 }],
            card_token: text("tok_visa"),
            shipping_address: Some(Address {
                name: text("Ann"),
                street: text("1 High Street"),
                city: text("Leeds"),
                postal_code: text("LS1"),
                country: text("United Kingdom"),
            }),
        }
    }

    fn placed() -> OrderPlaced {
        let line = LineItem { quantity: 2, total: Some(Money::gbp(510)), ..LineItem::default() };
        let command = PlaceOrder::try_from(request()).unwrap();
        place(command, vec![line.clone(), line], "o-1".into(), "u-1", Flow::Orchestrated, 7).unwrap()
    }

    #[test]
    fn a_bad_request_is_refused_by_the_field() {
        type Spoil = fn(&mut PlaceOrderRequest);
        let cases: [(&str, Spoil); 7] = [
            ("items", |r| r.items.clear()),
            ("items[0].quantity", |r| r.items[0].quantity = -1),
            ("items[0].quantity", |r| r.items[0].quantity = 100_001),
            ("items[1].product_id", |r| r.items.push(r.items[0].clone())),
            ("card_token", |r| r.card_token = " ".into()),
            ("shipping_address", |r| r.shipping_address = None),
            ("shipping_address.city", |r| r.shipping_address.as_mut().unwrap().city = "x".repeat(201)),
        ];
        for (field, spoil) in cases {
            let mut request = request();
            spoil(&mut request);
            let error = PlaceOrder::try_from(request).unwrap_err();
            assert_eq!(error.violations()[0].field, field);
        }
    }

    #[test]
    fn the_total_is_the_sum_of_the_lines() {
        assert_eq!(placed().total, Some(Money::gbp(1020)));
    }

    #[test]
    fn an_order_that_no_card_pays_is_refused() {
        for pence in [0, TOTAL_MINOR_MAX + 1] {
            let line = LineItem { total: Some(Money::gbp(pence)), ..LineItem::default() };
            let command = PlaceOrder::try_from(request()).unwrap();
            let error = place(command, vec![line], "o-1".into(), "u-1", Flow::Orchestrated, 7).unwrap_err();
            assert_eq!(error.violations()[0].field, "items");
        }
    }

    #[test]
    fn an_order_ends_once() {
        let mut order = OrderRecord::new(&placed(), 7);
        assert!(order.placed.card_token.is_empty(), "a token is not kept longer than needed");
        assert!(order.refund(8).is_none());
        assert!(order.confirm(Fulfilment::default(), 8).is_some());
        assert!(order.confirm(Fulfilment::default(), 9).is_none());
        assert!(order.cancel("late", 9).is_none());
        assert!(order.check_cancellable().unwrap_err().is(ORDER_NOT_CANCELLABLE));
        assert!(order.refund(10).is_some());
        assert!(order.refund(11).is_none());
    }
}
