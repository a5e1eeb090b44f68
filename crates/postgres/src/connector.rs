//! Opens sessions, and passes news between the processes that have the database open.

use crate::address::{Address, Addresses};
use crate::connection::{Session, settle};
use crate::failure::{broken, not_connected};
use crate::schema::SCHEMA;
use crate::wire::{Broken, Messages, Wire, drive};
use banyan_core::{Error, Result};
use banyan_store::server::{Connection, Connector, NewestUrl, News, Told};
use banyan_store::{Dialect, StoreOptions};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client};

/// What the server's own limit on a statement may be late by, and the network add.
const ANSWER_GRACE: Duration = Duration::from_secs(3);
/// The least time between two notifications of one process.
const NOTIFY_EVERY: Duration = Duration::from_millis(20);
/// How often a connection on which nothing moves is checked.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// The channel that news travel on; PostgreSQL keeps the channels of databases apart.
const CHANNEL: &str = "banyan_outbox";

/// One database on a PostgreSQL server.
pub(crate) struct Postgres {
    addresses: Addresses,
    connect_max: Duration,
    transaction_max: Duration,
    statements_max: usize,
    /// Tells this process's news from others'.
    instance: String,
}

impl Postgres {
    pub(crate) fn new(address: Address, options: &StoreOptions) -> Self {
        Self {
            addresses: Addresses::new(address, options),
            connect_max: Duration::from_millis(options.connect_ms_max),
            transaction_max: Duration::from_millis(options.transaction_ms_max),
            statements_max: options.statements_max,
            instance: options.env.new_id(),
        }
    }

    fn wire(&self) -> Result<Wire> {
        let Address { config, tls, location, .. } = self.addresses.newest()?;
        let wire = Wire::connect(&config, tls.as_ref(), self.connect_max).map_err(Error::internal)?;
        wire.map_err(|cause| not_connected(&location, cause))
    }

    fn session(&self) -> Result<Session> {
        let mut session =
            Session::new(self.wire()?, self.statements_max, self.transaction_max + ANSWER_GRACE);
        // Predicate locks on index pages conflict less than those on whole tables, which a sequential scan takes; without
        // sequential scans, plans look so costly that they would be compiled.
        session.control(&format!(
            "SET statement_timeout = {}; SET enable_seqscan = off; SET jit = off; SET tcp_keepalives_idle = 10; \
             SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3",
            self.transaction_max.as_millis().clamp(1, i32::MAX as u128)
        ))?;
        Ok(session)
    }

    /// Tells and hears until the store is closed.
    async fn share(&self, client: &Client, messages: &mut Messages, news: &mut News) -> Result<()> {
        let outbox = news.outbox();
        let mut others = |message: AsyncMessage| {
            if let AsyncMessage::Notification(notification) = message
                && notification.payload() != self.instance
            {
                outbox.announce();
            }
        };
        let limit = self.transaction_max + ANSWER_GRACE;
        loop {
            // While anything is waited for, what others say is heard.
            let waited = drive(messages, &mut others, timeout(CHECK_EVERY, news.next())).await;
            let sql = match waited.map_err(|e| broken("waiting for news", e))? {
                Ok(Told::Closed | Told::Renewed) => return Ok(()),
                Ok(Told::Added) => format!("NOTIFY {CHANNEL}, '{}'", self.instance),
                Err(_) => "SELECT 1".to_owned(),
            };
            let work = drive(messages, &mut others, client.batch_execute(&sql));
            let done = timeout(limit, work).await.map_err(|_| Broken::Silent(limit)).and_then(|done| done);
            settle(&sql, done)?;
            let pause = drive(messages, &mut others, tokio::time::sleep(NOTIFY_EVERY)).await;
            pause.map_err(|e| broken("waiting for news", e))?;
        }
    }
}

impl Connector for Postgres {
    fn connect(&self) -> Result<Box<dyn Connection>> {
        Ok(Box::new(self.session()?))
    }

    fn schema(&self) -> &'static str {
        SCHEMA
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn location(&self) -> String {
        self.addresses.location()
    }

    fn url(&self) -> Option<&NewestUrl> {
        self.addresses.url()
    }

    fn share_news(&self, news: &mut News) -> Result<()> {
        let mut wire = self.wire()?;
        // A lost notification is made good by looking: no fsync.
        let begin = format!("SET synchronous_commit = off; LISTEN {CHANNEL}");
        let limit = Some(self.connect_max);
        settle(&begin, wire.run(limit, async |client| client.batch_execute(&begin).await))?;
        // What was added between the last look and now.
        news.outbox().announce();
        wire.run_with(async |client, messages| self.share(client, messages, news).await)
    }
}
