//! Takes the data of a service from one store to another, on any engine.
//!
//! The target is migrated by the service's own migrations; then every table goes over in pages of the source's key, and with
//! each page, in the same transaction, how far the copy has come: whatever is killed, the same copy run again goes on from
//! there. At the end both stores are read anew and compared by a digest of their values. Only then the target may serve,
//! and the source is marked as moved. Both stores belong to the copy alone for as long as it works; nothing else of
//! the source is changed.
//!
//! - [`Side`]: one of the two stores. Open it with [`store_options`], a target with [`target_options`].
//! - [`survey`] lists what there is to copy, [`look`] says what a copy would find in its target, [`copy`] copies, [`verify`] compares, [`unmark`] lets the service back.

mod canonical;
mod catalog;
mod convert;
mod digest;
mod kind;
mod plan;
mod sequences;
mod sql;
mod state;
mod transfer;
mod verify;

use banyan_core::{BoxFuture, Context, Env, Identity, Reason, Result};
use banyan_store::{Purpose, Store, StoreOptions};
use serde::Serialize;
use std::time::Duration;

pub use plan::survey;
pub use state::{Target, look, unmark};
pub use verify::verify;

/// The two stores do not fit, or the target holds something else.
pub const COPY_REFUSED: Reason = Reason::new("COPY_REFUSED");
/// A value does not fit where it would go.
pub const COPY_VALUE_REFUSED: Reason = Reason::new("COPY_VALUE_REFUSED");
/// What is in the target is not what is in the source.
pub const COPY_DIFFERS: Reason = Reason::new("COPY_DIFFERS");

/// How long a transaction of a copy may take.
const TRANSACTION_MAX: Duration = Duration::from_secs(600);
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// One of the two stores.
#[derive(Clone)]
pub struct Side {
    /// Opened with [`store_options`], or, as a target, [`target_options`].
    pub store: Store,
    /// Where it is, without passwords: an unfinished copy knows its source by that.
    pub place: String,
}

/// How a copy is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows that go over in one transaction, at most.
    pub batch_rows_max: u32,
    /// Throws away what an unfinished copy has brought, and begins anew.
    pub restart: bool,
    /// Tables of the source that the service does not know and that stay behind.
    pub leave_out: Vec<String>,
    /// Marks the source as moved when the target was verified.
    pub mark: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch_rows_max: 1_000, restart: false, leave_out: Vec::new(), mark: true }
    }
}

/// What a copy is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Copying,
    Verifying,
}

/// Is told how far a copy is.
pub trait Observer: Send + Sync {
    /// `done` of `rows` of the table were copied, or read on both sides.
    fn progress(&self, phase: Phase, table: &str, done: u64, rows: u64);
}

/// A table, as a report shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableReport {
    pub table: String,
    pub rows: u64,
    /// The digest of its values, the same on every engine; absent where it was not computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// What a copy did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub tables: Vec<TableReport>,
    /// Rows that this run brought over; fewer than there are if it went on with an earlier one.
    pub copied: u64,
    /// Whether it went on with an earlier copy.
    pub resumed: bool,
    /// Whether the source is marked as moved.
    pub marked: bool,
}

/// Migrates the target as the service would: its migrations, and those of what it uses.
pub type Migrate<'a> = Box<dyn FnOnce(Store) -> BoxFuture<'a, Result<()>> + Send + 'a>;

/// Returns the settings of a store that is copied from or to.
pub fn store_options(service: &str, env: &Env) -> StoreOptions {
    StoreOptions {
        purpose: Purpose::Copy,
        writers: 1,
        readers: 1,
        transaction_ms_max: TRANSACTION_MAX.as_millis() as u64,
        connect_ms_max: CONNECT_MAX.as_millis() as u64,
        ..StoreOptions::new(service, env.clone())
    }
}

/// Returns the settings of a store that is only looked at: nothing is made in it.
pub fn looking_options(service: &str, env: &Env) -> StoreOptions {
    StoreOptions { as_it_is: true, ..store_options(service, env) }
}

/// Returns the settings of a store that the data at `from`, without passwords, are copied to: its service does not start on it
/// from the moment on at which it has any table.
pub fn target_options(service: &str, env: &Env, from: &str) -> StoreOptions {
    StoreOptions { copied_from: Some(from.to_owned()), ..store_options(service, env) }
}

/// Copies everything from `source` to `target` and verifies it. Goes on with an unfinished copy of the same source.
///
/// # Errors
/// [`COPY_REFUSED`] if the target holds something else or the tables do not fit; [`COPY_VALUE_REFUSED`] naming table, column
/// and key; [`COPY_DIFFERS`] naming tables and keys; what the stores fail with. The source has lost nothing then, and the same
/// copy may be run again.
pub async fn copy(
    env: &Env,
    source: &Side,
    target: &Side,
    migrate: Migrate<'_>,
    options: &Options,
    observer: &dyn Observer,
) -> Result<Report> {
    let cx = Context::new(env, Identity::service(target.store.service()));
    let begun = state::begin(&cx, source, target, migrate, options).await?;
    let mut copied = 0;
    if !begun.finished {
        for table in &begun.plan.tables {
            copied += transfer::table(&cx, source, target, table, options, observer).await?;
        }
        sequences::carry(&cx, source, target, &begun.plan).await?;
    }
    let tables = verify::compare(&cx, source, target, &begun.plan, options, observer).await?;
    if !begun.finished {
        state::finish(&cx, source, target).await?;
    }
    if options.mark {
        state::mark_moved(&cx, source, &target.place).await?;
    }
    Ok(Report { tables, copied, resumed: begun.resumed, marked: options.mark })
}
