//! The services that an order's sagas call.

use banyan::prelude::*;
use shop_contracts::inventory::v1::InventoryServiceClient;
use shop_contracts::payments::v1::PaymentServiceClient;
use shop_contracts::shipping::v1::ShippingServiceClient;

#[derive(Clone)]
pub(crate) struct Participants {
    pub(crate) inventory: InventoryServiceClient,
    pub(crate) payments: PaymentServiceClient,
    pub(crate) shipping: ShippingServiceClient,
}

impl Participants {
    pub(crate) fn new(host: &Host) -> Self {
        Self { inventory: host.client(), payments: host.client(), shipping: host.client() }
    }

    /// Makes the undo of a step of this order. The saga keeps it, so it owns what it needs.
    pub(crate) fn undo<F, Fut>(
        &self,
        order_id: &str,
        undo: F,
    ) -> impl Fn(Context) -> Fut + Send + Sync + use<F, Fut>
    where
        F: Fn(Participants, Context, String) -> Fut + Send + Sync,
        Fut: Future<Output = Result<()>> + Send,
    {
        let (participants, order_id) = (self.clone(), order_id.to_owned());
        move |cx| undo(participants.clone(), cx, order_id.clone())
    }
}
