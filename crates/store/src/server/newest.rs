//! The URL of a store that is replaced while the store is open, and the connections that were made with an older one.

use super::{Access, Connection, Connector};
use crate::engine::STORE_UNREACHABLE;
use crate::sqlite::STORE_NOT_OPENED;
use banyan_core::{Blame, Code, Error, Result, Retry};
use parking_lot::Mutex;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::watch;

/// How soon a connection that is not used ends when its URL was replaced.
const LOOK: Duration = Duration::from_secs(1);

/// The URL of a store whose credentials end and are replaced by others. Whenever the store connects, it does so with the
/// newest; connections that were made with an older one end as soon as nothing runs on them. Cheap to clone.
#[derive(Clone)]
pub struct NewestUrl(Arc<watch::Sender<Newest>>);

/// A URL, and how many there were before it.
#[derive(Clone)]
pub(super) struct Newest {
    version: u64,
    url: Arc<str>,
}

impl NewestUrl {
    /// Begins with `url`.
    pub fn new(url: &str) -> Self {
        Self(Arc::new(watch::Sender::new(Newest { version: 0, url: url.into() })))
    }

    /// Returns the newest URL, with its password.
    pub fn get(&self) -> Arc<str> {
        self.0.borrow().url.clone()
    }

    /// Replaces the URL; does nothing if it is the same.
    pub fn replace(&self, url: &str) {
        self.0.send_if_modified(|newest| {
            if *newest.url == *url {
                return false;
            }
            *newest = Newest { version: newest.version + 1, url: url.into() };
            true
        });
    }

    /// Tells whether anybody has another handle of it.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Returns what waits for the next one.
    pub fn changes(&self) -> UrlChanges {
        UrlChanges(self.0.subscribe())
    }

    fn version(&self) -> u64 {
        self.0.borrow().version
    }
}

impl fmt::Debug for NewestUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewestUrl").field("version", &self.version()).finish_non_exhaustive()
    }
}

/// Waits for URLs that replace others.
pub struct UrlChanges(watch::Receiver<Newest>);

impl UrlChanges {
    /// Waits until there is a newer URL than when this returned, or was made, the last time. Safe to drop.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could replace it.
            std::future::pending().await
        }
    }
}

/// A connection, and which URL it was made with.
pub(super) struct Made {
    connection: Box<dyn Connection>,
    version: u64,
}

impl Made {
    /// Connects with the newest URL.
    ///
    /// # Errors
    /// As [`Connector::connect`]; a server that refuses a URL which can be replaced is one that refuses it for now.
    pub(super) fn connect(connector: &dyn Connector) -> Result<Self> {
        // Read before: what is replaced meanwhile is found to be stale.
        let version = version(connector);
        match connector.connect() {
            Ok(connection) => Ok(Self { connection, version }),
            Err(error) if connector.url().is_some() && error.is(STORE_NOT_OPENED) => {
                let message = format!("{}; its credentials may be about to be replaced", error.message());
                Err(Error::new(Code::Unavailable, STORE_UNREACHABLE, message)
                    .with_blame(Blame::Service)
                    .with_retry(Retry::Safe)
                    .with_source(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes over a connection that was made when the URL had this [`version`], or a newer one.
    pub(super) fn of(connection: Box<dyn Connection>, version: u64) -> Self {
        Self { connection, version }
    }

    /// Tells whether its URL has been replaced.
    pub(super) fn is_stale(&self, connector: &dyn Connector) -> bool {
        self.version != version(connector)
    }
}

impl Deref for Made {
    type Target = dyn Connection;

    fn deref(&self) -> &Self::Target {
        &*self.connection
    }
}

impl DerefMut for Made {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.connection
    }
}

/// Returns how many URLs there were before the newest one.
pub(super) fn version(connector: &dyn Connector) -> u64 {
    connector.url().map_or(0, NewestUrl::version)
}

/// Begins a transaction on the connection `kept`, or on another one if there is none, its URL was replaced, or it broke
/// while it was idle.
pub(super) fn begin<'k>(
    kept: &'k mut Option<Made>,
    connector: &dyn Connector,
    access: Access,
) -> Result<&'k mut dyn Connection> {
    let mut made = match kept.take().filter(|made| !made.is_stale(connector)) {
        Some(mut made) => match made.begin(access) {
            Ok(()) => return Ok(&mut **kept.insert(made)),
            Err(error) if error.is(STORE_UNREACHABLE) => Made::connect(connector)?,
            Err(error) => return Err(error),
        },
        None => Made::connect(connector)?,
    };
    made.begin(access)?;
    Ok(&mut **kept.insert(made))
}

/// Waits for the next of a queue that several threads share; `None` when there will be none. Meanwhile the connection
/// `kept` ends if its URL is replaced, and `ended` is told.
pub(super) fn next<J>(
    queue: &Mutex<Receiver<J>>,
    kept: &mut Option<Made>,
    connector: &dyn Connector,
    ended: impl Fn(),
) -> Option<J> {
    if connector.url().is_none() {
        // One thread waits inside the channel, the others for it to leave.
        return queue.lock().recv().ok();
    }
    loop {
        match queue.try_lock_for(LOOK).map(|queue| queue.recv_timeout(LOOK)) {
            Some(Ok(job)) => return Some(job),
            Some(Err(RecvTimeoutError::Disconnected)) => return None,
            Some(Err(RecvTimeoutError::Timeout)) | None => {}
        }
        if kept.as_ref().is_some_and(|made| made.is_stale(connector)) {
            *kept = None;
            ended();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_url_is_told_and_not_shown() {
        let url = NewestUrl::new("postgres://a:hunter2@h/d");
        let mut changes = url.changes();
        url.replace("postgres://a:hunter2@h/d");
        assert_eq!(url.version(), 0);
        url.replace("postgres://b:hunter3@h/d");
        changes.next().await;
        assert_eq!((&*url.get(), url.version()), ("postgres://b:hunter3@h/d", 1));
        assert!(!format!("{url:?}").contains("hunter"));
    }
}
