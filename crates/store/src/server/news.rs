//! News of new events between the processes that have one database open.

use super::Connector;
use super::newest::UrlChanges;
use crate::outbox::OutboxState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long to wait before the connection that news travel on is opened again.
const RECONNECT: Duration = Duration::from_secs(1);

/// One process's end of the news: what it has to tell the others, and the way to its relay.
pub struct News {
    outbox: Arc<OutboxState>,
    added: watch::Receiver<u64>,
    closed: watch::Receiver<bool>,
    url: Option<UrlChanges>,
    /// Whether it was told to connect anew.
    renewing: bool,
}

/// What [`News::next`] waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// This process added events: the others should hear of it.
    Added,
    /// The store is closed.
    Closed,
    /// The URL was replaced: the connection is to be made anew.
    Renewed,
}

impl News {
    pub(super) fn new(
        outbox: Arc<OutboxState>,
        closed: watch::Receiver<bool>,
        url: Option<UrlChanges>,
    ) -> Self {
        let added = outbox.added();
        Self { outbox, added, closed, url, renewing: false }
    }

    /// Waits until this process has something to tell. Several commits are one piece of news.
    pub async fn next(&mut self) -> Told {
        let Self { added, closed, url, renewing, .. } = self;
        let renewed = async {
            match url {
                Some(url) => url.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // An error means that the store is gone.
            _ = closed.wait_for(|closed| *closed) => Told::Closed,
            () = renewed => {
                *renewing = true;
                Told::Renewed
            }
            news = added.changed() => match news {
                Ok(()) => Told::Added,
                Err(_) => Told::Closed,
            },
        }
    }

    /// Returns what wakes this process's relays ([`OutboxState::announce`]) when another process added events.
    pub fn outbox(&self) -> Arc<OutboxState> {
        self.outbox.clone()
    }

    /// Shares the news until the store is closed; the work of a thread.
    pub(super) fn run(mut self, connector: &dyn Connector, service: &str) {
        while !*self.closed.borrow() && self.closed.has_changed().is_ok() {
            match connector.share_news(&mut self) {
                Ok(()) if std::mem::take(&mut self.renewing) => {}
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(service, ?error, "news of other processes' events are not heard");
                    // What was missed meanwhile is found by looking.
                    self.outbox.announce();
                    pause(RECONNECT);
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own without a runtime, which holds nothing")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
