//! What the service answers: the generated contract, implemented.

use crate::domain::check;
use crate::{Shipping, parcels, store};
use banyan::prelude::*;
use shop_contracts::checks::check_required;
use shop_contracts::shipping::v1::*;
use shop_contracts::types::v1::Flow;

impl ShippingService for Shipping {
    async fn create_shipment(&self, cx: &Context, request: CreateShipmentRequest) -> Result<Shipment> {
        check(&request)?;
        let order = parcels::Order {
            flow: Flow::Orchestrated,
            request,
            payment_id: String::new(),
            delivery_ms: self.delivery_ms,
        };
        self.store.transact(cx, move |tx| Ok(parcels::create(tx, order)?.view())).await
    }

    async fn cancel_shipment(&self, cx: &Context, req: CancelShipmentRequest) -> Result<Shipment> {
        check_required("order_id", &req.order_id)?;
        self.store.transact(cx, move |tx| Ok(parcels::cancel(tx, &req.order_id)?.view())).await
    }

    async fn get_shipment(&self, cx: &Context, req: GetShipmentRequest) -> Result<Shipment> {
        let identity = cx.identity().clone();
        self.store
            .read(cx, move |q| {
                let found = store::find(q, &req.order_id)?.filter(|r| r.is_visible_to(&identity));
                found.map(|r| r.view()).ok_or_else(|| Error::not_found("shipment of order", &req.order_id))
            })
            .await
    }
}
