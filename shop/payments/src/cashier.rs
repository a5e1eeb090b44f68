//! Moves money: writes the intent, asks the processor, writes what came of it.

use crate::domain::{Answer, ChargeDecision, Record, RefundDecision, decide_charge, decide_refund, declined};
use crate::processor::Processor;
use crate::store;
use banyan::prelude::*;
use shop_contracts::payments::v1::{
    ChargeRequest, PaymentCaptured, PaymentDeclined, PaymentRefunded, PaymentState,
};
use shop_contracts::types::v1::{Address, Flow, LineItem, Money};

/// What a participant after payments needs of a choreographed order.
#[derive(Clone, Default)]
pub(crate) struct Onward {
    pub(crate) user_id: String,
    pub(crate) lines: Vec<LineItem>,
    pub(crate) shipping_address: Option<Address>,
}

#[derive(Clone)]
pub(crate) struct Cashier {
    store: Store,
    processor: Processor,
}

impl Cashier {
    pub(crate) fn new(store: Store, processor: Processor) -> Self {
        Self { store, processor }
    }

    /// Charges the card of an order, once.
    ///
    /// # Errors
    /// `CARD_DECLINED`, `PAYMENT_CLOSED`; [`Code::Unavailable`] while the outcome is not known: ask again.
    pub(crate) async fn charge(
        &self,
        cx: &Context,
        flow: Flow,
        req: ChargeRequest,
        onward: Onward,
    ) -> Result<Record> {
        let intent = self.store.transact(cx, move |tx| {
            let found = store::find(tx, &req.order_id)?;
            match (decide_charge(found.as_ref())?, found) {
                (ChargeDecision::Begin, _) | (_, None) => {
                    let record = Record::pending(tx.new_id(), flow, &req, tx.now_ms());
                    store::write(tx, &record)?;
                    Ok(record)
                }
                (_, Some(record)) => Ok(record),
            }
        });
        let record = intent.await?;
        if record.state == PaymentState::Captured {
            return Ok(record);
        }
        let record = self.ask(cx, record, Some(onward)).await?;
        match record.state {
            PaymentState::Captured => Ok(record),
            PaymentState::Declined => Err(declined()),
            // Refunded while the processor was asked.
            _ => decide_charge(Some(&record)).map(|_| record),
        }
    }

    /// Gives the money of an order back, or makes sure that none is taken later.
    ///
    /// # Errors
    /// [`Code::Unavailable`] while it is not known whether money was taken or given back: ask again.
    pub(crate) async fn refund(&self, cx: &Context, order_id: &str) -> Result<Record> {
        let id = order_id.to_owned();
        let mut record = self
            .store
            .transact(cx, move |tx| {
                let found = store::find(tx, &id)?;
                match (decide_refund(found.as_ref()), found) {
                    (RefundDecision::Close, _) | (_, None) => {
                        let record = Record::closed(&id, tx.new_id(), tx.now_ms());
                        store::write(tx, &record)?;
                        Ok(record)
                    }
                    (_, Some(record)) => Ok(record),
                }
            })
            .await?;
        if decide_refund(Some(&record)) == RefundDecision::FindOut {
            // Asking again with the same key has one outcome only; a look for the charge might come before a request
            // that is still on its way.
            record = self.ask(cx, record, None).await?;
        }
        if decide_refund(Some(&record)) != RefundDecision::GiveBack {
            return Ok(record);
        }
        self.processor.refund(cx, &record.payment_id, &record.charge_id).await?;
        self.store
            .transact(cx, move |tx| {
                let order_id = record.order_id.clone();
                let mut record = store::find(tx, &order_id)?.unwrap_or(record);
                if record.refunded(tx.now_ms()) {
                    store::write(tx, &record)?;
                    if record.flow == Flow::Choreographed {
                        tx.publish(&PaymentRefunded {
                            order_id,
                            flow: record.flow.into(),
                            payment_id: record.payment_id.clone(),
                            amount: Some(Money::gbp(record.amount_minor)),
                        })?;
                    }
                }
                Ok(record)
            })
            .await
    }

    /// Asks the processor and writes its answer. Announces it, unless there is nothing to go `onward` with: nothing may
    /// follow from a charge that is only found out to be given back.
    async fn ask(&self, cx: &Context, record: Record, onward: Option<Onward>) -> Result<Record> {
        let answer = self.processor.charge(cx, &record).await?;
        self.store
            .transact(cx, move |tx| {
                let mut record = store::find(tx, &record.order_id)?.unwrap_or(record);
                if record.answered(answer.clone(), tx.now_ms()) {
                    store::write(tx, &record)?;
                    if let (Flow::Choreographed, Some(onward)) = (record.flow, onward) {
                        announce(tx, &record, &answer, onward)?;
                    }
                }
                Ok(record)
            })
            .await
    }
}

fn announce(tx: &mut Tx<'_>, record: &Record, answer: &Answer, onward: Onward) -> Result<()> {
    let (order_id, flow, payment_id) =
        (record.order_id.clone(), record.flow.into(), record.payment_id.clone());
    match answer {
        Answer::Charged { .. } => tx.publish(&PaymentCaptured {
            order_id,
            flow,
            payment_id,
            amount: Some(Money::gbp(record.amount_minor)),
            user_id: onward.user_id,
            lines: onward.lines,
            shipping_address: onward.shipping_address,
        }),
        Answer::Declined { .. } => tx.publish(&PaymentDeclined {
            order_id,
            flow,
            payment_id,
            reason: crate::domain::CARD_DECLINED.as_str().to_owned(),
        }),
    }
}
