//! Who has the database open: every store holds one of a number of places, and a copy holds all of them, so that no service
//! works on data that are on the move. A place is a lock of the server that ends with its connection.

use super::newest::{Made, version};
use super::worker::{pause, spawn};
use super::{Connection, Connector};
use crate::sqlite::STORE_IN_USE;
use crate::{Purpose, StoreOptions};
use banyan_core::{Error, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::watch;

/// Processes of one service that may have the same database open.
const PLACES: u64 = 32;
/// A server notices a moment later that the process has gone that held a place.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 15;
/// How often the connection that holds the place is looked at.
const CHECK: Duration = Duration::from_secs(1);

/// Holds the place until it is given up or dropped.
pub(super) struct Presence {
    held: Mutex<Option<Sender<()>>>,
    threads: watch::Receiver<usize>,
}

impl Presence {
    /// Gives the place up; returns when others may have it.
    pub(super) async fn give_up(&self) {
        drop(self.held.lock().take());
        // An error means that nobody is left to say so.
        drop(self.threads.clone().wait_for(|threads| *threads == 0).await);
    }
}

/// Whether another store has taken the place that was lost with its connection.
#[derive(Clone, Default)]
pub(super) struct Displaced(Arc<AtomicBool>);

impl Displaced {
    /// Refuses work while somebody else copies the data.
    ///
    /// # Errors
    /// [`STORE_IN_USE`].
    pub(super) fn check(&self, connector: &dyn Connector) -> Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(in_use(connector, Purpose::Service)),
            false => Ok(()),
        }
    }
}

/// Takes a place, or all of them for a copy. Waits a little for who has just let go. Blocks.
///
/// # Errors
/// [`STORE_IN_USE`] if none is free, or a copy cannot have all; as [`Connector::connect`].
pub(super) fn enter(connector: &dyn Connector, options: &StoreOptions) -> Result<Box<dyn Connection>> {
    let mut looks = 0;
    loop {
        match take(connector, options) {
            Err(error) if error.is(STORE_IN_USE) && looks < LOOKS_MAX => {
                looks += 1;
                pause(LOOK_AGAIN);
            }
            outcome => return outcome,
        }
    }
}

fn take(connector: &dyn Connector, options: &StoreOptions) -> Result<Box<dyn Connection>> {
    let mut connection = connector.connect()?;
    let first = options.env.rng.below(PLACES);
    let mut taken = 0;
    for number in 0..PLACES {
        let place = (first + number) % PLACES;
        taken += u64::from(connection.try_lock(&format!("banyan_open_{}_{place}", options.service))?);
        match options.purpose {
            Purpose::Service if taken > 0 => return Ok(connection),
            Purpose::Copy if taken <= number => break,
            _ => {}
        }
    }
    match taken {
        PLACES => Ok(connection),
        _ => Err(in_use(connector, options.purpose)),
    }
}

fn in_use(connector: &dyn Connector, purpose: Purpose) -> Error {
    let location = connector.location();
    let message = match purpose {
        Purpose::Service => format!(
            "the store {location} is in use: its data are being copied, or {PLACES} processes have it open already"
        ),
        Purpose::Copy => format!("the store {location} is in use: a process of its service has it open"),
    };
    Error::failed_precondition(STORE_IN_USE, message)
}

/// Keeps the place that `connection` holds.
pub(super) fn keep(
    connection: Made,
    connector: Arc<dyn Connector>,
    options: StoreOptions,
) -> Result<(Presence, Displaced)> {
    let (held, given_up) = channel();
    let (alive, threads) = watch::channel(0);
    let displaced = Displaced::default();
    let told = displaced.clone();
    let name = format!("{}-place", options.service);
    let watch = move || watch_over(connection, &*connector, &options, &given_up, &told);
    spawn(&Arc::new(alive), name, watch)?;
    Ok((Presence { held: Mutex::new(Some(held)), threads }, displaced))
}

/// Keeps the place until it is given up; takes another one when its connection broke.
fn watch_over(
    connection: Made,
    connector: &dyn Connector,
    options: &StoreOptions,
    given_up: &Receiver<()>,
    displaced: &Displaced,
) {
    let mut connection = Some(connection);
    while let Err(RecvTimeoutError::Timeout) = given_up.recv_timeout(CHECK) {
        let works = |made: &mut Made| made.execute("SELECT 1", &[]).is_ok();
        let stale = connection.as_ref().is_some_and(|made| made.is_stale(connector));
        if !stale && connection.as_mut().is_some_and(works) {
            continue;
        }
        if !stale || options.purpose == Purpose::Copy {
            connection = None;
        }
        // A service takes another place before it leaves the one whose credentials end.
        let version = version(connector);
        match enter(connector, options) {
            Ok(entered) => {
                connection = Some(Made::of(entered, version));
                displaced.0.store(false, Ordering::Relaxed);
            }
            Err(error) if error.is(STORE_IN_USE) => {
                tracing::error!(service = options.service, "{}", error.message());
                displaced.0.store(true, Ordering::Relaxed);
            }
            // A server that is away serves nobody else either.
            Err(error) => tracing::debug!(service = options.service, ?error, "the place in the store waits"),
        }
    }
}
