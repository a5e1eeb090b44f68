//! Parcels handed over, called back and delivered.

use crate::domain::{Command, Record, decide};
use crate::store;
use banyan::prelude::*;
use shop_contracts::shipping::v1::{
    CreateShipmentRequest, ShipmentCancelled, ShipmentCreated, ShipmentDelivered, ShipmentState,
};
use shop_contracts::time::timestamp;
use shop_contracts::types::v1::Flow;

/// Parcels that one transaction delivers at most.
const DELIVER_BATCH_MAX: usize = 200;

/// A parcel to be handed over.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) flow: Flow,
    pub(crate) request: CreateShipmentRequest,
    /// For the next participant of a choreography; empty otherwise.
    pub(crate) payment_id: String,
    pub(crate) delivery_ms: u64,
}

/// Hands the parcel of an order over, once.
///
/// # Errors
/// `SHIPMENT_CANCELLED`: nothing has been written then.
pub(crate) fn create(tx: &mut Tx<'_>, order: Order) -> Result<Record> {
    let found = store::find(tx, &order.request.order_id)?;
    if decide(found.as_ref().map(|r| r.state), Command::Create)?.is_none() {
        return Ok(found.expect("only what exists is created already"));
    }
    let Order { flow, request, payment_id, delivery_ms } = order;
    let record = Record::created(tx.new_id(), flow, request, tx.now_ms(), delivery_ms);
    store::write(tx, &record)?;
    tx.publish(&ShipmentCreated {
        order_id: record.request.order_id.clone(),
        flow: flow.into(),
        shipment_id: record.shipment_id.clone(),
        tracking: record.tracking.clone(),
        carrier: record.carrier().to_owned(),
        payment_id,
    })?;
    Ok(record)
}

/// Calls the parcel of an order back, or makes sure that there will be none.
pub(crate) fn cancel(tx: &mut Tx<'_>, order_id: &str) -> Result<Record> {
    let Some(mut record) = store::find(tx, order_id)? else {
        let record = Record::never(tx.new_id(), order_id, tx.now_ms());
        store::write(tx, &record)?;
        return Ok(record);
    };
    if change(tx, &mut record, Command::Cancel)? {
        tx.publish(&ShipmentCancelled {
            order_id: order_id.to_owned(),
            flow: record.flow.into(),
            shipment_id: record.shipment_id.clone(),
        })?;
    }
    Ok(record)
}

/// Delivers the parcels that have arrived. Looks before it writes, so that an idle service commits nothing.
pub(crate) async fn deliver_due(store: Store, cx: Context) -> Result<()> {
    loop {
        let now_ms = cx.env().clock.unix_ms();
        let due = store.read(&cx, move |q| store::due(q, now_ms, DELIVER_BATCH_MAX)).await?;
        let last = due.len() < DELIVER_BATCH_MAX;
        if !due.is_empty() {
            store.transact(&cx, move |tx| due.iter().try_for_each(|order_id| deliver(tx, order_id))).await?;
        }
        if last {
            return Ok(());
        }
    }
}

fn deliver(tx: &mut Tx<'_>, order_id: &str) -> Result<()> {
    // It may have been called back since it was found.
    let Some(mut record) = store::find(tx, order_id)? else { return Ok(()) };
    if change(tx, &mut record, Command::Deliver)? {
        tx.publish(&ShipmentDelivered {
            order_id: order_id.to_owned(),
            flow: record.flow.into(),
            shipment_id: record.shipment_id.clone(),
            delivered_at: Some(timestamp(record.delivered_ms)),
        })?;
    }
    Ok(())
}

/// Does `command` to a shipment. Returns whether that changed anything.
fn change(tx: &mut Tx<'_>, record: &mut Record, command: Command) -> Result<bool> {
    let next: Option<ShipmentState> = decide(Some(record.state), command)?;
    if let Some(state) = next {
        record.become_state(state, tx.now_ms());
        store::write(tx, record)?;
    }
    Ok(next.is_some())
}
