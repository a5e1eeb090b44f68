//! The lead among the processes that share a database: a lock of the server that ends with its connection.

use super::Connector;
use super::newest::Made;
use crate::engine::Leader;
use banyan_core::{Error, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::watch;

/// How often the connection that holds the lead is looked at.
const CHECK: Duration = Duration::from_secs(1);

/// Takes the lead if nobody has it.
pub(super) async fn take(connector: Arc<dyn Connector>, service: String) -> Result<Option<Leader>> {
    // A connection is opened, used and closed on threads that may block.
    let lock = move || -> Result<Option<Leader>> {
        let mut connection = Made::connect(&*connector)?;
        if !connection.try_lock(&format!("banyan_lead_{service}"))? {
            return Ok(None);
        }
        let (held, given_up): (Sender<()>, _) = channel();
        let (lost, is_lost) = watch::channel(false);
        std::thread::Builder::new()
            .name(format!("{service}-lead"))
            .spawn(move || watch_over(connection, &*connector, &given_up, &lost))
            .map_err(Error::internal)?;
        Ok(Some(Leader::new(parking_lot::Mutex::new(held), Some(is_lost))))
    };
    tokio::task::spawn_blocking(lock).await.map_err(Error::internal)?
}

/// Keeps the connection until the lead is given up, and says so when it broke, or its URL was replaced, before.
fn watch_over(
    mut connection: Made,
    connector: &dyn Connector,
    given_up: &Receiver<()>,
    lost: &watch::Sender<bool>,
) {
    while let Err(RecvTimeoutError::Timeout) = given_up.recv_timeout(CHECK) {
        if connection.is_stale(connector) || connection.execute("SELECT 1", &[]).is_err() {
            lost.send_replace(true);
            return;
        }
    }
}
