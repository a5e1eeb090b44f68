//! A process with real services: what a service declares runs, and stops without losing anything.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod caches;
mod ending;
mod events;
mod routers;

use banyan::prelude::*;
use banyan_testkit::{TestSystem, eventually, until};
use events::{Asked, Noted};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const MIGRATIONS: &[Migration] =
    &[Migration::new(1, "notes", Statement::new("CREATE TABLE notes (id TEXT PRIMARY KEY)"))];

struct Keeper {
    store: Store,
    calls: Arc<AtomicUsize>,
}

impl Subscriber<Noted> for Keeper {
    async fn on_event(&self, cx: &Context, event: Noted) -> Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.store
            .once(cx, "Noted", &event.clone(), move |tx| {
                tx.execute("INSERT INTO notes (id) VALUES ($1)", params![event.0.as_str()]).map(drop)
            })
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_event_has_its_effect_once_also_over_a_restart_of_the_service() {
    let calls = Arc::new(AtomicUsize::new(0));
    let stores = Arc::new(Mutex::new(Vec::new()));
    let (made, counted) = (stores.clone(), calls.clone());
    let keeper = ServiceDef::new("keeper", [], move |host: Host| {
        let (made, calls) = (made.clone(), counted.clone());
        async move {
            let store = host.store(MIGRATIONS, &[]).await?;
            made.lock().unwrap().push(store.clone());
            host.subscribe::<Noted, _>(Arc::new(Keeper { store, calls }));
            Ok(())
        }
    });
    let system = TestSystem::of([keeper]).start().await.unwrap();
    system.publish_twice("test", &Noted("a".into())).await;
    until("both deliveries", async || calls.load(Ordering::SeqCst) >= 2).await;
    system.stop("keeper").await;
    system.publish_twice("test", &Noted("b".into())).await;
    system.start("keeper").await;
    until("what came while it was stopped", async || calls.load(Ordering::SeqCst) >= 4).await;
    // Stopping waits for deliveries in flight, so that all effects are there now.
    let store = stores.lock().unwrap().last().unwrap().clone();
    let cx = Context::background();
    let notes = async |store: Store| {
        store.read(&cx, |q| q.query("SELECT id FROM notes ORDER BY id", &[], |r| r.get::<String>("id"))).await
    };
    let both = async || Some(notes(store.clone()).await.unwrap()).filter(|notes| notes.len() >= 2);
    assert_eq!(eventually("both notes", both).await, ["a", "b"]);
    system.assert_redelivery_changes_nothing().await;
}

struct Worker(Arc<Mutex<Vec<String>>>);

impl Subscriber<Noted> for Worker {
    async fn on_event(&self, _: &Context, event: Noted) -> Result<()> {
        self.0.lock().unwrap().push(event.0);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_queue_hands_out_every_job() {
    let done = Arc::new(Mutex::new(Vec::new()));
    let list = done.clone();
    let service = ServiceDef::new("workshop", [], move |host: Host| {
        let list = list.clone();
        async move {
            host.work_queue::<Noted, _>("jobs", Arc::new(Worker(list)));
            Ok(())
        }
    });
    let system = TestSystem::of([service]).start().await.unwrap();
    let jobs = (0..50).map(|i| system.envelope("test", &Noted(format!("{i:02}")))).collect();
    system.publish_all(jobs).await;
    until("all jobs", async || done.lock().unwrap().len() == 50).await;
    let mut done = done.lock().unwrap().clone();
    done.sort();
    done.dedup();
    assert_eq!(done.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_messaging_is_answered_or_its_deadline_passes() {
    let answering = ServiceDef::new("oracle", [], |host: Host| async move {
        host.reply::<Asked, Noted, _, _>(|_, asked| async move {
            match asked.0.as_str() {
                "never" => std::future::pending().await,
                "no" => Err(Error::not_found("answer", "no")),
                question => Ok(Noted(format!("{question}!"))),
            }
        });
        Ok(())
    });
    let requester = Arc::new(Mutex::new(None));
    let slot = requester.clone();
    let asking = ServiceDef::new("asker", [], move |host: Host| {
        let slot = slot.clone();
        async move {
            *slot.lock().unwrap() = Some(host.requester().await?);
            Ok(())
        }
    });
    let system = TestSystem::of([answering, asking]).start().await.unwrap();
    let requester = requester.lock().unwrap().clone().unwrap();
    let cx = Context::background().with_timeout(Duration::from_secs(60));
    let answer: Noted = requester.request(&cx, &Asked("why".into())).await.unwrap();
    assert_eq!(answer, Noted("why!".into()));
    let refused = requester.request::<_, Noted>(&cx, &Asked("no".into())).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let short = Context::background().with_timeout(Duration::from_millis(200));
    let late = requester.request::<_, Noted>(&short, &Asked("never".into())).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    drop(system);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_reaches_no_store_but_its_own() {
    let one = ServiceDef::new("one", [], |host: Host| async move {
        let store = host.store(MIGRATIONS, &[]).await?;
        let cx = host.context();
        let attach =
            store.transact(&cx, |tx| tx.execute("ATTACH DATABASE 'stores/two.db' AS other", &[])).await;
        assert!(attach.is_err(), "a statement reached another file");
        let again = host.store(MIGRATIONS, &[]).await;
        assert!(again.is_err(), "a second store was opened");
        Ok(())
    });
    let system = TestSystem::of([one]).start().await.unwrap();
    assert_eq!(system.process().running().await, ["one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_start_leaves_nothing_behind() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let service = ServiceDef::new("shy", [], move |host: Host| {
        let tries = counted.clone();
        async move {
            host.store(MIGRATIONS, &[]).await?;
            match tries.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Error::invalid("services.shy.mood", "must be better")),
                _ => Ok(()),
            }
        }
    });
    let system = TestSystem::of([service]).prepare().await.unwrap();
    let error = system.process().start("shy").await.unwrap_err();
    assert_eq!(error.violations()[0].field, "services.shy.mood");
    system.process().start("shy").await.expect("its store was closed again");
    let unknown = system.process().start("nobody").await.unwrap_err();
    assert!(unknown.message().contains("shy"), "{unknown}");
}
