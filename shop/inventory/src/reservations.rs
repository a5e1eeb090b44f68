//! Goods held for orders.

use crate::domain::{Command, INSUFFICIENT_STOCK, Movement, decide};
use crate::{stock, store};
use banyan::prelude::*;
use shop_contracts::inventory::v1::{
    Reservation, ReservationExpired, ReservationReleased, ReservationState as State, ReserveRequest,
};
use shop_contracts::time::timestamp;
use shop_contracts::types::v1::{Flow, Item};

/// Reservations that one transaction ends at most.
const EXPIRE_BATCH_MAX: usize = 200;

/// A reservation as the store keeps it.
pub(crate) struct Record {
    pub(crate) order_id: String,
    pub(crate) state: State,
    pub(crate) flow: Flow,
    pub(crate) items: Vec<Item>,
    pub(crate) expires_ms: u64,
}

impl Record {
    pub(crate) fn view(&self) -> Reservation {
        Reservation {
            order_id: self.order_id.clone(),
            state: self.state.into(),
            items: self.items.clone(),
            expires_at: (self.expires_ms > 0).then(|| timestamp(self.expires_ms)),
        }
    }
}

/// There is less of a product than an order wants.
pub(crate) struct Shortage {
    pub(crate) item: Item,
    available: i32,
}

impl From<Shortage> for Error {
    fn from(shortage: Shortage) -> Self {
        let Shortage { item: Item { product_id, quantity }, available } = shortage;
        let message = format!("{quantity} of {product_id} are wanted, {available} are there");
        Error::failed_precondition(INSUFFICIENT_STOCK, message)
    }
}

/// Holds all `items` for the order, or none. After a shortage nothing has been written, the transaction may go on.
///
/// # Errors
/// `RESERVATION_CLOSED`.
pub(crate) fn reserve(
    tx: &mut Tx<'_>,
    order_id: &str,
    flow: Flow,
    items: Vec<Item>,
    ttl_ms: u64,
) -> Result<Result<Record, Shortage>> {
    let found = find(tx, order_id)?;
    let Some((state, _)) = decide(found.as_ref().map(|r| r.state), Command::Reserve)? else {
        return Ok(Ok(found.expect("only what exists is reserved already")));
    };
    for item in &items {
        let available = stock::get(tx, &item.product_id)?.map_or(0, |s| s.available);
        if available < item.quantity {
            return Ok(Err(Shortage { item: item.clone(), available }));
        }
    }
    let record =
        Record { order_id: order_id.to_owned(), state, flow, items, expires_ms: tx.now_ms() + ttl_ms };
    write(tx, &record)?;
    move_goods(tx, &record, Movement::Hold)?;
    Ok(Ok(record))
}

/// Does `command` to the order's reservation. Returns it, and whether anything changed.
pub(crate) fn apply(tx: &mut Tx<'_>, order_id: &str, command: Command) -> Result<(Record, bool)> {
    let found = find(tx, order_id)?;
    let Some((state, movement)) = decide(found.as_ref().map(|r| r.state), command)? else {
        return Ok((found.expect("only what exists is done already"), false));
    };
    let absent = || Record {
        order_id: order_id.to_owned(),
        state,
        flow: Flow::Unspecified,
        items: Vec::new(),
        expires_ms: 0,
    };
    let record = Record { state, ..found.unwrap_or_else(absent) };
    write(tx, &record)?;
    move_goods(tx, &record, movement)?;
    if record.flow == Flow::Choreographed && state == State::Released {
        tx.publish(&ReservationReleased { order_id: order_id.to_owned(), flow: record.flow.into() })?;
    }
    Ok((record, true))
}

/// Gives back what was held too long. Looks before it writes, so that an idle service commits nothing.
pub(crate) async fn expire(store: Store, cx: Context) -> Result<()> {
    loop {
        let now_ms = cx.env().clock.unix_ms();
        let late = store.read(&cx, move |q| late(q, now_ms)).await?;
        let last = late.len() < EXPIRE_BATCH_MAX;
        if !late.is_empty() {
            store.transact(&cx, move |tx| late.iter().try_for_each(|order_id| end(tx, order_id))).await?;
        }
        if last {
            return Ok(());
        }
    }
}

/// Returns the orders whose goods have been held too long, those first that have been longest.
fn late(q: &mut impl Query, now_ms: u64) -> Result<Vec<String>> {
    q.query(store::LATE_RESERVATIONS, params![i32::from(State::Held), now_ms, EXPIRE_BATCH_MAX], |row| {
        row.get("order_id")
    })
}

fn end(tx: &mut Tx<'_>, order_id: &str) -> Result<()> {
    // It may have been committed since it was found.
    let (record, changed) = apply(tx, order_id, Command::Expire)?;
    if changed {
        tx.publish(&ReservationExpired { order_id: record.order_id, flow: record.flow.into() })?;
    }
    Ok(())
}

fn move_goods(tx: &mut Tx<'_>, record: &Record, movement: Movement) -> Result<()> {
    for Item { product_id, quantity } in &record.items {
        let (kind, on_hand, reserved) = match movement {
            Movement::Hold => ("reserved", 0, *quantity),
            Movement::GiveBack => ("released", 0, -quantity),
            Movement::Ship => ("shipped", -quantity, -quantity),
            Movement::Return => ("restocked", *quantity, 0),
            Movement::Nothing => continue,
        };
        stock::shift(tx, product_id, on_hand, reserved)?;
        store::note(tx, &record.order_id, product_id, kind, *quantity)?;
    }
    Ok(())
}

fn find(q: &mut impl Query, order_id: &str) -> Result<Option<Record>> {
    q.query_opt(store::RESERVATION, params![order_id], |row| {
        let (state, flow): (i32, i32) = (row.get("state")?, row.get("flow")?);
        let unknown =
            |what| Error::data_loss(format!("the reservation of order {order_id} has an unknown {what}"));
        Ok(Record {
            order_id: order_id.to_owned(),
            state: State::try_from(state).map_err(|_| unknown("state"))?,
            flow: Flow::try_from(flow).map_err(|_| unknown("flow"))?,
            // Kept as the request that made it: a list needs a message around it.
            items: ReserveRequest::from_bytes(&row.get::<Vec<u8>>("items")?)?.items,
            expires_ms: row.get("expires_ms")?,
        })
    })
}

fn write(tx: &mut Tx<'_>, record: &Record) -> Result<()> {
    let items = ReserveRequest { items: record.items.clone(), ..ReserveRequest::default() }.to_bytes();
    let now_ms = tx.now_ms();
    tx.execute(
        store::WRITE_RESERVATION,
        params![
            record.order_id.as_str(),
            i32::from(record.state),
            i32::from(record.flow),
            items.to_vec(),
            record.expires_ms,
            now_ms
        ],
    )?;
    Ok(())
}
