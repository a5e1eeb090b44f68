//! What may happen to a shipment: pure decisions, no I/O.

use banyan::prelude::*;
use shop_contracts::callers::may_see;
use shop_contracts::checks::{check_items, check_required, check_shipping_address};
use shop_contracts::shipping::v1::{CreateShipmentRequest, Shipment, ShipmentState as State};
use shop_contracts::time::timestamp;
use shop_contracts::types::v1::Flow;

/// Who brings the parcels.
const CARRIER: &str = "Banyan Parcels";
/// What the carrier's tracking numbers begin with.
const TRACKING_PREFIX: &str = "BP";

/// The order's shipment was called back before; nothing is shipped for the order any more.
pub(crate) const SHIPMENT_CANCELLED: Reason = Reason::new("SHIPMENT_CANCELLED");

/// What is asked of a shipment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Create,
    Cancel,
    Deliver,
}

/// A shipment as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) shipment_id: String,
    pub(crate) flow: Flow,
    pub(crate) state: State,
    /// Empty if the shipment was cancelled before there was one; then so are the user, the address and the items.
    pub(crate) tracking: String,
    /// What was asked for: the order, whose it is, what goes where.
    pub(crate) request: CreateShipmentRequest,
    pub(crate) created_ms: u64,
    /// When the parcel arrives.
    pub(crate) due_ms: u64,
    pub(crate) updated_ms: u64,
    /// 0 until it has arrived.
    pub(crate) delivered_ms: u64,
}

/// Decides what `command` does to a shipment in `state` (`None`: there is none yet). `Ok(None)`: it is done already.
///
/// # Errors
/// `SHIPMENT_CANCELLED` if the shipment was cancelled before it was created.
pub(crate) fn decide(state: Option<State>, command: Command) -> Result<Option<State>> {
    match (command, state) {
        (Command::Create, None) => Ok(Some(State::Created)),
        (Command::Create, Some(State::Created | State::Delivered)) => Ok(None),
        (Command::Create, Some(State::Cancelled | State::Unspecified)) => {
            Err(Error::failed_precondition(SHIPMENT_CANCELLED, "the order's shipment was cancelled"))
        }

        (Command::Cancel, Some(State::Cancelled)) => Ok(None),
        // Also when there is none: note the end, so that a late Create is refused.
        (Command::Cancel, _) => Ok(Some(State::Cancelled)),

        (Command::Deliver, Some(State::Created)) => Ok(Some(State::Delivered)),
        (Command::Deliver, _) => Ok(None),
    }
}

impl Record {
    pub(crate) fn created(
        shipment_id: String,
        flow: Flow,
        request: CreateShipmentRequest,
        now_ms: u64,
        delivery_ms: u64,
    ) -> Self {
        Self {
            tracking: tracking(&shipment_id),
            shipment_id,
            flow,
            state: State::Created,
            request,
            created_ms: now_ms,
            due_ms: now_ms.saturating_add(delivery_ms),
            updated_ms: now_ms,
            delivered_ms: 0,
        }
    }

    /// Makes the record of a shipment that was cancelled before there was one.
    pub(crate) fn never(shipment_id: String, order_id: &str, now_ms: u64) -> Self {
        let request = CreateShipmentRequest { order_id: order_id.to_owned(), ..Default::default() };
        let created = Self::created(shipment_id, Flow::Unspecified, request, now_ms, 0);
        Self { state: State::Cancelled, tracking: String::new(), ..created }
    }

    /// Moves to `state`, the outcome of [`decide`].
    pub(crate) fn become_state(&mut self, state: State, now_ms: u64) {
        self.state = state;
        self.updated_ms = now_ms;
        if state == State::Delivered {
            self.delivered_ms = now_ms;
        }
    }

    /// Tells whether the caller may see the shipment: its owner, an admin, another service.
    pub(crate) fn is_visible_to(&self, identity: &Identity) -> bool {
        may_see(identity, &self.request.user_id)
    }

    pub(crate) fn carrier(&self) -> &'static str {
        if self.tracking.is_empty() { "" } else { CARRIER }
    }

    pub(crate) fn view(&self) -> Shipment {
        let request = self.request.clone();
        Shipment {
            shipment_id: self.shipment_id.clone(),
            order_id: request.order_id,
            tracking: self.tracking.clone(),
            carrier: self.carrier().to_owned(),
            state: self.state.into(),
            shipping_address: request.shipping_address,
            items: request.items,
            created_at: Some(timestamp(self.created_ms)),
            delivered_at: (self.delivered_ms > 0).then(|| timestamp(self.delivered_ms)),
        }
    }
}

/// Derives the carrier's number for a parcel from the shipment's id: the same parcel never gets a second one.
fn tracking(shipment_id: &str) -> String {
    format!("{TRACKING_PREFIX}{}", shipment_id.replace('-', "").to_uppercase())
}

/// Checks what is to be shipped.
pub(crate) fn check(req: &CreateShipmentRequest) -> Result<()> {
    check_required("order_id", &req.order_id)?;
    check_required("user_id", &req.user_id)?;
    check_shipping_address(req.shipping_address.as_ref())?;
    check_items(&req.items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shop_contracts::types::v1::{Address, Item};

    const COMMANDS: [Command; 3] = [Command::Create, Command::Cancel, Command::Deliver];
    const STATES: [Option<State>; 4] =
        [None, Some(State::Created), Some(State::Cancelled), Some(State::Delivered)];

    fn request() -> CreateShipmentRequest {
        CreateShipmentRequest {
            order_id: "o-1".into(),
            user_id: "u-1".into(),
            shipping_address: Some(Address {
                name: "Ann".into(),
                street: "1 High Street".into(),
                city: "Leeds".into(),
                postal_code: "LS1".into(),
                country: "United Kingdom".into(),
            }),
            items: vec![Item { product_id: "85123A".into(), quantity: 2 }],
        }
    }

    fn created() -> Record {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
        Record::created(id, Flow::Orchestrated, request(), 1_000, 2_000)
    }

    #[test]
    fn every_command_is_idempotent() {
        for command in COMMANDS {
            for state in STATES {
                if let Ok(Some(next)) = decide(state, command) {
                    assert_eq!(
                        decide(Some(next), command).unwrap(),
                        None,
                        "{command:?} twice from {state:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_happens_after_a_cancellation() {
        for before in STATES {
            assert!(matches!(decide(before, Command::Cancel).unwrap(), Some(State::Cancelled) | None));
        }
        let cancelled = Some(State::Cancelled);
        assert!(decide(cancelled, Command::Create).unwrap_err().is(SHIPMENT_CANCELLED));
        assert_eq!(decide(cancelled, Command::Deliver).unwrap(), None);
    }

    #[test]
    fn a_delivery_needs_a_parcel() {
        assert_eq!(decide(None, Command::Deliver).unwrap(), None);
        let mut record = created();
        assert_eq!((record.due_ms, record.view().delivered_at), (3_000, None));
        record.become_state(State::Delivered, 3_100);
        assert_eq!(record.view().delivered_at, Some(timestamp(3_100)));
    }

    #[test]
    fn the_tracking_number_follows_from_the_shipment() {
        assert_eq!(created().tracking, "BP01890A5DAC96774BBCCEB302099A8057");
        assert_eq!(created().view().carrier, CARRIER);
        let never = Record::never("s-1".into(), "o-1", 1).view();
        assert_eq!((never.tracking.as_str(), never.carrier.as_str()), ("", ""));
    }

    #[test]
    fn a_shipment_is_seen_by_its_owner_only() {
        let user = |id, roles: &[&str]| {
            Identity::user(id, &roles.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>())
        };
        let record = created();
        assert!(record.is_visible_to(&user("u-1", &[])));
        assert!(record.is_visible_to(&user("u-2", &["admin"])));
        assert!(record.is_visible_to(&Identity::service("orders")));
        assert!(!record.is_visible_to(&user("u-2", &[])));
        assert!(!record.is_visible_to(&Identity::anonymous()));
        // There was never a parcel: it has no owner, not even somebody without a name.
        let never = Record::never("s-1".into(), "o-1", 1);
        assert!(!never.is_visible_to(&Identity::anonymous()));
    }

    #[test]
    fn a_bad_request_is_refused_by_the_field() {
        type Spoil = fn(&mut CreateShipmentRequest);
        let cases: [(&str, Spoil); 7] = [
            ("order_id", |r| r.order_id.clear()),
            ("user_id", |r| r.user_id = "x".repeat(201)),
            ("shipping_address", |r| r.shipping_address = None),
            ("shipping_address.city", |r| r.shipping_address.as_mut().unwrap().city = " ".into()),
            ("items", |r| r.items.clear()),
            ("items[0].product_id", |r| r.items[0].product_id.clear()),
            ("items[0].quantity", |r| r.items[0].quantity = -1),
        ];
        assert!(check(&request()).is_ok());
        for (field, spoil) in cases {
            let mut request = request();
            spoil(&mut request);
            assert_eq!(check(&request).unwrap_err().violations()[0].field, field);
        }
    }
}
