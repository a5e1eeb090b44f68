//! A copy that is interrupted anywhere goes on from there.

use crate::zoo::{Database, On, Quiet, fill, items, migrate, options, run, run_seen};
use banyan_copy::{COPY_REFUSED, Migrate, Observer, Phase, copy, verify};
use banyan_core::Env;
use banyan_engines::{Engine, Kind, Options};
use banyan_store::STORE_INCOMPLETE;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Says how many steps a copy has made.
struct Steps(watch::Sender<u64>);

impl Observer for Steps {
    fn progress(&self, _: Phase, _: &str, _: u64, _: u64) {
        self.0.send_modify(|steps| *steps += 1);
    }
}

#[tokio::test]
async fn a_copy_that_stops_anywhere_goes_on_from_there() {
    let (source, target) = (Database::new(On::Sqlite).await, Database::new(On::Postgres).await);
    fill(&source, 7, 300).await;
    let mut stops = 0;
    for after in (3..).step_by(4) {
        let (from, to) =
            (source.side().await.expect("it opens"), target.target_of(&source).await.expect("it opens"));
        let steps = Steps(watch::Sender::new(0));
        let mut made = steps.0.subscribe();
        let env = Env::default();
        let (options, work) = (options(), migrate());
        let outcome = tokio::select! {
            biased;
            _ = made.wait_for(|made| *made >= after) => None,
            outcome = copy(&env, &from, &to, work, &options, &steps) => Some(outcome),
        };
        from.store.close().await.expect("it closes");
        to.store.close().await.expect("it closes");
        match outcome {
            Some(report) => {
                let report = report.expect("it is copied");
                assert!(report.resumed && stops > 3, "{stops} stops");
                break;
            }
            None => stops += 1,
        }
        if after == 3 {
            let refused = target.serve().await.map(drop).unwrap_err();
            assert!(refused.is(STORE_INCOMPLETE) && refused.message().contains(&source.name()), "{refused}");
        }
    }
    let again = run(&source, &target, &options()).await.expect("it was done; it is compared again");
    assert!(again.resumed && again.copied == 0);
    assert_eq!(items(&target.serve().await.expect("it serves")).await.len(), 300);
}

/// How far a copy comes before its first row.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Opened,
    BeforeMigrations,
    BehindMigrations,
}

/// Copies until `stop`, and ends there.
async fn stopped_at(stop: Stop, source: &Database, target: &Database) {
    let (from, to) =
        (source.side().await.expect("it opens"), target.target_of(source).await.expect("it opens"));
    let reached = watch::Sender::new(false);
    let mut seen = reached.subscribe();
    let work: Migrate<'_> = Box::new(|store| {
        Box::pin(async move {
            if matches!(stop, Stop::BehindMigrations) {
                migrate()(store).await?;
            }
            reached.send_replace(true);
            std::future::pending().await
        })
    });
    if !matches!(stop, Stop::Opened) {
        let (env, options) = (Env::default(), options());
        tokio::select! {
            _ = seen.wait_for(|reached| *reached) => {}
            outcome = copy(&env, &from, &to, work, &options, &Quiet) => panic!("{stop:?}: {outcome:?}"),
        }
    }
    from.store.close().await.expect("it closes");
    to.store.close().await.expect("it closes");
}

#[tokio::test]
async fn a_service_does_not_start_on_a_copy_that_stopped_before_its_first_row() {
    for on in [On::Sqlite, On::Postgres, On::MariaDb] {
        let (source, target) = (Database::new(On::Sqlite).await, Database::new(on).await);
        fill(&source, 12, 20).await;
        for stop in [Stop::Opened, Stop::BeforeMigrations, Stop::BehindMigrations] {
            stopped_at(stop, &source, &target).await;
            let refused = target.serve().await.map(drop).unwrap_err();
            assert!(refused.is(STORE_INCOMPLETE), "{on:?} {stop:?}: {refused}");
            assert!(refused.message().contains(&source.name()), "{refused}");
            let (from, to) = (source.side().await.expect("it opens"), target.side().await.expect("it opens"));
            let refused = verify(&Env::default(), &from, &to, &options(), &Quiet).await.unwrap_err();
            assert!(
                refused.is(COPY_REFUSED) && refused.message().contains("run that copy again"),
                "{refused}"
            );
            from.store.close().await.expect("it closes");
            to.store.close().await.expect("it closes");
        }
        run(&source, &target, &options()).await.expect("the copy goes on");
        assert_eq!(items(&target.serve().await.expect("it serves")).await.len(), 20, "{on:?}");
    }
}

/// Kills the target's server once, in the middle of the copy.
struct Killer {
    at: u64,
    steps: AtomicU64,
    now: watch::Sender<bool>,
}

impl Observer for Killer {
    fn progress(&self, _: Phase, _: &str, _: u64, _: u64) {
        if self.steps.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.now.send_replace(true);
        }
    }
}

async fn survives(kind: Kind, at: u64) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let engine = Engine::start(kind, Options::in_folder(folder.path())).await.expect("the engine starts");
    let target = Database::at(engine.create_database("copy").await.expect("a database is made"));
    let source = Database::new(On::Sqlite).await;
    fill(&source, 11, 300).await;
    let killer = Killer { at, steps: AtomicU64::new(0), now: watch::Sender::new(false) };
    let mut now = killer.now.subscribe();
    let restart = async {
        now.wait_for(|now| *now).await.expect("the copy tells");
        engine.kill().await.expect("the server is killed");
        let made = killer.steps.load(Ordering::Relaxed);
        engine.restart().await.expect("it starts again");
        made
    };
    let options = options();
    let (report, made) = tokio::join!(run_seen(&source, &target, &options, &killer), restart);
    let report = report.expect("the copy waits for the server and goes on");
    assert!(made < killer.steps.load(Ordering::Relaxed), "it was under way when the server died");
    assert_eq!(report.tables.iter().find(|t| t.table == "items").map(|t| t.rows), Some(300));
    let again = run_seen(&source, &target, &options, &Quiet).await.expect("it was done");
    assert_eq!((again.copied, again.tables), (0, report.tables));
}

#[tokio::test]
async fn postgres_is_killed_while_rows_go_over() {
    survives(Kind::Postgres, 9).await;
}

#[tokio::test]
async fn mariadb_is_killed_while_rows_go_over() {
    survives(Kind::MariaDb, 9).await;
}

#[tokio::test]
async fn mariadb_is_killed_while_both_are_compared() {
    survives(Kind::MariaDb, 30).await;
}
