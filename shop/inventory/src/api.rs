//! What the service answers: the generated contract, implemented.

use crate::domain::{Command, check_ttl};
use crate::{Inventory, reservations, stock};
use banyan::prelude::*;
use shop_contracts::checks::{check_distinct_items, check_required};
use shop_contracts::inventory::v1::*;
use shop_contracts::time::duration_ms;
use shop_contracts::types::v1::Flow;

/// Products of an import that are written in one transaction.
const IMPORT_BATCH: usize = 500;

impl InventoryService for Inventory {
    async fn set_stock(&self, cx: &Context, req: SetStockRequest) -> Result<Stock> {
        self.store.transact(cx, move |tx| stock::set(tx, &req.product_id, req.on_hand)).await
    }

    async fn get_stock(&self, cx: &Context, req: GetStockRequest) -> Result<Stock> {
        self.store
            .read(cx, move |q| {
                stock::get(q, &req.product_id)?
                    .ok_or_else(|| Error::not_found("stock of product", &req.product_id))
            })
            .await
    }

    async fn import_stock(
        &self,
        cx: &Context,
        mut requests: Streaming<ImportStockRequest>,
    ) -> Result<ImportStockResponse> {
        let mut imported = 0;
        loop {
            let mut batch = Vec::with_capacity(IMPORT_BATCH);
            while batch.len() < IMPORT_BATCH
                && let Some(request) = requests.message().await?
            {
                batch.push(request);
            }
            if batch.is_empty() {
                return Ok(ImportStockResponse { imported });
            }
            imported += batch.len() as i32;
            self.store
                .transact(cx, move |tx| {
                    batch.iter().try_for_each(|r| stock::set(tx, &r.product_id, r.on_hand).map(drop))
                })
                .await?;
        }
    }

    async fn reserve(&self, cx: &Context, req: ReserveRequest) -> Result<Reservation> {
        check_required("order_id", &req.order_id)?;
        check_distinct_items(&req.items)?;
        let ttl_ms = match &req.ttl {
            Some(ttl) => check_ttl(duration_ms("ttl", ttl)?)?,
            None => self.ttl_ms_default,
        };
        self.store
            .transact(cx, move |tx| {
                let held = reservations::reserve(tx, &req.order_id, Flow::Orchestrated, req.items, ttl_ms)?;
                Ok(held?.view())
            })
            .await
    }

    async fn release(&self, cx: &Context, req: ReleaseRequest) -> Result<Reservation> {
        self.apply(cx, req.order_id, Command::Release).await
    }

    async fn commit_reservation(&self, cx: &Context, req: CommitReservationRequest) -> Result<Reservation> {
        self.apply(cx, req.order_id, Command::Commit).await
    }

    async fn restock(&self, cx: &Context, req: RestockRequest) -> Result<Reservation> {
        self.apply(cx, req.order_id, Command::Restock).await
    }
}

impl Inventory {
    async fn apply(&self, cx: &Context, order_id: String, command: Command) -> Result<Reservation> {
        check_required("order_id", &order_id)?;
        self.store.transact(cx, move |tx| Ok(reservations::apply(tx, &order_id, command)?.0.view())).await
    }
}
