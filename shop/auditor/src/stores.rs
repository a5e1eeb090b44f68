//! The services' side of the books, straight from the tables of their stores, each read as of one moment.

use crate::facts::{
    Email, EmailKind, Facts, Movement, MovementKind, Order, OrderState, Payment, PaymentState, Points, Sale,
    SalesGroup, Shipment, Stock,
};
use crate::source::{self, Failure, Location, Row, Source};
use crate::{Error, Options, wire};

/// The number of `SHIPMENT_STATE_CANCELLED` in `shop.shipping.v1`.
const SHIPMENT_CANCELLED: i64 = 2;

pub(crate) fn read(options: &Options) -> Result<Facts, Error> {
    let mut facts = Facts::default();
    read_store(options, "orders", |store| orders(store, "", &mut facts))?;
    read_store(options, "inventory", |store| inventory(store, &mut facts))?;
    read_store(options, "payments", |store| payments(store, "", &mut facts))?;
    read_store(options, "shipping", |store| shipping(store, "", &mut facts))?;
    read_store(options, "notifications", |store| notifications(store, "", &mut facts))?;
    read_store(options, "loyalty", |store| loyalty(store, "", &mut facts))?;
    read_store(options, "analytics", |store| analytics(store, &mut facts))?;
    Ok(facts)
}

/// Reads a store as of one moment.
pub(crate) fn read_store<T>(
    options: &Options,
    service: &str,
    rows: impl FnOnce(&mut dyn Source) -> Result<T, Failure>,
) -> Result<T, Error> {
    let location = match options.stores.get(service) {
        Some(url) => Location::Url(url.clone()),
        None => Location::File(options.data.join("stores").join(format!("{service}.db"))),
    };
    let outcome = source::open(&location).and_then(|mut store| rows(&mut *store));
    outcome.map_err(|failure| match failure {
        Failure::Engine(source) => Error::Store { store: location.to_string(), source },
        Failure::Row { id, problem } => Error::Row { store: location.to_string(), id, problem },
    })
}

pub(crate) fn orders(store: &mut dyn Source, which: &str, facts: &mut Facts) -> Result<(), Failure> {
    let sql = format!("SELECT order_id, user_id, state, total_minor, country, placed FROM orders {which}");
    store.each(&sql, &mut |row| {
        let order_id: String = row.text("order_id")?;
        let placed = row.blob("placed")?;
        let lines = wire::lines(&placed).map_err(|_| Failure::Row {
            id: order_id.clone(),
            problem: "its OrderPlaced is malformed".to_owned(),
        })?;
        let order = Order {
            user_id: row.text("user_id")?,
            state: OrderState::from_number(row.int("state")?),
            total: row.int("total_minor")?,
            country: row.text("country")?,
            lines,
        };
        facts.orders.insert(order_id, order);
        Ok(())
    })
}

fn inventory(store: &mut dyn Source, facts: &mut Facts) -> Result<(), Failure> {
    stock(store, facts)?;
    movements(store, "", facts)
}

pub(crate) fn stock(store: &mut dyn Source, facts: &mut Facts) -> Result<(), Failure> {
    store.each("SELECT product_id, on_hand, reserved FROM stock", &mut |row| {
        let stock = Stock { on_hand: row.int("on_hand")?, reserved: row.int("reserved")? };
        facts.stock.insert(row.text("product_id")?, stock);
        Ok(())
    })
}

pub(crate) fn movements(store: &mut dyn Source, which: &str, facts: &mut Facts) -> Result<(), Failure> {
    store.each(&format!("SELECT cause, product_id, kind, quantity FROM movements {which}"), &mut |row| {
        let (cause, kind) = (row.text("cause")?, kind(row)?);
        // What is received was counted in the house; everything else moves for an order.
        let order_id = (kind != MovementKind::Received).then_some(cause);
        let movement =
            Movement { product_id: row.text("product_id")?, order_id, kind, quantity: row.int("quantity")? };
        facts.movements.push(movement);
        Ok(())
    })
}

/// Reads the kind of a movement.
pub(crate) fn kind(row: &Row) -> Result<MovementKind, Failure> {
    Ok(match row.text("kind")?.as_str() {
        "received" => MovementKind::Received,
        "reserved" => MovementKind::Reserved,
        "released" => MovementKind::Released,
        "shipped" => MovementKind::Shipped,
        "restocked" => MovementKind::Restocked,
        other => {
            let (id, problem) = (row.text("product_id")?, format!("a movement of the kind {other:?}"));
            return Err(Failure::Row { id, problem });
        }
    })
}

pub(crate) fn payments(store: &mut dyn Source, which: &str, facts: &mut Facts) -> Result<(), Failure> {
    store.each(&format!("SELECT order_id, state, amount_minor FROM payments {which}"), &mut |row| {
        facts.payments.push(Payment {
            order_id: row.text("order_id")?,
            state: PaymentState::from_number(row.int("state")?),
            amount: row.int("amount_minor")?,
        });
        Ok(())
    })
}

pub(crate) fn shipping(store: &mut dyn Source, which: &str, facts: &mut Facts) -> Result<(), Failure> {
    store.each(&format!("SELECT order_id, state FROM shipments {which}"), &mut |row| {
        let state: i64 = row.int("state")?;
        facts
            .shipments
            .push(Shipment { order_id: row.text("order_id")?, cancelled: state == SHIPMENT_CANCELLED });
        Ok(())
    })
}

/// Reads the e-mails that were sent; one that still waits for an address is none yet.
pub(crate) fn notifications(store: &mut dyn Source, which: &str, facts: &mut Facts) -> Result<(), Failure> {
    let which = if which.is_empty() {
        "WHERE sent_ms IS NOT NULL"
    } else {
        &format!("{which} AND sent_ms IS NOT NULL")
    };
    store.each(&format!("SELECT order_id, kind, user_id FROM emails {which}"), &mut |row| {
        let order_id: String = row.text("order_id")?;
        let kind = match row.int("kind")? {
            1 => EmailKind::Confirmed,
            2 => EmailKind::Cancelled,
            3 => EmailKind::Refunded,
            other => {
                return Err(Failure::Row { id: order_id, problem: format!("an e-mail of the kind {other}") });
            }
        };
        facts.emails.push(Email { order_id, kind, user_id: row.text("user_id")? });
        Ok(())
    })
}

pub(crate) fn loyalty(store: &mut dyn Source, which: &str, facts: &mut Facts) -> Result<(), Failure> {
    store.each(&format!("SELECT order_id, user_id, points FROM entries {which}"), &mut |row| {
        let (order_id, user_id, points) = (row.text("order_id")?, row.text("user_id")?, row.int("points")?);
        facts.points.push(Points { order_id, user_id, points });
        Ok(())
    })
}

fn analytics(store: &mut dyn Source, facts: &mut Facts) -> Result<(), Failure> {
    for (group, sql) in [
        (
            SalesGroup::Product,
            "SELECT product_id AS name, orders, units, revenue_minor FROM sales_by_product",
        ),
        (SalesGroup::Country, "SELECT country AS name, orders, units, revenue_minor FROM sales_by_country"),
    ] {
        store.each(sql, &mut |row| {
            facts.sales.push(Sale {
                group,
                key: row.text("name")?,
                orders: row.int("orders")?,
                units: row.int("units")?,
                revenue: row.int("revenue_minor")?,
            });
            Ok(())
        })?;
    }
    Ok(())
}
