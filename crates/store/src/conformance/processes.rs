//! Conformance with a second process, which is killed.

use super::{Database, Fixture, insert, soon};
use banyan_engines::{Parent, Peer};
use std::sync::Arc;
use std::time::Duration;

/// Makes a test of every conformance function with a second process; `$make` as for [`crate::store_conformance!`], `$at` is
/// an `async fn(String) -> Arc<dyn Database>` that finds the database at [`Database::address`] in the other process.
#[macro_export]
macro_rules! store_process_conformance {
    ($make:path, $at:path) => {
        $crate::store_process_conformance! { $make, $at:
            a_killed_process_leaves_neither_half_a_transaction_nor_the_lead
        }
    };
    ($make:path, $at:path: $($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                use $crate::conformance;
                if let Some(parent) = conformance::Parent::of_this_process() {
                    return conformance::be_the_other_process($at(parent.argument().to_owned()).await, parent).await;
                }
                let test = concat!(module_path!(), "::", stringify!($name));
                let work = |database| conformance::$name(database, test);
                conformance::run(stringify!($name), "", $make().await, work).await;
            }
        )*
    };
}

/// Commits of the other process before it is killed.
const COMMITS: usize = 5;

/// A process that leads is killed (SIGKILL) inside a transaction: what it has committed is there, what it has not is not
/// and locks nothing, and another process leads.
pub async fn a_killed_process_leaves_neither_half_a_transaction_nor_the_lead(
    database: Arc<dyn Database>,
    test: &'static str,
) {
    let address = database.address();
    let fixture = Fixture::with(database, |o| o.shared = true).await;
    let mut peer = Peer::start(test, &address).await.expect("this test starts in another process");
    let mut ids = Vec::new();
    loop {
        let said = soon("the other process works", peer.hear()).await.expect("it lives until it is killed");
        if said == "half" {
            break;
        }
        ids.push(said);
    }
    assert_eq!(ids.len(), COMMITS);
    assert!(fixture.store.lead().await.expect("it can be asked").is_none(), "the other process leads");
    assert_eq!(fixture.ids().await, ids, "nobody sees half a transaction");
    peer.kill().await.expect("the other process is killed");
    let leads = async {
        while fixture.store.lead().await.expect("it can be asked").is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("another process leads", leads).await;
    soon("the row is free", fixture.insert("half", 1)).await.expect("it commits");
    ids.push("half".to_owned());
    assert_eq!(fixture.ids().await, ids);
}

/// Commits, takes the lead and waits inside a transaction until it is killed.
pub async fn be_the_other_process(database: Arc<dyn Database>, parent: Parent) {
    let mut options = super::StoreOptions::new("conformance", super::Env::default());
    (options.shared, options.transaction_ms_max) = (true, 600_000);
    let cx = super::Context::new(&options.env, super::Identity::user("u-1", &[]));
    let store = database.open(options).await.expect("the store opens in another process");
    let _leader = store.lead().await.expect("it can be asked").expect("nobody leads");
    for number in 0..COMMITS {
        let id = format!("{number}");
        let written = id.clone();
        store.transact(&cx, move |tx| insert(tx, &written, 1)).await.expect("it commits");
        parent.say(&id).expect("the parent lives");
    }
    let parent = Arc::new(parent);
    let half = store.transact(&cx, move |tx| {
        insert(tx, "half", 1)?;
        parent.say("half").expect("the parent lives");
        loop {
            std::thread::park();
        }
    });
    let _: super::Result<()> = half.await;
}
