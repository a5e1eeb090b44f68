//! The checks of the services that run in one process: all at once, as many as there is room for, none for long.

use crate::health::{HealthNode, HealthStatus, ServiceHealth};
use banyan_cache::SharedStores;
use banyan_core::{BoxFuture, Code, Context, Env, Error, Identity, Result, Signals};
use banyan_store::{Query, Store};
use futures::FutureExt;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Checks that one service may declare.
pub(crate) const CHECKS_MAX: usize = 16;
/// How long one check may take.
const CHECK_MAX: Duration = Duration::from_millis(500);
/// Checks of one process at the same time; more wait.
const AT_ONCE_MAX: usize = 32;
/// How long a check may wait for its turn.
const TURN_MAX: Duration = Duration::from_millis(500);
/// From so many events on that are not in the log yet an outbox is degraded.
const OUTBOX_DEGRADED: u64 = 10_000;
/// A key that no cache has.
const CACHE_KEY: &str = "banyan.health";

type Check = dyn Fn(Context) -> BoxFuture<'static, Result<()>> + Send + Sync;

/// A check that a service declared.
#[derive(Clone)]
pub(crate) struct HealthCheck {
    pub(crate) name: &'static str,
    pub(crate) check: Arc<Check>,
}

/// What can be asked of a running service.
#[derive(Clone, Default)]
pub(crate) struct Probes {
    pub(crate) store: Option<Store>,
    /// Where it is, unless it is a file.
    pub(crate) store_place: Option<String>,
    pub(crate) has_cache: bool,
    pub(crate) checks: Vec<HealthCheck>,
    pub(crate) groups: Vec<String>,
    pub(crate) calls: BTreeSet<&'static str>,
}

/// One look at everything that a process can be asked.
struct Round {
    env: Env,
    room: Semaphore,
}

/// Asks all of `services`; `caches` is where caches are kept, if they are, and what that place is called.
pub(crate) async fn ask(
    env: &Env,
    services: Vec<(&'static str, Probes)>,
    caches: Option<(SharedStores, Option<String>)>,
) -> Vec<ServiceHealth> {
    // What is asked again and again is no request: it leaves no trace.
    let env = Env { signals: Signals::default(), ..env.clone() };
    let round = Round { env, room: Semaphore::new(AT_ONCE_MAX) };
    // They share its connections: it is asked once.
    let cache = round.cache(caches.filter(|_| services.iter().any(|(_, probes)| probes.has_cache)));
    let asked = services.iter().map(|(_, probes)| round.service(probes));
    let (cache, found) = tokio::join!(cache, futures::future::join_all(asked));
    let health = |((service, probes), mut checks): ((&str, Probes), Vec<HealthNode>)| {
        checks.extend(cache.clone().filter(|_| probes.has_cache));
        ServiceHealth {
            service: service.to_owned(),
            checks,
            groups: probes.groups,
            calls: probes.calls.into_iter().map(str::to_owned).collect(),
        }
    };
    services.into_iter().zip(found).map(health).collect()
}

impl Round {
    async fn service(&self, probes: &Probes) -> Vec<HealthNode> {
        let mut asked: Vec<BoxFuture<'_, HealthNode>> = Vec::new();
        if let Some(store) = &probes.store {
            let place = probes.store_place.as_deref();
            asked.push(Box::pin(self.check("store", "store", place, |cx| read(store.clone(), cx))));
        }
        for HealthCheck { name, check } in &probes.checks {
            asked.push(Box::pin(self.check(name, "check", None, |cx| check(cx))));
        }
        let mut found = futures::future::join_all(asked).await;
        if let Some(store) = &probes.store {
            found.insert(1, self.outbox(store.outbox().len()));
        }
        found
    }

    fn outbox(&self, waiting: u64) -> HealthNode {
        let status = if waiting < OUTBOX_DEGRADED { HealthStatus::Ok } else { HealthStatus::Degraded };
        let node = HealthNode::new("outbox", "outbox", status, self.env.clock.unix_ms());
        if waiting == 0 {
            node
        } else {
            node.with_message(format!("{waiting} events are not in the log yet"))
        }
    }

    async fn cache(&self, caches: Option<(SharedStores, Option<String>)>) -> Option<HealthNode> {
        let (caches, place) = caches?;
        if !caches.shared {
            let node = HealthNode::new("cache", "cache", HealthStatus::Ok, self.env.clock.unix_ms());
            return Some(node.with_message("in this process's memory"));
        }
        let ask = |_| async move { caches.cache.get(CACHE_KEY).await.map(drop) };
        Some(self.check("cache", "cache", place.as_deref(), ask).await)
    }

    /// Does one check when there is room for it. What is at a `place` is said to be there; an error says it by itself.
    async fn check<Fut: Future<Output = Result<()>>>(
        &self,
        name: &str,
        kind: &str,
        place: Option<&str>,
        ask: impl FnOnce(Context) -> Fut,
    ) -> HealthNode {
        let clock = &self.env.clock;
        let Ok(Ok(_room)) = tokio::time::timeout(TURN_MAX, self.room.acquire()).await else {
            let node = HealthNode::new(name, kind, HealthStatus::Unknown, clock.unix_ms());
            return node.with_message(format!("it was not its turn within {} ms", TURN_MAX.as_millis()));
        };
        let began = clock.now();
        let cx = Context::new(&self.env, Identity::service("health")).with_timeout(CHECK_MAX);
        // In the future, so that a check that panics before its first wait is caught too.
        let asking = AssertUnwindSafe(async { ask(cx).await }).catch_unwind();
        let problem = match tokio::time::timeout(CHECK_MAX, asking).await {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(error))) if error.code() != Code::DeadlineExceeded => Some(told(&error)),
            Ok(Err(_)) => Some("the check panicked".to_owned()),
            // Whoever noticed first.
            _ => Some(match place {
                Some(place) => format!("no answer within {} ms: {place}", CHECK_MAX.as_millis()),
                None => format!("no answer within {} ms", CHECK_MAX.as_millis()),
            }),
        };
        let status = if problem.is_none() { HealthStatus::Ok } else { HealthStatus::Failed };
        let node = HealthNode::new(name, kind, status, clock.unix_ms()).with_latency(began.elapsed());
        node.with_message(problem.or(place.map(str::to_owned)).unwrap_or_default())
    }
}

/// Says why a check failed; what it is caused by stays in the logs.
fn told(error: &Error) -> String {
    format!("{}: {}", error.reason(), error.message())
}

/// Reads next to nothing.
async fn read(store: Store, cx: Context) -> Result<()> {
    store
        .read(&cx, |query| query.query_one("SELECT 1 AS one", &[], |row| row.get::<i64>("one")))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn declared(
        name: &'static str,
        check: impl Fn() -> BoxFuture<'static, Result<()>> + Send + Sync + 'static,
    ) -> HealthCheck {
        HealthCheck { name, check: Arc::new(move |_| check()) }
    }

    #[tokio::test(start_paused = true)]
    async fn every_check_has_its_end_and_its_room() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let slow = {
            let (running, most) = (running.clone(), most.clone());
            move || -> BoxFuture<'static, Result<()>> {
                let (running, most) = (running.clone(), most.clone());
                Box::pin(async move {
                    most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    running.fetch_sub(1, Ordering::Relaxed);
                    Ok(())
                })
            }
        };
        let checks = vec![
            declared("slow", slow),
            declared("hangs", || Box::pin(std::future::pending())),
            declared("refuses", || Box::pin(async { Err(Error::unavailable("it is closed")) })),
            declared("panics", || panic!("oh")),
        ];
        let probes = Probes { checks, ..Probes::default() };
        let services: Vec<_> = (0..40).map(|_| ("many", probes.clone())).collect();
        let env = Env::default();
        let began = env.clock.now();
        let found = ask(&env, services, None).await;
        assert!(began.elapsed() <= TURN_MAX + CHECK_MAX, "{:?}", began.elapsed());
        assert!(most.load(Ordering::Relaxed) <= AT_ONCE_MAX);
        let statuses: Vec<_> = found[0].checks.iter().map(|node| node.status).collect();
        let expected = [HealthStatus::Ok, HealthStatus::Failed, HealthStatus::Failed, HealthStatus::Failed];
        assert_eq!(statuses, expected);
        let messages: Vec<_> = found[0].checks.iter().filter_map(|node| node.message.as_deref()).collect();
        assert_eq!(messages, ["no answer within 500 ms", "UNAVAILABLE: it is closed", "the check panicked"]);
    }
}
