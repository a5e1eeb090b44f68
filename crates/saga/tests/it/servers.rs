//! Sagas in stores on database servers: forward, back, parked, signalled, listed, removed.

use crate::support::*;
use banyan_core::{Context, Env, Error, Result};
use banyan_engines::{Engine, Kind};
use banyan_mysql::MySqlStores;
use banyan_postgres::PostgresStores;
use banyan_saga::{Saga, SagaFilter, SagaOptions, State};
use banyan_store::{Store, StoreOptions, StoreProvider};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Sagas that run at the same time.
const COUNT: usize = 24;

async fn open(kind: Kind, provider: &dyn StoreProvider) -> Store {
    let server = Engine::shared(kind).await.expect("the server starts");
    let url = server.create_database("sagas").await.expect("a database is made");
    let options = StoreOptions::new("ledger", Env::default());
    let store = provider.open(&url, options).await.expect("the store opens");
    store.migrate("ledger", NOTES).await.expect("the tables are made");
    store
}

#[tokio::test]
async fn sagas_run_on_mariadb() {
    run_on(open(Kind::MariaDb, &MySqlStores).await).await;
}

#[tokio::test]
async fn sagas_run_on_postgres() {
    run_on(open(Kind::Postgres, &PostgresStores).await).await;
}

/// What the world outside does, and whether it can be undone now.
#[derive(Clone, Default)]
struct Outside {
    world: World,
    mended: Arc<AtomicBool>,
}

async fn flow(outside: Outside, saga: &mut Saga, input: Text) -> Result<()> {
    outside.world.step(saga, "first").await?;
    match input.0.as_str() {
        "fails" => {
            outside.world.step(saga, "second").await?;
            Err(Error::invalid("f", "as asked"))
        }
        "breaks" => {
            let mended = outside.mended.clone();
            let undo = move |_: Context| {
                let mended = mended.load(Ordering::SeqCst);
                async move { if mended { Ok(()) } else { Err(Error::invalid("f", "not now")) } }
            };
            saga.step("stuck").undo(undo).run(|_| async { Ok(()) }).await?;
            Err(Error::invalid("f", "as asked"))
        }
        "waits" => {
            let told: Option<Text> = saga.signal("go", Duration::from_secs(60)).await?;
            let told = told.expect("it comes").0;
            saga.commit("note", move |tx| note(tx, &told)).await
        }
        id => {
            let id = id.to_owned();
            saga.finish("last", move |tx| note(tx, &id)).await
        }
    }
}

async fn run_on(store: Store) {
    let outside = Outside::default();
    let code = outside.clone();
    let options = SagaOptions { retention: Duration::ZERO, ..options() };
    let folder = Arc::new(TempDir::new().unwrap());
    let mut rig = Rig::on(
        store,
        folder,
        options,
        |_, _| Ok(()),
        move |saga, input| Box::pin(flow(code.clone(), saga, input)),
    )
    .await;
    rig.run();
    goes_forward_and_back(&mut rig).await;
    waits_and_is_mended(&mut rig, &outside).await;
    is_listed_and_removed(&rig).await;
    rig.stop().await;
}

async fn goes_forward_and_back(rig: &mut Rig) {
    let ids: Vec<_> = (0..COUNT).map(|n| format!("many-{n:02}")).collect();
    for (n, id) in ids.iter().enumerate() {
        rig.start(id, if n % 4 == 0 { "fails" } else { id }).await;
    }
    let mut ended = BTreeSet::new();
    while ended.len() < COUNT {
        ended.insert(rig.ended().await.0);
    }
    for (n, id) in ids.iter().enumerate() {
        let saga = rig.get(id).await;
        assert_state(&saga, if n % 4 == 0 { State::Compensated } else { State::Completed });
    }
    let back = rig.get("many-00").await;
    let undone = ["undo_started second", "undone second", "undo_started first", "undone first", "ended flow"];
    assert!(kinds(&back).ends_with(&undone.map(str::to_owned)), "{:#?}", kinds(&back));
    let noted: BTreeSet<_> = rig.notes().await.into_iter().collect();
    let expected: BTreeSet<_> =
        ids.iter().enumerate().filter(|(n, _)| n % 4 != 0).map(|(_, id)| id.clone()).collect();
    assert_eq!(noted, expected, "each finished once");
    let again = rig.sagas.clone();
    let taken = rig.store.transact(&rig.cx, move |tx| again.start(tx, "flow", "many-00", &text("x"))).await;
    assert_eq!(taken.unwrap_err().code(), banyan_core::Code::AlreadyExists);
}

async fn waits_and_is_mended(rig: &mut Rig, outside: &Outside) {
    rig.start("waiting", "waits").await;
    rig.until("waiting", "signal_awaited", "go").await;
    let cx = rig.cx.with_idempotency_key("once");
    for _ in 0..2 {
        rig.sagas.signal(&cx, "waiting", "go", &text("told")).await.unwrap();
    }
    assert_state(&rig.end_of("waiting").await, State::Completed);
    assert_eq!(rig.notes().await.last().map(String::as_str), Some("told"));

    rig.start("broken", "breaks").await;
    assert_state(&rig.end_of("broken").await, State::Parked);
    outside.mended.store(true, Ordering::SeqCst);
    rig.sagas.retry(&rig.cx, "broken").await.unwrap();
    assert_state(&rig.end_of("broken").await, State::Compensated);

    rig.start("cancelled", "waits").await;
    rig.until("cancelled", "signal_awaited", "go").await;
    rig.sagas.cancel(&rig.cx, "cancelled", "no more").await.unwrap();
    let cancelled = rig.end_of("cancelled").await;
    assert_state(&cancelled, State::Compensated);
    assert_eq!(cancelled.summary.cancel_reason, "no more");
}

async fn is_listed_and_removed(rig: &Rig) {
    let ids = async |filter: SagaFilter| -> Vec<String> {
        rig.sagas.list(&rig.cx, filter).await.unwrap().into_iter().map(|s| s.id).collect()
    };
    assert_eq!(ids(SagaFilter::new("", 2).unwrap()).await, ["waiting", "many-23"]);
    let page = SagaFilter { before: Some("many-05".into()), ..SagaFilter::new("COMPLETED", 3).unwrap() };
    assert_eq!(ids(page).await, ["many-03", "many-02", "many-01"]);
    let other = SagaFilter { workflow: Some("other".into()), ..SagaFilter::new("", 10).unwrap() };
    assert_eq!(ids(other).await, [""; 0]);
    // What ended in this very millisecond is kept.
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(rig.sagas.prune(&rig.cx).await.unwrap(), COUNT as u64 + 3);
    assert_eq!(ids(SagaFilter::new("", 10).unwrap()).await, [""; 0]);
}
