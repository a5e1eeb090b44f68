//! A card processor of its own: a Stripe-like HTTP/JSON API, test cards, idempotency keys, and a ledger to audit.
//!
//! It stands for the world outside the shop, so it imports nothing of the platform and of the services. What it has
//! answered under an idempotency key it has written down before: a SIGKILL at any moment loses no charge and doubles
//! none.
//!
//! ```no_run
//! # async fn example() -> Result<(), shop_processor::Error> {
//! let processor = shop_processor::run(shop_processor::Options::new("data/processor")).await?;
//! println!("{}", processor.url());
//! processor.stop().await
//! # }
//! ```
//!
//! | test card | what happens |
//! |---|---|
//! | `tok_visa` | approved |
//! | `tok_declined` | 402 `card_declined` |
//! | `tok_slow` | approved after 2 s |
//! | `tok_timeout` | charged at once, but the first answer hangs for 30 s; asked again with the same key, it answers |
//! | `tok_error` | 500 the first time for an idempotency key, then approved |

mod answer;
mod api;
mod card;
mod entry;
mod program;
mod store;
mod writer;

pub use program::{ServeArgs, serve};

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a graceful stop waits for requests under way.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Where the processor listens, what it keeps, and how its difficult test cards behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// Loopback port; 0 takes any free one.
    pub port: u16,
    /// Folder of its SQLite file; made when missing.
    pub data: PathBuf,
    /// How long `tok_slow` takes to be approved.
    pub slow: Duration,
    /// How long the first answer to `tok_timeout` hangs.
    pub hang: Duration,
}

impl Options {
    /// Makes the options of a processor that keeps its file in the folder `data` and listens on any free port.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { port: 0, data: data.into(), slow: Duration::from_secs(2), hang: Duration::from_secs(30) }
    }
}

/// Why the processor cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen { port: u16, source: std::io::Error },
    #[error("cannot make the folder {}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot open or read {}", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error("cannot start the writer thread")]
    Thread(#[source] std::io::Error),
    #[error("cannot serve")]
    Serve(#[source] std::io::Error),
    #[error("cannot read the ledger")]
    Ledger(#[source] rusqlite::Error),
    #[error("cannot listen for signals or print the URL")]
    Program(#[source] std::io::Error),
}

/// A processor that serves. Dropping it stops it without waiting.
pub struct Processor {
    address: SocketAddr,
    store: Arc<store::Store>,
    stop: CancellationToken,
    served: Option<JoinHandle<Result<(), Error>>>,
}

impl Processor {
    /// Returns where it listens, for example `http://127.0.0.1:4242`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what was moved for an order, in pence, the oldest first: a charge is positive, a refund negative.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn moved(&self, order_id: &str) -> Result<Vec<i64>, Error> {
        self.store.moved(order_id.to_owned()).await.map_err(Error::Ledger)
    }

    /// Stops accepting, answers what is under way (at most 5 s), closes the file.
    ///
    /// # Errors
    /// When serving had failed before.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stop.cancel();
        match self.served.take() {
            Some(served) => served.await.unwrap_or_else(|error| Err(Error::Serve(error.into()))),
            None => Ok(()),
        }
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Opens the ledger and serves it on a loopback port; returns as soon as requests are accepted.
///
/// # Errors
/// When the folder, the database or the port cannot be had.
pub async fn run(options: Options) -> Result<Processor, Error> {
    let store = Arc::new(store::Store::open(&options.data)?);
    let port = options.port;
    let listening = |source| Error::Listen { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;

    let stop = CancellationToken::new();
    let requests = TaskTracker::new();
    let behaviour = api::Behaviour { slow: options.slow, hang: options.hang };
    let router = api::router(store.clone(), behaviour, requests.clone(), stop.clone());
    let (stopping, ledger) = (stop.clone(), store.clone());
    // The tracker of the server itself is only a way to spawn; its one task is awaited by `Processor::stop`.
    let served = TaskTracker::new().spawn(async move {
        let drained = async {
            stopping.cancelled().await;
            tokio::time::sleep(DRAIN_MAX).await;
        };
        let serving = axum::serve(listener, router)
            .with_graceful_shutdown(stopping.clone().cancelled_owned())
            .into_future();
        let outcome = tokio::select! {
            outcome = serving => outcome.map_err(Error::Serve),
            () = drained => Ok(()),
        };
        requests.close();
        requests.wait().await;
        store.close().await;
        outcome
    });
    Ok(Processor { address, store: ledger, stop, served: Some(served) })
}
