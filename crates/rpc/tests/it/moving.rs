//! A service that moves: calls wait for it, and none fails or is executed twice.

use crate::bed::{
    Bed, COUNT, DO, NAME, PATIENCE, Placement, Probe, builder, echo, in_both_placements, options, probe,
    server, target, unary,
};
use banyan_core::{Code, Context, Env, Reason};
use banyan_rpc::{CallLimits, Directory, DirectoryOptions, Service, Streaming, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

in_both_placements!(
    calls_wait_while_a_service_is_closed,
    streams_wait_while_a_service_is_closed,
    waiting_for_a_place_ends_with_the_deadline,
    a_removed_service_is_found_at_its_next_place,
    nothing_waits_in_a_process_that_ends,
);

async fn calls_wait_while_a_service_is_closed(placement: Placement) {
    let bed = Bed::new(placement, echo()).await;
    bed.service.close().await;
    let mut calling = Box::pin(bed.call(&bed.cx, &DO, probe("patient", 1)));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut calling).await;
    assert!(early.is_err(), "answered by a closed service: {early:?}");
    bed.service.reopen();
    assert_eq!(calling.await.unwrap(), probe("patient", 1));
}

async fn streams_wait_while_a_service_is_closed(placement: Placement) {
    let handler = |_: Context, request: Probe| std::future::ready(Ok(Streaming::of([request])));
    let bed = Bed::new(placement, builder().server_streaming(&COUNT, handler).build()).await;
    bed.service.close().await;
    let mut calling =
        Box::pin(bed.channel.server_streaming::<_, Probe>(&bed.cx, &COUNT, probe("patient", 1)));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut calling).await.is_err());
    bed.service.reopen();
    assert_eq!(calling.await.unwrap().collect(1).await.unwrap(), [probe("patient", 1)]);
}

async fn waiting_for_a_place_ends_with_the_deadline(placement: Placement) {
    let bed = Bed::new(placement, unary(|_, _| async { panic!("executed") })).await;
    bed.service.close().await;
    let cx = bed.cx.with_timeout(Duration::from_millis(100));
    let error = bed.call(&cx, &DO, Probe::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);

    bed.directory.set(NAME, Target::Unplaced);
    let cx = bed.cx.with_timeout(Duration::from_millis(100));
    let error = bed.call(&cx, &DO, Probe::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
}

async fn nothing_waits_in_a_process_that_ends(placement: Placement) {
    let bed = Bed::new(placement, echo()).await;
    assert_eq!(bed.call(&bed.cx, &DO, probe("early", 1)).await.unwrap(), probe("early", 1));
    bed.service.close().await;
    let mut waiting = Box::pin(bed.call(&bed.cx, &DO, probe("waits", 1)));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    bed.directory.stop_waiting();
    let late = bed.call(&bed.cx, &DO, probe("late", 1));
    let (waited, late) = tokio::time::timeout(PATIENCE / 2, futures::future::join(waiting, late))
        .await
        .expect("neither waits for its deadline");
    assert!(waited.unwrap_err().is(Reason::SERVICE_MOVING) && late.unwrap_err().is(Reason::SERVICE_MOVING));
    bed.service.reopen();
    assert_eq!(bed.call(&bed.cx, &DO, probe("open", 1)).await.unwrap(), probe("open", 1));
}

async fn a_removed_service_is_found_at_its_next_place(placement: Placement) {
    let bed = Bed::new(placement, echo()).await;
    let next = server(&echo()).await;
    bed.service.close().await;
    if let Some(server) = &bed.server {
        server.remove(NAME);
    }
    let calling = bed.call(&bed.cx, &DO, probe("patient", 1));
    let moving = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        bed.directory.set(NAME, Target::Remote(vec![next.address().into()]));
    };
    let (called, ()) = tokio::join!(calling, moving);
    assert_eq!(called.unwrap(), probe("patient", 1));
}

#[tokio::test]
async fn too_many_waiting_calls_are_refused() {
    let env = Env::default();
    let limits = CallLimits { waiting_calls_max: 1, ..CallLimits::default() };
    let directory = Directory::with_options(&env, DirectoryOptions { limits: limits.clone(), ..options() });
    let channel = directory.channel(NAME);
    let cx = Context::background();
    let mut waiting = Box::pin(channel.unary::<_, Probe>(&cx, &DO, probe("first", 1)));
    assert!(futures::poll!(&mut waiting).is_pending());
    let refused = channel.unary::<_, Probe>(&cx, &DO, probe("second", 2)).await.unwrap_err();
    assert!(refused.is(Reason::OVERLOADED), "{refused}");
    // A longer queue holds at once, and those who wait stay in it.
    directory.set_limits(CallLimits { waiting_calls_max: 2, ..limits });
    let mut second = Box::pin(channel.unary::<_, Probe>(&cx, &DO, probe("second", 2)));
    assert!(futures::poll!(&mut second).is_pending());
    directory.set(NAME, Target::Local(echo()));
    assert_eq!(waiting.await.unwrap().number, 1);
}

/// Moves a service between this process and two others while callers call it as fast as they can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_or_is_repeated_while_a_service_moves_under_load() {
    const CALLERS: usize = 8;
    const MOVES: usize = 12;
    let executions = Arc::new(AtomicUsize::new(0));
    let instance = || -> Service {
        let executions = executions.clone();
        unary(move |_, request| {
            executions.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                Ok(request)
            }
        })
    };
    let services = [instance(), instance(), instance()];
    let servers = [None, Some(server(&services[1]).await), Some(server(&services[2]).await)];
    for elsewhere in &services[1..] {
        elsewhere.close().await;
    }
    let directory = Directory::with_options(&Env::default(), options());
    directory.set(NAME, Target::Local(services[0].clone()));

    let moved = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (channel, moved) = (directory.channel(NAME), moved.clone());
            async move {
                let mut calls = 0;
                while moved.load(Ordering::Relaxed) < MOVES {
                    let cx = Context::background();
                    let answer: Probe = channel.unary(&cx, &DO, probe("", calls)).await.unwrap();
                    assert_eq!(answer.number, calls);
                    calls += 1;
                }
                calls as usize
            }
        })
        .collect();
    let moving = async {
        for turn in 1..=MOVES {
            let (from, to) = ((turn - 1) % 3, turn % 3);
            tokio::time::sleep(Duration::from_millis(20)).await;
            services[from].close().await;
            services[to].reopen();
            directory.set(NAME, target(servers[to].as_ref(), &services[to]));
            moved.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (calls, ()) = tokio::join!(futures::future::join_all(callers), moving);
    let calls: usize = calls.into_iter().sum();
    assert!(calls > MOVES * CALLERS, "only {calls} calls: the load was none");
    assert_eq!(executions.load(Ordering::Relaxed), calls);
}
