//! What every engine of a store must do, as functions that panic when it does not.
//!
//! A provider's test binary calls [`crate::store_conformance!`] with an async function that makes a database of its own for
//! each test, with [`crate::store_process_conformance!`], and with [`crate::store_fault_conformance!`] if faults can be made.
//! Behind each function stands the trait of an engine that it needs; without that it is not run.
//!
//! With `BANYAN_SEMANTICS` set to a folder, each function leaves a line with its outcome there (see [`Outcome`]).

#![expect(clippy::unwrap_used, reason = "a function panics when an engine does not what it must")]

mod faults;
mod lead;
mod limits;
mod once;
mod opening;
mod outbox;
mod processes;
mod results;
mod serializable;
mod transactions;
mod values;

pub use banyan_engines::{Faults, Outcome, Parent};
pub use faults::{
    a_broken_connection_loses_its_transaction_and_no_other, a_lost_answer_is_neither_lost_nor_doubled_effect,
    a_server_that_dies_under_load_loses_and_doubles_nothing,
    a_server_that_is_away_is_an_error_that_may_be_repeated, a_slow_disk_loses_and_doubles_nothing,
    the_lead_is_lost_with_its_connection,
};
pub use lead::one_process_leads;
pub use limits::{
    a_closure_that_dawdles_is_rolled_back, a_deadline_that_passed_in_the_queue_is_noticed,
    a_full_queue_refuses_and_recovers, an_endless_statement_is_stopped_and_rolled_back,
};
pub use once::{
    a_failure_is_not_remembered, a_hundred_concurrent_duplicates_have_one_effect_and_one_answer,
    a_key_counts_per_operation_and_identity, a_key_with_another_request_is_refused,
    old_answers_are_forgotten, without_a_key_every_request_runs,
};
pub use opening::{
    a_changed_migration_is_noticed, a_closed_store_finishes_what_waits_and_refuses_the_rest,
    a_copy_has_the_store_for_itself, a_failing_migration_leaves_nothing,
    a_statement_that_does_not_fit_is_found_before_it_runs, data_on_the_move_are_refused_to_their_service,
    migrations_are_applied_once_and_continued, processes_that_migrate_at_the_same_time_agree,
};
pub use outbox::{
    a_claim_is_exclusive_until_it_ends, a_waiting_relay_is_woken_by_commits_that_published,
    an_event_carries_where_it_comes_from, events_wait_in_the_order_of_their_commits,
    relays_share_the_work_and_keep_the_order_of_each_key, what_was_sent_does_not_come_again,
};
pub use processes::{a_killed_process_leaves_neither_half_a_transaction_nor_the_lead, be_the_other_process};
pub use results::{outcome, run};
pub use serializable::{a_closure_reads_what_it_may_write, updates_are_not_lost, write_skew_does_not_happen};
pub use transactions::{
    a_caller_that_goes_while_its_closure_runs_leaves_nothing,
    a_caller_that_is_gone_before_its_turn_is_not_served, a_commit_notifies_and_a_rollback_does_not,
    a_failed_statement_dooms_its_transaction, a_panic_rolls_back_its_own_transaction_only,
    a_read_cannot_write, a_read_is_one_snapshot, a_service_cannot_control_the_transaction,
    a_transaction_sees_itself_and_a_read_sees_only_commits, each_transaction_has_its_own_fate,
    what_the_schema_refuses_has_a_code_of_its_own,
};
pub use values::{
    a_large_blob_comes_back_as_it_went_in, a_value_that_does_not_fit_is_refused_and_never_cut,
    numbers_out_of_range_are_refused, values_come_back_as_they_went_in,
};

use crate::engine::Traits;
use crate::{Migration, Query, Statement, Store, StoreOptions, Tx, params};
use banyan_core::{BoxFuture, Context, Env, Error, Event, Identity, Payload, Result};
use bytes::Bytes;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long anything that is expected may take, with the slowest engine on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database of its own for one test.
pub trait Database: Send + Sync {
    /// Returns the provider's name, for the published matrix.
    fn provider(&self) -> &'static str;

    /// Returns what stores on this database are like.
    fn traits(&self) -> Traits;

    /// Opens the database as one process does. Several may have it open if their options say `shared`.
    fn open(&self, options: StoreOptions) -> BoxFuture<'_, Result<Store>>;

    /// Returns where another process finds the same database, in the provider's own words; the functions with processes
    /// need it.
    fn address(&self) -> String {
        String::new()
    }

    /// Returns what can be done to the database; the functions with faults need it.
    fn faults(&self) -> Option<&dyn Faults> {
        None
    }
}

/// Makes a test of every conformance function; `$make` is an `async fn() -> Arc<dyn Database>`. Behind each function stands
/// the trait that it needs.
#[macro_export]
macro_rules! store_conformance {
    ($make:path) => {
        $crate::store_conformance! { $make:
            each_transaction_has_its_own_fate []
            a_transaction_sees_itself_and_a_read_sees_only_commits []
            a_read_is_one_snapshot []
            a_read_cannot_write []
            a_caller_that_is_gone_before_its_turn_is_not_served []
            a_caller_that_goes_while_its_closure_runs_leaves_nothing []
            a_panic_rolls_back_its_own_transaction_only []
            what_the_schema_refuses_has_a_code_of_its_own []
            a_failed_statement_dooms_its_transaction []
            a_service_cannot_control_the_transaction []
            a_commit_notifies_and_a_rollback_does_not []
            values_come_back_as_they_went_in []
            numbers_out_of_range_are_refused []
            a_large_blob_comes_back_as_it_went_in []
            a_value_that_does_not_fit_is_refused_and_never_cut []
            updates_are_not_lost []
            write_skew_does_not_happen []
            a_closure_reads_what_it_may_write []
            a_closed_store_finishes_what_waits_and_refuses_the_rest []
            data_on_the_move_are_refused_to_their_service []
            a_copy_has_the_store_for_itself []
            migrations_are_applied_once_and_continued []
            a_changed_migration_is_noticed []
            a_failing_migration_leaves_nothing [transactional_schema]
            processes_that_migrate_at_the_same_time_agree []
            a_statement_that_does_not_fit_is_found_before_it_runs []
            a_hundred_concurrent_duplicates_have_one_effect_and_one_answer []
            a_key_counts_per_operation_and_identity []
            a_key_with_another_request_is_refused []
            without_a_key_every_request_runs []
            a_failure_is_not_remembered []
            old_answers_are_forgotten []
            an_event_carries_where_it_comes_from []
            events_wait_in_the_order_of_their_commits []
            what_was_sent_does_not_come_again []
            a_waiting_relay_is_woken_by_commits_that_published []
            a_claim_is_exclusive_until_it_ends [shares_outbox]
            relays_share_the_work_and_keep_the_order_of_each_key [shares_outbox]
            one_process_leads []
            a_full_queue_refuses_and_recovers []
            a_deadline_that_passed_in_the_queue_is_noticed []
            a_closure_that_dawdles_is_rolled_back []
            an_endless_statement_is_stopped_and_rolled_back []
        }
    };
    ($make:path: $($name:ident [$($needed:ident)?])*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let needed = concat!($(stringify!($needed))?);
                $crate::conformance::run(stringify!($name), needed, $make().await, $crate::conformance::$name).await;
            }
        )*
    };
}

/// As [`crate::store_conformance!`], for databases that have [`Faults`].
#[macro_export]
macro_rules! store_fault_conformance {
    ($make:path) => {
        $crate::store_conformance! { $make:
            a_broken_connection_loses_its_transaction_and_no_other []
            a_lost_answer_is_neither_lost_nor_doubled_effect []
            a_server_that_is_away_is_an_error_that_may_be_repeated []
            a_server_that_dies_under_load_loses_and_doubles_nothing []
            a_slow_disk_loses_and_doubles_nothing []
            the_lead_is_lost_with_its_connection []
        }
    };
}

/// A table that every function may use.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "notes",
    Statement::new(
        "CREATE TABLE notes (id VARCHAR(100) PRIMARY KEY, quantity BIGINT NOT NULL CHECK (quantity >= 0))",
    ),
)];

/// An open store with the table.
struct Fixture {
    database: Arc<dyn Database>,
    store: Store,
    cx: Context,
    options: StoreOptions,
}

impl Fixture {
    async fn new(database: Arc<dyn Database>) -> Self {
        Self::with(database, |_| {}).await
    }

    async fn with(database: Arc<dyn Database>, change: impl FnOnce(&mut StoreOptions)) -> Self {
        let mut options = StoreOptions::new("conformance", Env::default());
        // Unless a function is about it, no limit of a transaction is met on a busy machine.
        options.transaction_ms_max = 20_000;
        change(&mut options);
        let cx = Context::new(&options.env, Identity::user("u-1", &[]));
        let store = database.open(options.clone()).await.expect("a new store opens");
        store.migrate("test", MIGRATIONS).await.expect("a new store takes its schema");
        Self { database, store, cx, options }
    }

    /// Closes the store and opens it again.
    async fn reopen(&mut self) {
        self.store.close().await.expect("the store closes");
        self.store = self.another().await;
    }

    /// Opens the database once more, as another process.
    async fn another(&self) -> Store {
        self.database.open(self.options.clone()).await.expect("the store opens again")
    }

    async fn insert(&self, id: &'static str, quantity: i64) -> Result<()> {
        self.store.transact(&self.cx, move |tx| insert(tx, id, quantity)).await
    }

    async fn notes(&self) -> Vec<(String, i64)> {
        self.store.read(&self.cx, |read| notes(read)).await.expect("notes can be read")
    }

    async fn ids(&self) -> Vec<String> {
        self.notes().await.into_iter().map(|(id, _)| id).collect()
    }

    /// Occupies the store's only writer; the future ends after [`Gate::release`] was used. The store has `writers = 1`.
    async fn hold_writer(&self) -> (impl Future<Output = Result<()>> + use<>, std::sync::mpsc::Sender<()>) {
        let (gate, wait) = Gate::new();
        let (store, cx) = (self.store.clone(), self.cx.clone());
        let mut held = Box::pin(async move {
            let hold = move |_: &mut Tx<'_>| {
                wait();
                Ok(())
            };
            store.transact(&cx, hold).await
        });
        tokio::select! {
            _ = &mut held => panic!("the writer is held"),
            entered = gate.entered => entered.expect("the closure says that it runs"),
        }
        (held, gate.release)
    }
}

fn insert(tx: &mut Tx<'_>, id: &str, quantity: i64) -> Result<()> {
    tx.execute("INSERT INTO notes (id, quantity) VALUES ($1, $2)", params![id, quantity]).map(drop)
}

fn notes(from: &mut impl Query) -> Result<Vec<(String, i64)>> {
    from.query("SELECT id, quantity FROM notes ORDER BY id", params![], |row| {
        Ok((row.get("id")?, row.get("quantity")?))
    })
}

/// A closure that waits inside a transaction until it is let go; if it runs anew, it does not wait again.
struct Gate {
    entered: oneshot::Receiver<()>,
    release: std::sync::mpsc::Sender<()>,
}

impl Gate {
    fn new() -> (Self, impl FnOnce() + Clone + Send + 'static) {
        let (enter, entered) = oneshot::channel();
        let (release, released) = std::sync::mpsc::channel();
        let once = Arc::new(Mutex::new(Some((enter, released))));
        let wait = move || {
            let first = once.lock().take();
            if let Some((enter, released)) = first {
                // If the test is over, nobody waits at either end.
                let _ = enter.send(());
                let _ = released.recv();
            }
        };
        (Self { entered, release }, wait)
    }
}

/// Asserts that `work` waits.
async fn not_yet<T>(work: &mut (impl Future<Output = T> + Unpin)) {
    let waits = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *work).poll(cx).is_pending())).await;
    assert!(waits, "it has to wait");
}

/// Waits for something that must happen.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| panic!("{what}: it did not happen within {PATIENCE:?}"))
}

/// A request, an answer or an event.
#[derive(Clone, Debug, PartialEq)]
struct Text(String);

impl Payload for Text {
    fn to_bytes(&self) -> Bytes {
        self.0.clone().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        String::from_utf8(bytes.to_vec()).map(Text).map_err(|e| Error::data_loss("not a text").with_source(e))
    }
}

impl Event for Text {
    const TYPE: &'static str = "banyan.conformance.v1.Text";
    const TOPIC: &'static str = "notes";

    /// What stands before a slash.
    fn key(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

fn text(text: &str) -> Text {
    Text(text.to_owned())
}
