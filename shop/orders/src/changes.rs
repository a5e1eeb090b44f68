//! Who follows which order: a change wakes those who follow this order and nobody else.

use crate::domain::OrderRecord;
use banyan::prelude::*;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

type Latest = Option<Arc<OrderRecord>>;

/// The orders that somebody follows. Cheap to clone; every clone is the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes(Arc<Mutex<HashMap<String, watch::Sender<Latest>>>>);

/// Somebody who follows an order.
#[derive(Debug)]
pub(crate) struct Follower {
    changes: Changes,
    order_id: String,
    latest: watch::Receiver<Latest>,
}

impl Changes {
    /// Follows an order from now on.
    pub(crate) fn follow(&self, order_id: &str) -> Follower {
        let mut followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = followed.entry(order_id.to_owned()).or_insert_with(|| watch::Sender::new(None));
        Follower { changes: self.clone(), order_id: order_id.to_owned(), latest: sender.subscribe() }
    }

    /// Tells those who follow `order` how it is, as soon as that is durable.
    pub(crate) fn announce(&self, tx: &mut Tx<'_>, order: OrderRecord) {
        let changes = self.clone();
        tx.on_commit(move || {
            let followed = changes.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(followers) = followed.get(&order.placed.order_id) {
                followers.send_replace(Some(Arc::new(order)));
            }
        });
    }
}

impl Follower {
    /// Waits for the order's next change.
    pub(crate) async fn changed(&mut self) -> Option<Arc<OrderRecord>> {
        // The sender stays as long as somebody follows.
        self.latest.changed().await.ok();
        self.latest.borrow_and_update().clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followed = self.changes.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one, which is still counted itself.
        if followed.get(&self.order_id).is_some_and(|followers| followers.receiver_count() == 1) {
            followed.remove(&self.order_id);
        }
    }
}
