//! The services' side of the books, straight from their SQLite files, each read in one transaction.

use crate::Error;
use crate::facts::{Facts, Movement, MovementKind, Order, OrderState, Payment, PaymentState, Stock};
use crate::wire;
use rusqlite::{Connection, OpenFlags, Row};
use std::path::Path;

pub(crate) fn read(data: &Path) -> Result<Facts, Error> {
    let mut facts = Facts::default();
    read_store(data, "orders", |store| orders(store, &mut facts))?;
    read_store(data, "inventory", |store| inventory(store, &mut facts))?;
    read_store(data, "payments", |store| payments(store, &mut facts))?;
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
