//! The end of a process full of work.

use crate::events::{Asked, Noted};
use banyan::prelude::*;
use banyan::rpc::{Channel, Idempotency, Kind, MethodInfo, Service};
use banyan_testkit::{TestSystem, until};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// How long one piece of work takes.
const WORK: Duration = Duration::from_millis(30);
/// How long the end of a loaded process may take on a busy machine: less than any deadline or drain limit.
const END_MAX: Duration = Duration::from_secs(8);

/// Calls `LEAF` of the other service.
static WORK_PING: MethodInfo = method("test.Ping", "Work", "/test.Ping/Work");
static LEAF_PING: MethodInfo = method("test.Ping", "Leaf", "/test.Ping/Leaf");
static WORK_PONG: MethodInfo = method("test.Pong", "Work", "/test.Pong/Work");
static LEAF_PONG: MethodInfo = method("test.Pong", "Leaf", "/test.Pong/Leaf");

const fn method(service: &'static str, name: &'static str, path: &'static str) -> MethodInfo {
    MethodInfo { service, name, path, kind: Kind::Unary, idempotency: Idempotency::Unknown }
}

/// A client of the tests' two services.
#[derive(Clone)]
struct Other(Channel, &'static MethodInfo);

impl Other {
    async fn call(&self, cx: &Context) -> Result<()> {
        self.0.unary(cx, self.1, ()).await
    }
}

#[derive(Clone)]
struct Ping(Channel);

impl Client for Ping {
    const SERVICE: &'static str = "test.Ping";

    fn new(channel: Channel) -> Self {
        Self(channel)
    }
}

#[derive(Clone)]
struct Pong(Channel);

impl Client for Pong {
    const SERVICE: &'static str = "test.Pong";

    fn new(channel: Channel) -> Self {
        Self(channel)
    }
}

/// Has each event cause a call to the other service, which calls back.
struct Busy {
    other: Other,
    begun: Arc<AtomicUsize>,
}

impl<E: Event> Subscriber<E> for Busy {
    async fn on_event(&self, cx: &Context, _: E) -> Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.other.call(cx).await
    }
}

fn handlers(work: &'static MethodInfo, leaf: &'static MethodInfo, other: Other) -> Service {
    Service::builder(work.service, &[])
        .unary(work, move |cx: Context, (): ()| {
            let other = other.clone();
            async move {
                tokio::time::sleep(WORK).await;
                other.call(&cx).await
            }
        })
        .unary(leaf, |_, (): ()| async {
            tokio::time::sleep(WORK).await;
            Ok(())
        })
        .build()
}

fn services(begun: &Arc<AtomicUsize>) -> [ServiceDef; 2] {
    let (noted, asked) = (begun.clone(), begun.clone());
    let ping = ServiceDef::new("ping", ["test.Ping"], move |host: Host| {
        let begun = noted.clone();
        async move {
            let pong = host.client::<Pong>().0;
            host.serve(handlers(&WORK_PING, &LEAF_PING, Other(pong.clone(), &LEAF_PONG)));
            host.subscribe::<Noted, _>(Arc::new(Busy { other: Other(pong, &WORK_PONG), begun }));
            Ok(())
        }
    });
    let pong = ServiceDef::new("pong", ["test.Pong"], move |host: Host| {
        let begun = asked.clone();
        async move {
            let ping = host.client::<Ping>().0;
            host.serve(handlers(&WORK_PONG, &LEAF_PONG, Other(ping.clone(), &LEAF_PING)));
            host.subscribe::<Asked, _>(Arc::new(Busy { other: Other(ping, &WORK_PING), begun }));
            Ok(())
        }
    });
    [ping, pong]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_full_of_work_ends_soon() {
    let begun = Arc::new(AtomicUsize::new(0));
    let system = TestSystem::of(services(&begun)).start().await.unwrap();
    let cx = Context::background();
    let envelope = |number: usize| {
        let name = format!("{number}");
        [
            banyan::core::Envelope::new(&cx, "test", &Noted(name.clone())),
            banyan::core::Envelope::new(&cx, "test", &Asked(name)),
        ]
    };
    system.publish_all((0..500).flat_map(envelope).collect()).await;
    let failures = Arc::new(Mutex::new(Vec::new()));
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let (failures, ping) = (failures.clone(), Other(system.client::<Ping>().0, &WORK_PING));
        callers.spawn(async move {
            loop {
                let cx = Context::background().with_timeout(Duration::from_secs(60));
                if let Err(error) = ping.call(&cx).await {
                    failures.lock().unwrap().push(error);
                    return;
                }
            }
        });
    }
    until("much is under way", async || begun.load(Ordering::SeqCst) > 200).await;
    let clock = &system.env().clock;
    let began = clock.now();
    assert!(failures.lock().unwrap().is_empty());
    system.process().stop_all().await;
    callers.join_all().await;
    let took = clock.now() - began;
    println!("it took {took:?}");
    assert!(took < END_MAX, "it took {took:?}");
    let failures = std::mem::take(&mut *failures.lock().unwrap());
    assert_eq!(failures.len(), 50, "every caller was told in the end");
    assert!(failures.iter().all(|e| e.is(Reason::SERVICE_MOVING)), "{failures:?}");
    let late = system.process().start("ping").await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable, "nothing starts any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_goes_on_when_nobody_waits_for_it() {
    let begun = Arc::new(AtomicUsize::new(0));
    let system = TestSystem::of(services(&begun)).start().await.unwrap();
    let calling = async {
        let cx = Context::background().with_timeout(Duration::from_secs(60));
        Other(system.client::<Ping>().0, &WORK_PING).call(&cx).await
    };
    let given_up = tokio::time::timeout(WORK / 3, system.process().stop("ping"));
    let (called, given_up) = tokio::join!(calling, given_up);
    called.expect("a call in flight ends well");
    assert!(given_up.is_err(), "the stop waits for the call");
    until("it has stopped", async || system.process().running().await == ["pong"]).await;
    system.start("ping").await;
}
