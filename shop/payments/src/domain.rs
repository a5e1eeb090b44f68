//! What may happen to a payment: pure decisions, no I/O.

use banyan::prelude::*;
use shop_contracts::checks::check_required;
use shop_contracts::money::GBP;
use shop_contracts::payments::v1::{ChargeRequest, Payment, PaymentState as State};
use shop_contracts::time::timestamp;
use shop_contracts::types::v1::{Flow, Money};

/// The largest amount of one payment: a million pounds.
const AMOUNT_MINOR_MAX: i64 = 100_000_000;

/// The processor refused the card.
pub(crate) const CARD_DECLINED: Reason = Reason::new("CARD_DECLINED");
/// The order's payment was given back or called off before.
pub(crate) const PAYMENT_CLOSED: Reason = Reason::new("PAYMENT_CLOSED");

/// A payment as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) order_id: String,
    pub(crate) payment_id: String,
    pub(crate) flow: Flow,
    pub(crate) state: State,
    pub(crate) amount_minor: i64,
    pub(crate) card_token: String,
    /// The processor's name for the charge; known once captured.
    pub(crate) charge_id: String,
    pub(crate) decline_reason: String,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
}

/// What the processor said about a charge.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Charged { charge_id: String },
    Declined { reason: String },
}

/// What a request to charge leads to.
#[derive(Debug, PartialEq)]
pub(crate) enum ChargeDecision {
    /// Write the intent, then ask the processor.
    Begin,
    /// The intent is written; ask the processor (again).
    Ask,
    /// It is done.
    Done,
}

/// What a request to refund leads to.
#[derive(Debug, PartialEq)]
pub(crate) enum RefundDecision {
    /// There is nothing: note the end, so that a late charge is refused.
    Close,
    /// It is not known whether money was taken: find out first.
    FindOut,
    /// Give the money back.
    GiveBack,
    /// It is done, or there is nothing to give back.
    Done,
}

/// Decides what a request to charge leads to.
///
/// # Errors
/// `CARD_DECLINED` or `PAYMENT_CLOSED` if the payment has ended that way.
pub(crate) fn decide_charge(found: Option<&Record>) -> Result<ChargeDecision> {
    match found.map(|r| r.state) {
        None => Ok(ChargeDecision::Begin),
        Some(State::Pending) => Ok(ChargeDecision::Ask),
        Some(State::Captured) => Ok(ChargeDecision::Done),
        Some(State::Declined) => Err(declined()),
        Some(State::Refunded | State::Unspecified) => {
            Err(Error::failed_precondition(PAYMENT_CLOSED, "the order's payment was called off"))
        }
    }
}

pub(crate) fn decide_refund(found: Option<&Record>) -> RefundDecision {
    match found.map(|r| r.state) {
        None => RefundDecision::Close,
        Some(State::Pending) => RefundDecision::FindOut,
        Some(State::Captured) => RefundDecision::GiveBack,
        Some(State::Declined | State::Refunded | State::Unspecified) => RefundDecision::Done,
    }
}

pub(crate) fn declined() -> Error {
    Error::failed_precondition(CARD_DECLINED, "the card was declined")
}

impl Record {
    pub(crate) fn pending(payment_id: String, flow: Flow, req: &ChargeRequest, now_ms: u64) -> Self {
        Self {
            order_id: req.order_id.clone(),
            payment_id,
            flow,
            state: State::Pending,
            amount_minor: req.amount.as_ref().map_or(0, |a| a.minor_units),
            card_token: req.card_token.clone(),
            charge_id: String::new(),
            decline_reason: String::new(),
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }

    /// Makes the record of a payment that was called off before it began.
    pub(crate) fn closed(order_id: &str, payment_id: String, now_ms: u64) -> Self {
        let req = ChargeRequest { order_id: order_id.to_owned(), ..ChargeRequest::default() };
        Self { state: State::Refunded, ..Self::pending(payment_id, Flow::Unspecified, &req, now_ms) }
    }

    /// Takes note of the processor's answer. Returns whether that changed anything.
    pub(crate) fn answered(&mut self, answer: Answer, now_ms: u64) -> bool {
        if self.state != State::Pending {
            return false;
        }
        self.updated_ms = now_ms;
        match answer {
            Answer::Charged { charge_id } => {
                self.state = State::Captured;
                self.charge_id = charge_id;
            }
            Answer::Declined { reason } => {
                self.state = State::Declined;
                self.decline_reason = reason;
            }
        }
        true
    }

    /// Takes note that the money is given back. Returns whether that changed anything.
    pub(crate) fn refunded(&mut self, now_ms: u64) -> bool {
        let changes = self.state == State::Captured;
        if changes {
            self.state = State::Refunded;
            self.updated_ms = now_ms;
        }
        changes
    }

    pub(crate) fn view(&self) -> Payment {
        Payment {
            payment_id: self.payment_id.clone(),
            order_id: self.order_id.clone(),
            amount: Some(Money::gbp(self.amount_minor)),
            state: self.state.into(),
            decline_reason: self.decline_reason.clone(),
            created_at: Some(timestamp(self.created_ms)),
            updated_at: Some(timestamp(self.updated_ms)),
        }
    }
}

/// Checks a request to charge.
pub(crate) fn check_charge(req: &ChargeRequest) -> Result<()> {
    check_required("order_id", &req.order_id)?;
    check_required("card_token", &req.card_token)?;
    let amount = req.amount.as_ref().ok_or_else(|| Error::invalid("amount", "is required"))?;
    if amount.currency_code != GBP {
        return Err(Error::invalid("amount.currency_code", "must be GBP"));
    }
    match (1..=AMOUNT_MINOR_MAX).contains(&amount.minor_units) {
        true => Ok(()),
        false => Err(Error::invalid("amount.minor_units", format!("must be 1 to {AMOUNT_MINOR_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ChargeRequest {
        ChargeRequest { order_id: "o".into(), amount: Some(Money::gbp(5)), card_token: "tok_visa".into() }
    }

    fn pending() -> Record {
        Record::pending("p".into(), Flow::Orchestrated, &request(), 1)
    }

    #[test]
    fn a_payment_ends_once() {
        let mut record = pending();
        assert!(record.answered(Answer::Charged { charge_id: "ch_1".into() }, 2));
        assert!(!record.answered(Answer::Declined { reason: "late".into() }, 3));
        assert_eq!(decide_charge(Some(&record)).unwrap(), ChargeDecision::Done);
        assert!(record.refunded(4));
        assert!(!record.refunded(5));
        assert!(decide_charge(Some(&record)).unwrap_err().is(PAYMENT_CLOSED));
        assert_eq!(decide_refund(Some(&record)), RefundDecision::Done);
    }

    #[test]
    fn a_refund_finds_out_what_is_not_known() {
        assert_eq!(decide_refund(Some(&pending())), RefundDecision::FindOut);
        assert_eq!(decide_refund(None), RefundDecision::Close);
        let closed = Record::closed("o", "p".into(), 1);
        assert!(decide_charge(Some(&closed)).unwrap_err().is(PAYMENT_CLOSED));
    }

    #[test]
    fn a_declined_card_stays_declined() {
        let mut record = pending();
        record.answered(Answer::Declined { reason: "generic_decline".into() }, 2);
        assert!(decide_charge(Some(&record)).unwrap_err().is(CARD_DECLINED));
        assert!(!record.refunded(3));
    }

    #[test]
    fn a_bad_charge_is_refused_by_the_field() {
        type Spoil = fn(&mut ChargeRequest);
        let cases: [(&str, Spoil); 5] = [
            ("order_id", |r| r.order_id.clear()),
            ("card_token", |r| r.card_token.clear()),
            ("amount", |r| r.amount = None),
            ("amount.currency_code", |r| r.amount.as_mut().unwrap().currency_code = "USD".into()),
            ("amount.minor_units", |r| r.amount.as_mut().unwrap().minor_units = -5),
        ];
        for (field, spoil) in cases {
            let mut request = request();
            spoil(&mut request);
            assert_eq!(check_charge(&request).unwrap_err().violations()[0].field, field);
        }
    }
}
