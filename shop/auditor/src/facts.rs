//! What the auditor knows: rows of the stores and of the ledger, as plain data. Money is pence, quantities are pieces.

use std::collections::BTreeMap;

/// Everything that is compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) stock: BTreeMap<String, Stock>,
    pub(crate) movements: Vec<Movement>,
    pub(crate) payments: Vec<Payment>,
    pub(crate) ledger: Vec<LedgerEntry>,
    /// What the processor says its ledger sums up to.
    pub(crate) balance: i64,
    pub(crate) shipments: Vec<Shipment>,
    pub(crate) emails: Vec<Email>,
    pub(crate) points: Vec<Points>,
    pub(crate) sales: Vec<Sale>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderState {
    Pending,
    Confirmed,
    Cancelled,
    Refunded,
    Unknown(i64),
}

impl OrderState {
    /// Reads the number of `shop.orders.v1.OrderState`.
    pub(crate) fn from_number(number: i64) -> Self {
        match number {
            1 => OrderState::Pending,
            2 => OrderState::Confirmed,
            3 => OrderState::Cancelled,
            4 => OrderState::Refunded,
            other => OrderState::Unknown(other),
        }
    }

    /// Tells whether the order was confirmed once, refunded later or not.
    pub(crate) fn was_confirmed(self) -> bool {
        matches!(self, OrderState::Confirmed | OrderState::Refunded)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) user_id: String,
    pub(crate) state: OrderState,
    pub(crate) total: i64,
    pub(crate) country: String,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) product_id: String,
    pub(crate) quantity: i64,
    pub(crate) total: i64,
}

/// What the inventory says there is of a product; reserved pieces are still on hand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stock {
    pub(crate) on_hand: i64,
    pub(crate) reserved: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MovementKind {
    /// Stock was set: the signed difference to what was there.
    Received,
    Reserved,
    Released,
    /// Reserved pieces left the house.
    Shipped,
    /// Shipped pieces came back.
    Restocked,
}

/// One row of the inventory's journal.
#[derive(Clone, Debug)]
pub(crate) struct Movement {
    pub(crate) product_id: String,
    /// None for stock received.
    pub(crate) order_id: Option<String>,
    pub(crate) kind: MovementKind,
    /// Pieces moved; only of [`MovementKind::Received`] it may be negative.
    pub(crate) quantity: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PaymentState {
    Pending,
    Captured,
    Declined,
    Refunded,
    Unknown(i64),
}

impl PaymentState {
    /// Reads the number of `shop.payments.v1.PaymentState`.
    pub(crate) fn from_number(number: i64) -> Self {
        match number {
            1 => PaymentState::Pending,
            2 => PaymentState::Captured,
            3 => PaymentState::Declined,
            4 => PaymentState::Refunded,
            other => PaymentState::Unknown(other),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) order_id: String,
    pub(crate) state: PaymentState,
    pub(crate) amount: i64,
}

/// One movement of money at the card processor: a charge is positive, a refund negative.
#[derive(Clone, Debug)]
pub(crate) struct LedgerEntry {
    pub(crate) id: String,
    pub(crate) order_id: Option<String>,
    pub(crate) amount: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Shipment {
    pub(crate) order_id: String,
    pub(crate) cancelled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EmailKind {
    Confirmed,
    Cancelled,
    Refunded,
}

/// An e-mail that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Email {
    pub(crate) order_id: String,
    pub(crate) kind: EmailKind,
    pub(crate) user_id: String,
}

/// An entry of the loyalty journal; negative when points are taken back.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    pub(crate) order_id: String,
    pub(crate) user_id: String,
    pub(crate) points: i64,
}

/// What analytics has counted of a product or a country on one day, less what was taken back.
#[derive(Clone, Debug)]
pub(crate) struct Sale {
    pub(crate) group: SalesGroup,
    pub(crate) key: String,
    pub(crate) orders: i64,
    pub(crate) units: i64,
    pub(crate) revenue: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SalesGroup {
    Product,
    Country,
}
