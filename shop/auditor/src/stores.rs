//! The services' side of the books, straight from their SQLite files, each read in one transaction.

use crate::Error;
use crate::facts::{
    Email, EmailKind, Facts, Movement, MovementKind, Order, OrderState, Payment, PaymentState, Points, Sale,
    SalesGroup, Shipment, Stock,
};
use crate::wire;
use rusqlite::{Connection, OpenFlags, Row};
use std::path::Path;

/// The number of `SHIPMENT_STATE_CANCELLED` in `shop.shipping.v1`.
const SHIPMENT_CANCELLED: i64 = 2;

pub(crate) fn read(data: &Path) -> Result<Facts, Error> {
    let mut facts = Facts::default();
    read_store(data, "orders", |store| orders(store, &mut facts))?;
    read_store(data, "inventory", |store| inventory(store, &mut facts))?;
    read_store(data, "payments", |store| payments(store, &mut facts))?;
    read_store(data, "shipping", |store| shipping(store, &mut facts))?;
    read_store(data, "notifications", |store| notifications(store, &mut facts))?;
    read_store(data, "loyalty", |store| loyalty(store, &mut facts))?;
    read_store(data, "analytics", |store| analytics(store, &mut facts))?;
    Ok(facts)
}

/// Why a store cannot be read.
enum Failure {
    Sql(rusqlite::Error),
    /// A row makes no sense.
    Row {
        id: String,
        problem: String,
    },
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sql(error)
    }
}

fn read_store(
    data: &Path,
    service: &str,
    rows: impl FnOnce(&Connection) -> Result<(), Failure>,
) -> Result<(), Error> {
    let path = data.join("stores").join(format!("{service}.db"));
    let outcome = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(Failure::from)
        .and_then(|mut connection| rows(&*connection.transaction()?));
    outcome.map_err(|failure| match failure {
        Failure::Sql(source) => Error::Store { path, source },
        Failure::Row { id, problem } => Error::Row { path, id, problem },
    })
}

/// Reads all rows of a query, one by one.
fn each(
    store: &Connection,
    sql: &str,
    mut row: impl FnMut(&Row<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut select = store.prepare(sql)?;
    let mut rows = select.query([])?;
    while let Some(found) = rows.next()? {
        row(found)?;
    }
    Ok(())
}

fn orders(store: &Connection, facts: &mut Facts) -> Result<(), Failure> {
    each(store, "SELECT order_id, user_id, state, total_minor, country, placed FROM orders", |row| {
        let order_id: String = row.get("order_id")?;
        let placed: Vec<u8> = row.get("placed")?;
        let lines = wire::lines(&placed).map_err(|_| Failure::Row {
            id: order_id.clone(),
            problem: "its OrderPlaced is malformed".to_owned(),
        })?;
        let order = Order {
            user_id: row.get("user_id")?,
            state: OrderState::from_number(row.get("state")?),
            total: row.get("total_minor")?,
            country: row.get("country")?,
            lines,
        };
        facts.orders.insert(order_id, order);
        Ok(())
    })
}

fn inventory(store: &Connection, facts: &mut Facts) -> Result<(), Failure> {
    each(store, "SELECT product_id, on_hand, reserved FROM stock", |row| {
        let stock = Stock { on_hand: row.get("on_hand")?, reserved: row.get("reserved")? };
        facts.stock.insert(row.get("product_id")?, stock);
        Ok(())
    })?;
    each(store, "SELECT cause, product_id, kind, quantity FROM movements", |row| {
        let cause: String = row.get("cause")?;
        let kind: String = row.get("kind")?;
        let kind = match kind.as_str() {
            "received" => MovementKind::Received,
            "reserved" => MovementKind::Reserved,
            "released" => MovementKind::Released,
            "shipped" => MovementKind::Shipped,
            "restocked" => MovementKind::Restocked,
            _ => return Err(Failure::Row { id: cause, problem: format!("a movement of the kind {kind:?}") }),
        };
        // What is received was counted in the house; everything else moves for an order.
        let order_id = (kind != MovementKind::Received).then_some(cause);
        let movement =
            Movement { product_id: row.get("product_id")?, order_id, kind, quantity: row.get("quantity")? };
        facts.movements.push(movement);
        Ok(())
    })
}

fn payments(store: &Connection, facts: &mut Facts) -> Result<(), Failure> {
    each(store, "SELECT order_id, state, amount_minor FROM payments", |row| {
        facts.payments.push(Payment {
            order_id: row.get("order_id")?,
            state: PaymentState::from_number(row.get("state")?),
            amount: row.get("amount_minor")?,
        });
        Ok(())
    })
}

fn shipping(store: &Connection, facts: &mut Facts) -> Result<(), Failure> {
    each(store, "SELECT order_id, state FROM shipments", |row| {
        let state: i64 = row.get("state")?;
        facts
            .shipments
            .push(Shipment { order_id: row.get("order_id")?, cancelled: state == SHIPMENT_CANCELLED });
        Ok(())
    })
}

/// Reads the e-mails that were sent; one that still waits for an address is none yet.
fn notifications(store: &Connection, facts: &mut Facts) -> Result<(), Failure> {
    each(store, "SELECT order_id, kind, user_id FROM emails WHERE sent_ms IS NOT NULL", |row| {
        let order_id: String = row.get("order_id")?;
        let kind = match row.get::<_, i64>("kind")? {
            1 => EmailKind::Confirmed,
            2 => EmailKind::Cancelled,
            3 => EmailKind::Refunded,
            other => {
                return Err(Failure::Row { id: order_id, problem: format!("an e-mail of the kind {other}") });
            }
        };
        facts.emails.push(Email { order_id, kind, user_id: row.get("user_id")? });
        Ok(())
    })
}

fn loyalty(store: &Connection, facts: &mut Facts) -> Result<(), Failure> {
    each(store, "SELECT order_id, user_id, points FROM entries", |row| {
        let (order_id, user_id, points) = (row.get("order_id")?, row.get("user_id")?, row.get("points")?);
        facts.points.push(Points { order_id, user_id, points });
        Ok(())
    })
}

fn analytics(store: &Connection, facts: &mut Facts) -> Result<(), Failure> {
    for (group, sql) in [
        (SalesGroup::Product, "SELECT product_id AS key, orders, units, revenue_minor FROM sales_by_product"),
        (SalesGroup::Country, "SELECT country AS key, orders, units, revenue_minor FROM sales_by_country"),
    ] {
        each(store, sql, |row| {
            facts.sales.push(Sale {
                group,
                key: row.get("key")?,
                orders: row.get("orders")?,
                units: row.get("units")?,
                revenue: row.get("revenue_minor")?,
            });
            Ok(())
        })?;
    }
    Ok(())
}
