//! What the service answers: the generated contract, implemented.

use crate::changes::Follower;
use crate::domain::{OrderRecord, PlaceOrder, place};
use crate::{Orders, fulfil, refund, store};
use banyan::prelude::*;
use futures::stream;
use shop_contracts::callers::{may_see, signed_in};
use shop_contracts::catalog::v1::PriceItemsRequest;
use shop_contracts::checks::{TEXT_CHARS_MAX, check_text};
use shop_contracts::orders::v1::*;
use shop_contracts::paging::Page;
use shop_contracts::types::v1::Flow;

/// How often a watcher looks by itself, should a change have passed it by.
const WATCH_POLL: Duration = Duration::from_secs(1);
/// How long CancelOrder waits for the compensation to end before it answers with the order as it is.
const CANCEL_WAIT: Duration = Duration::from_secs(3);

impl OrderService for Orders {
    async fn place_order(&self, cx: &Context, req: PlaceOrderRequest) -> Result<Order> {
        let user = signed_in(cx)?.to_owned();
        let command = PlaceOrder::try_from(req.clone())?;
        let items = command.items.clone();
        let priced = self.catalog.price_items(cx, PriceItemsRequest { items }).await?;
        let placed =
            place(command, priced.lines, cx.env().new_id(), &user, self.flow, cx.env().clock.unix_ms())?;
        let sagas = self.sagas.clone();
        self.store
            .once(cx, "PlaceOrder", &req, move |tx| {
                let order = OrderRecord::new(&placed, tx.now_ms());
                store::insert(tx, &order)?;
                tx.publish(&placed)?;
                if placed.flow() == Flow::Orchestrated {
                    sagas.start(tx, fulfil::FulfilOrder::NAME, &placed.order_id, &placed)?;
                }
                Ok(order.view())
            })
            .await
    }

    async fn get_order(&self, cx: &Context, req: GetOrderRequest) -> Result<Order> {
        Ok(self.find(cx, req.order_id).await?.view())
    }

    async fn list_orders(&self, cx: &Context, req: ListOrdersRequest) -> Result<ListOrdersResponse> {
        let user = signed_in(cx)?.to_owned();
        let page = Page::newest_first(req.page_size, req.page_token)?;
        let asked = page.clone();
        let mut found = self.store.read(cx, move |q| store::of_user(q, &user, &asked)).await?;
        let next_page_token = page.cut(&mut found, |order| &order.placed.order_id);
        Ok(ListOrdersResponse { orders: found.iter().map(OrderRecord::view).collect(), next_page_token })
    }

    async fn cancel_order(&self, cx: &Context, req: CancelOrderRequest) -> Result<Order> {
        check_text("reason", &req.reason, TEXT_CHARS_MAX)?;
        let order = self.find(cx, req.order_id.clone()).await?;
        order.check_cancellable()?;
        if order.has_ended() {
            return Ok(order.view());
        }
        let reason = if req.reason.is_empty() { "CANCELLED_BY_CUSTOMER".to_owned() } else { req.reason };
        if order.placed.flow() == Flow::Orchestrated {
            match self.sagas.cancel(cx, &req.order_id, &reason).await {
                Ok(()) => {}
                // It came to its end in the meantime; which end is told below.
                Err(error) if error.code() == Code::FailedPrecondition => {}
                Err(error) => return Err(error),
            }
        } else {
            self.cancel(cx, req.order_id.clone(), reason).await?;
        }
        let order = self.ended(cx, &req.order_id).await?;
        order.check_cancellable()?;
        Ok(order.view())
    }

    async fn refund_order(&self, cx: &Context, req: RefundOrderRequest) -> Result<Order> {
        let sagas = self.sagas.clone();
        self.store
            .once(cx, "RefundOrder", &req.clone(), move |tx| {
                let order = store::get(tx, &req.order_id)?;
                order.check_refundable()?;
                let id = refund::saga_id(&req.order_id);
                match sagas.start(tx, refund::RefundOrder::NAME, &id, &order.placed) {
                    // Asked for before, with another key: it is on its way or done.
                    Err(error) if error.code() == Code::AlreadyExists => {}
                    other => other?,
                }
                Ok(order.view())
            })
            .await
    }

    async fn watch_order(&self, cx: &Context, req: WatchOrderRequest) -> Result<Streaming<Order>> {
        let follower = self.changes.follow(&req.order_id);
        let first = self.find(cx, req.order_id).await?;
        let watch = Watch { store: self.store.clone(), cx: cx.clone(), follower, last: None };
        Ok(Streaming::new(stream::try_unfold((watch, Some(first)), |(mut watch, first)| async move {
            let order = match first {
                Some(order) => Some(order),
                None => watch.next().await?,
            };
            Ok(order.map(|order| {
                let view = order.view();
                watch.last = Some(order);
                (view, (watch, None))
            }))
        })))
    }
}

/// Somebody who follows an order.
struct Watch {
    store: Store,
    cx: Context,
    follower: Follower,
    last: Option<OrderRecord>,
}

impl Watch {
    /// Waits for the order's next state; `None` after its last.
    async fn next(&mut self) -> Result<Option<OrderRecord>> {
        let Some(last) = self.last.as_ref().filter(|order| !order.has_ended()) else { return Ok(None) };
        loop {
            let changed = tokio::time::timeout(WATCH_POLL, self.follower.changed()).await;
            let order = match changed {
                Ok(Some(order)) => Arc::unwrap_or_clone(order),
                _ => {
                    let order_id = last.placed.order_id.clone();
                    self.store.read(&self.cx, move |q| store::get(q, &order_id)).await?
                }
            };
            if order.state != last.state {
                return Ok(Some(order));
            }
        }
    }
}

impl Orders {
    /// Returns an order that the caller may see.
    async fn find(&self, cx: &Context, order_id: String) -> Result<OrderRecord> {
        let order = self.store.read(cx, move |q| store::get(q, &order_id)).await?;
        match may_see(cx.identity(), &order.placed.user_id) {
            true => Ok(order),
            false => Err(Error::not_found("order", &order.placed.order_id)),
        }
    }

    /// Waits a while for an order's end and returns it as it is then.
    async fn ended(&self, cx: &Context, order_id: &str) -> Result<OrderRecord> {
        let mut follower = self.changes.follow(order_id);
        let waited = tokio::time::timeout(CANCEL_WAIT, async {
            loop {
                let order = self.find(cx, order_id.to_owned()).await?;
                if order.has_ended() {
                    return Ok(order);
                }
                let _ = tokio::time::timeout(WATCH_POLL, follower.changed()).await;
            }
        });
        match waited.await {
            Ok(order) => order,
            Err(_) => self.find(cx, order_id.to_owned()).await,
        }
    }

    /// Cancels a pending order of the choreography.
    pub(crate) async fn cancel(&self, cx: &Context, order_id: String, reason: String) -> Result<()> {
        let changes = self.changes.clone();
        self.store
            .transact(cx, move |tx| {
                let mut order = store::get(tx, &order_id)?;
                if let Some(event) = order.cancel(&reason, tx.now_ms()) {
                    store::update(tx, &order)?;
                    tx.publish(&event)?;
                    changes.announce(tx, order);
                }
                Ok(())
            })
            .await
    }
}
