//! The services' side of the books, straight from their SQLite files, each read in one transaction.

use crate::Error;
use crate::facts::{Facts, Order, OrderState};
use crate::wire;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

pub(crate) fn read(data: &Path) -> Result<Facts, Error> {
    let mut facts = Facts::default();
    read_store(data, "orders", |store, path| orders(store, path, &mut facts))?;
    Ok(facts)
}

fn read_store(
    data: &Path,
    service: &str,
    rows: impl FnOnce(&Connection, &Path) -> Result<(), Failure>,
) -> Result<(), Error> {
    let path = data.join("stores").join(format!("{service}.db"));
    let outcome = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(Failure::from)
        .and_then(|mut connection| rows(&*connection.transaction()?, &path));
    outcome.map_err(|failure| match failure {
        Failure::Sql(source) => Error::Store { path, source },
        Failure::Order(order_id) => Error::Order { path, order_id },
    })
}

enum Failure {
    Sql(rusqlite::Error),
    Order(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sql(error)
    }
}

fn orders(store: &Connection, _path: &Path, facts: &mut Facts) -> Result<(), Failure> {
    let mut select =
        store.prepare("SELECT order_id, user_id, state, total_minor, country, placed FROM orders")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let order_id: String = row.get("order_id")?;
        let placed: Vec<u8> = row.get("placed")?;
        let lines = wire::lines(&placed).map_err(|_| Failure::Order(order_id.clone()))?;
        let order = Order {
            user_id: row.get("user_id")?,
            state: OrderState::from_number(row.get("state")?),
            total: row.get("total_minor")?,
            country: row.get("country")?,
            lines,
        };
        facts.orders.insert(order_id, order);
    }
    Ok(())
}
