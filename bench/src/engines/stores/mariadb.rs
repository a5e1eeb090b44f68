//! The bare `mysql` driver with its own pool.

use super::{Bare, ENTRY_BYTES, OUTBOX_TEXTS};
use crate::load::{Done, closed_loop_threads};
use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use mysql::prelude::Queryable as _;
use mysql::{Opts, OptsBuilder, PoolConstraints, PoolOpts, Value};
use std::time::Duration;

const TABLES: [&str; 2] = [
    "CREATE TABLE entries (id BIGINT AUTO_INCREMENT PRIMARY KEY, body BLOB NOT NULL) ENGINE = InnoDB",
    "CREATE TABLE outbox (
        id BIGINT AUTO_INCREMENT PRIMARY KEY, envelope_id TEXT NOT NULL, event_type TEXT NOT NULL,
        source TEXT NOT NULL, topic TEXT NOT NULL, event_key TEXT NOT NULL, correlation_id TEXT NOT NULL,
        traceparent TEXT NOT NULL, reply_to TEXT NOT NULL, time_ms BIGINT NOT NULL, lane INTEGER NOT NULL,
        payload LONGBLOB NOT NULL, INDEX outbox_lane (lane, id)) ENGINE = InnoDB",
];
const INSERT: &str = "INSERT INTO entries (body) VALUES (?)";
const OUTBOX: &str = "INSERT INTO outbox (envelope_id, event_type, source, topic, event_key, correlation_id, \
    traceparent, reply_to, time_ms, lane, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(super) struct Pool(mysql::Pool);

impl Pool {
    pub(super) fn open(url: &str, connections: usize) -> Result<Self> {
        let constraints = PoolConstraints::new(connections, connections).context("a pool of none")?;
        // A reset would forget the prepared statements and the isolation, and cost a round trip.
        let options = PoolOpts::new().with_constraints(constraints).with_reset_connection(false);
        let options = OptsBuilder::from_opts(Opts::from_url(url)?)
            .pool_opts(options.with_check_health(false))
            .init(vec!["SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"]);
        let pool = mysql::Pool::new(options)?;
        let mut connection = pool.get_conn()?;
        TABLES.iter().try_for_each(|table| connection.query_drop(*table))?;
        Ok(Self(pool))
    }

    fn write(&self, event: bool) -> Result<()> {
        let mut connection = self.0.get_conn()?;
        let body = Value::Bytes(vec![7; ENTRY_BYTES]);
        connection.query_drop("START TRANSACTION READ WRITE")?;
        connection.exec_drop(INSERT, vec![body.clone()])?;
        if event {
            let texts = OUTBOX_TEXTS.into_iter().map(Value::from);
            let values = texts.chain([Value::Int(1), Value::Int(1), body]).collect::<Vec<_>>();
            connection.exec_drop(OUTBOX, values)?;
        }
        Ok(connection.query_drop("COMMIT")?)
    }
}

impl Bare for Pool {
    /// The driver blocks: a thread for each writer, most of which wait for a connection.
    fn turn(&self, writers: usize, event: bool, length: Duration) -> BoxFuture<'_, Result<Done>> {
        Box::pin(async move { closed_loop_threads(writers, length, || self.write(event)) })
    }
}
