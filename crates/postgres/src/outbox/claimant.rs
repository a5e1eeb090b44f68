//! The way to the thread that reads the slot.

use super::worker::Worker;
use crate::address::Addresses;
use banyan_core::{BoxFuture, Envelope, Error, Result, Retry};
use banyan_store::{Claim, OutboxState, StoreOptions};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Relays of one process that may wait for a claim; there is one, as a rule.
const CLAIMS_WAITING_MAX: usize = 16;

/// Asks for claims.
pub(super) struct Claimant {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    /// Becomes `true`, or its sender goes away, when the thread has ended.
    ended: watch::Receiver<bool>,
}

/// A relay that wants events.
pub(super) struct Request {
    pub(super) limit: usize,
    /// Answered with no [`Held`] if there was nothing to claim.
    pub(super) reply: oneshot::Sender<Result<(Vec<Envelope>, Option<Held>)>>,
}

/// Keeps a claim; dropped without a word, the claim is given up.
pub(super) type Held = oneshot::Sender<oneshot::Sender<Result<()>>>;

impl Claimant {
    pub(super) fn start(
        addresses: Addresses,
        slot: String,
        answer_max: Duration,
        options: &StoreOptions,
        outbox: Arc<OutboxState>,
    ) -> Result<Self> {
        let (requests, queue) = mpsc::channel(CLAIMS_WAITING_MAX);
        let (ending, ended) = watch::channel(false);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::internal)?;
        let service = options.service.clone();
        let name = format!("{service}-slot");
        // A thread of its own drives the connections, whatever happens to the futures of relays.
        let run = move || {
            runtime.block_on(async {
                Worker::new(addresses, slot, answer_max, service, outbox).run(queue).await
            });
            ending.send_replace(true);
        };
        let thread = std::thread::Builder::new().name(name).spawn(run);
        thread.map_err(Error::internal)?;
        Ok(Self { requests: Mutex::new(Some(requests)), ended })
    }

    pub(super) async fn claim(&self, limit: usize) -> Result<Claim> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let closed = || Error::unavailable("the store is closed").with_retry(Retry::Safe);
        let requests = requests.ok_or_else(closed)?;
        requests.try_send(Request { limit, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::overloaded("too many relays wait for the outbox"),
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        drop(requests);
        let (events, held) = answer.await.map_err(|_| closed())??;
        let sent = move || -> BoxFuture<'static, Result<()>> {
            let (reply, answer) = oneshot::channel();
            let said = held.map(|held| held.send(reply));
            Box::pin(async move {
                match said {
                    Some(Ok(())) => answer.await.map_err(|_| closed())?,
                    Some(Err(_)) => Err(Error::unavailable("the claim on the outbox was lost")),
                    None => Ok(()),
                }
            })
        };
        Ok(Claim::new(events, sent))
    }

    pub(super) async fn close(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        // An error means that nobody is left to say so.
        drop(self.ended.clone().wait_for(|ended| *ended).await);
    }
}
