//! One connection, made anew when it breaks or falls silent.

use crate::options::RedisOptions;
use arc_swap::ArcSwap;
use banyan_core::{Error, Result};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A Redis server as [`banyan_cache::CacheStore`] and [`banyan_cache::RateLimitStore`]. Cheap to clone; every clone shares
/// the connection.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    options: RedisOptions,
    server: String,
    client: Client,
    connection: ArcSwap<ConnectionManager>,
    in_flight: Semaphore,
    pub(crate) scripts: Scripts,
}

/// What runs on the server.
pub(crate) struct Scripts {
    pub(crate) set: Script,
    pub(crate) fill: Script,
    pub(crate) release: Script,
    pub(crate) limit: Script,
}

impl RedisStore {
    /// Makes a store that connects with its first call: a server that is down does not keep a service from starting.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the setting.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(options: RedisOptions) -> Result<Self> {
        let client = options.check().and_then(|info| Client::open(info).map_err(Error::internal))?;
        let connection = ArcSwap::from_pointee(manager(&client, &options)?);
        Ok(Self(Arc::new(Inner {
            server: options.server(),
            in_flight: Semaphore::new(options.in_flight_max.min(Semaphore::MAX_PERMITS)),
            connection,
            client,
            options,
            scripts: Scripts {
                set: Script::new(crate::cache::SET),
                fill: Script::new(crate::cache::FILL),
                release: Script::new(crate::cache::RELEASE),
                limit: Script::new(crate::limits::TAKE),
            },
        })))
    }

    /// Asks the server whether it is there.
    ///
    /// # Errors
    /// [`banyan_core::Code::Unavailable`] with what the server or the way to it lacks.
    pub async fn ping(&self) -> Result<()> {
        self.call(async |mut connection| redis::cmd("PING").query_async(&mut connection).await).await
    }

    /// Returns the key of `key` with what `kind` tells.
    pub(crate) fn key(&self, key: &str, kind: &str) -> String {
        format!("{}:{{{key}}}{kind}", self.0.options.prefix)
    }

    pub(crate) fn scripts(&self) -> &Scripts {
        &self.0.scripts
    }

    /// Makes one call, in bounded time.
    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        call: impl AsyncFnOnce(ConnectionManager) -> RedisResult<T>,
    ) -> Result<T> {
        let inner = &*self.0;
        let Ok(_in_flight) = inner.in_flight.try_acquire() else {
            let most = inner.options.in_flight_max;
            return Err(Error::overloaded(format!(
                "{most} calls are on their way to Redis at {}",
                inner.server
            )));
        };
        let connection = inner.connection.load_full();
        match timeout(inner.options.timeout, call(ConnectionManager::clone(&connection))).await {
            Ok(answer) => answer.map_err(|error| self.failed(error)),
            Err(_) => {
                self.replace(&connection);
                let message =
                    format!("Redis at {} did not answer in {:?}", inner.server, inner.options.timeout);
                Err(Error::unavailable(message))
            }
        }
    }

    /// Gives up a connection that is silent: the other side may be gone without a word, which TCP notices after many
    /// minutes.
    fn replace(&self, silent: &Arc<ConnectionManager>) {
        if Arc::ptr_eq(&self.0.connection.load(), silent)
            && let Ok(new) = manager(&self.0.client, &self.0.options)
        {
            self.0.connection.compare_and_swap(silent, Arc::new(new));
        }
    }

    fn failed(&self, error: RedisError) -> Error {
        let server = &self.0.server;
        let what = match error.kind() {
            ErrorKind::AuthenticationFailed => "refuses our credentials".to_owned(),
            _ if matches!(error.code(), Some("WRONGPASS" | "NOAUTH")) => "refuses our credentials".to_owned(),
            ErrorKind::Server(ServerErrorKind::BusyLoading) => "is still loading its data".to_owned(),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => "is a replica: it takes no writes".to_owned(),
            ErrorKind::Server(_) | ErrorKind::Extension => {
                format!("refused: {}", error.code().unwrap_or("an error without a code"))
            }
            _ => "cannot be reached".to_owned(),
        };
        Error::unavailable(format!("Redis at {server} {what}")).with_source(error)
    }
}

/// Makes a connection that is opened with its first call, and once more with each call after it broke.
fn manager(client: &Client, options: &RedisOptions) -> Result<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        // The next call tries again; callers leave a store that fails alone for a while.
        .set_number_of_retries(0)
        .set_connection_timeout(Some(options.connect_timeout))
        // Ours is around the whole call.
        .set_response_timeout(None)
        .set_pipeline_buffer_size(options.in_flight_max);
    ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(Error::internal)
}
