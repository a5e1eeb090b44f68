//! The least that is an order service: it keeps the contract's promise about idempotency keys, and notes what came.

use banyan::prelude::*;
use shop_contracts::orders::v1::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, RwLock};

/// What the tests see and steer of it.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// The orders that were placed: who, under which key, what.
    pub(crate) placed: Mutex<Vec<(Identity, String, PlaceOrderRequest)>>,
    /// Whether the answers get lost after an order is placed.
    pub(crate) lose_answers: AtomicBool,
    /// Whether nothing is accepted.
    pub(crate) refuse: AtomicBool,
    /// Told of every request that arrives.
    pub(crate) arrived: Notify,
    /// Requests wait while it is locked for writing.
    pub(crate) door: RwLock<()>,
}

impl Desk {
    pub(crate) fn placed(&self) -> Vec<(Identity, String, PlaceOrderRequest)> {
        self.placed.lock().expect("no test panics with it").clone()
    }
}

struct Orders {
    store: Store,
    desk: Arc<Desk>,
}

/// Defines the service.
pub(crate) fn service(desk: Arc<Desk>) -> ServiceDef {
    ServiceDef::new("orders", [OrderServiceClient::SERVICE], move |host| {
        let desk = desk.clone();
        async move {
            let store = host.store(&[], &[]).await?;
            host.serve(order_service(Arc::new(Orders { store, desk })));
            Ok(())
        }
    })
}

impl OrderService for Orders {
    async fn place_order(&self, cx: &Context, req: PlaceOrderRequest) -> Result<Order> {
        self.desk.arrived.notify_one();
        let _open = self.desk.door.read().await;
        if self.desk.refuse.load(Ordering::SeqCst) {
            return Err(Error::invalid("shipping_address.city", "is required"));
        }
        let (desk, identity, request) = (self.desk.clone(), cx.identity().clone(), req.clone());
        let key =
            cx.idempotency_key().ok_or_else(|| Error::invalid("idempotency_key", "is missing"))?.to_owned();
        let order = self
            .store
            .once(cx, "PlaceOrder", &req, move |tx| {
                let user_id = identity.subject().to_owned();
                desk.placed.lock().expect("no test panics with it").push((identity, key, request));
                Ok(Order {
                    order_id: tx.new_id(),
                    user_id,
                    state: OrderState::Pending.into(),
                    ..Default::default()
                })
            })
            .await?;
        match self.desk.lose_answers.load(Ordering::SeqCst) {
            true => Err(Error::internal("the answer is lost")),
            false => Ok(order),
        }
    }

    async fn get_order(&self, _: &Context, _: GetOrderRequest) -> Result<Order> {
        Err(Error::unimplemented("carts only place orders"))
    }

    async fn list_orders(&self, _: &Context, _: ListOrdersRequest) -> Result<ListOrdersResponse> {
        Err(Error::unimplemented("carts only place orders"))
    }

    async fn cancel_order(&self, _: &Context, _: CancelOrderRequest) -> Result<Order> {
        Err(Error::unimplemented("carts only place orders"))
    }

    async fn refund_order(&self, _: &Context, _: RefundOrderRequest) -> Result<Order> {
        Err(Error::unimplemented("carts only place orders"))
    }

    async fn watch_order(&self, _: &Context, _: WatchOrderRequest) -> Result<Streaming<Order>> {
        Err(Error::unimplemented("carts only place orders"))
    }
}
