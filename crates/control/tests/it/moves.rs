//! A service moves while it is called: nobody notices, whatever dies.

use crate::system::{Failures, Load, Running, seed, signal};
use banyan_control::contract::Destination;
use banyan_core::{Code, Rng};
use banyan_testkit::eventually;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_moves_apart_and_back_under_load() {
    let system = Running::start("").await;
    let mut load = Load::start(&system, 16, Failures::Never);
    for round in 0..6 {
        load.flows(100).await;
        let apart = system.move_counter("counter").await.unwrap();
        assert_eq!(system.settled().await, ["counter"]);
        load.flows(100).await;
        let back = system.move_counter("main").await.unwrap();
        assert_eq!(system.settled().await, ["main"]);
        println!("round {round}: calls waited {} ms and {} ms", apart.paused_ms, back.paused_ms);
    }
    let added = load.end().await;
    system.assert_counted(added).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_moves_from_child_to_child_under_load() {
    let system = Running::start("placement.apart = 'all'").await;
    let mut load = Load::start(&system, 8, Failures::Never);
    for to in ["one", "two", "one", "caller", "main", "counter"] {
        load.flows(50).await;
        system.move_counter(to).await.unwrap();
        assert_eq!(system.settled().await, [to]);
    }
    let added = load.end().await;
    system.assert_counted(added).await;
    let processes = system.status().await.processes;
    let names: Vec<_> = processes.iter().filter(|p| p.state != "STOPPING").map(|p| &*p.process).collect();
    assert_eq!(names, ["caller", "counter", "main"], "what nobody needs any more ends");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_dies_half_way_costs_nothing() {
    let seed = seed();
    let rng = Rng::seeded(seed);
    let system = Running::start("").await;
    let mut load = Load::start(&system, 8, Failures::Repeat);
    for _ in 0..8 {
        load.flows(30).await;
        let delay = Duration::from_millis(rng.below(120));
        let killing = async {
            let pid = eventually("the target's process", async || {
                let processes = system.status().await.processes;
                processes.iter().find(|p| p.process == "counter" && p.pid != 0).map(|p| p.pid)
            });
            let pid = pid.await;
            tokio::time::sleep(delay).await;
            signal("KILL", pid).await;
        };
        let (moved, ()) = tokio::join!(system.move_counter("counter"), killing);
        let home = system.settled().await;
        println!("seed {seed}, killed after {delay:?}: {moved:?}, it serves in {home:?}");
        load.flows(30).await;
        system.move_counter("main").await.unwrap();
    }
    let added = load.end().await;
    system.assert_counted(added).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_dies_half_way_costs_nothing() {
    let seed = seed();
    let rng = Rng::seeded(seed);
    let system = Running::start("").await;
    let mut load = Load::start(&system, 8, Failures::Repeat);
    for _ in 0..8 {
        system.move_counter("counter").await.unwrap();
        let source = system.ready("counter").await;
        load.flows(30).await;
        let delay = Duration::from_millis(rng.below(60));
        let killing = async {
            tokio::time::sleep(delay).await;
            signal("KILL", source).await;
        };
        let (moved, ()) = tokio::join!(system.move_counter("main"), killing);
        let home = system.settled().await;
        println!("seed {seed}, killed after {delay:?}: {moved:?}, it serves in {home:?}");
        load.flows(30).await;
        system.move_counter("main").await.unwrap();
    }
    let added = load.end().await;
    system.assert_counted(added).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_at_the_same_time_follow_each_other() {
    let system = Running::start("").await;
    let mut load = Load::start(&system, 8, Failures::Never);
    for _ in 0..2 {
        load.flows(50).await;
        let (one, two) = tokio::join!(system.move_counter("one"), system.move_counter("two"));
        let home = system.settled().await;
        println!("{one:?}, {two:?}, it serves in {home:?}");
        assert!(one.is_ok() && two.is_ok());
        assert!(home == ["one"] || home == ["two"], "{home:?}");
        load.flows(50).await;
        let (one, two) = tokio::join!(system.move_counter("main"), system.move_counter("main"));
        let paused = [one.unwrap().paused_ms, two.unwrap().paused_ms];
        assert!(paused.contains(&0), "the second finds it there: {paused:?}");
        assert_eq!(system.settled().await, ["main"]);
    }
    system.assert_counted(load.end().await).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_moves_to_and_from_a_process_that_is_being_restarted() {
    let system = Running::start("placement.apart = 'all'").await;
    let mut load = Load::start(&system, 8, Failures::Repeat);
    for (killed, to) in
        [("caller", "caller"), ("caller", "counter"), ("counter", "main"), ("caller", "caller")]
    {
        load.flows(50).await;
        let pid = system.ready(killed).await;
        signal("KILL", pid).await;
        let moved = system.move_counter(to).await;
        println!("{killed} was killed: {moved:?}");
        let home = system.settled().await;
        // The root may notice the death later than the move, which then fails because of it.
        match moved {
            Ok(_) => assert_eq!(home, [to]),
            Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error:?}"),
        }
        load.flows(50).await;
        system.move_counter(to).await.unwrap();
        assert_eq!(system.settled().await, [to]);
    }
    system.assert_counted(load.end().await).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hangs_half_way_does_not_hold_up_a_move() {
    let probes = "supervision = { probe_period_ms = 500, probe_timeout_ms = 500, probes_missed_max = 3 }";
    let system = Running::start(&format!("placement.apart = 'all'\n{probes}")).await;
    let mut load = Load::start(&system, 8, Failures::Repeat);
    for (hung, to) in [("caller", "caller"), ("counter", "caller")] {
        system.move_counter("counter").await.unwrap();
        load.flows(50).await;
        signal("STOP", system.ready(hung).await).await;
        let moved = system.move_counter(to).await;
        println!("{hung} hung: {moved:?}");
        let home = system.settled().await;
        match moved {
            Ok(_) => assert_eq!(home, [to]),
            Err(error) => {
                let died = "process caller died while counter was moved to it; it goes back to counter";
                assert_eq!((error.code(), error.message()), (Code::Unavailable, died));
                assert_eq!(home, ["counter"]);
            }
        }
        load.flows(50).await;
        let reason = system.process(hung).await.restart_reason;
        let retired = hung == "counter" && home == ["caller"];
        assert!(reason.contains("unanswered") || retired, "{reason}");
    }
    system.assert_counted(load.end().await).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_nobody_waits_for_goes_on_and_wrong_ones_are_refused() {
    let system = Running::start("").await;
    let begun = eventually("the move to begin", async || {
        let processes = system.status().await.processes;
        processes.iter().any(|p| p.process == "counter").then_some(())
    });
    tokio::select! {
        biased;
        () = begun => {}
        moved = system.move_counter("counter") => panic!("it ended before it was given up: {moved:?}"),
    }
    eventually("the service to serve apart", async || {
        let status = system.status().await;
        let there =
            |s: &&banyan_control::contract::ServiceStatus| s.processes == ["counter"] && s.state == "READY";
        status.services.iter().find(there).map(drop)
    })
    .await;
    assert_eq!(system.move_counter("counter").await.unwrap().paused_ms, 0, "it is there already");
    for wrong in ["", "Two Words", &"long".repeat(11)] {
        assert_eq!(system.move_counter(wrong).await.unwrap_err().code(), Code::InvalidArgument);
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_goes_to_a_process_that_is_there_or_is_not_as_asked() {
    let system = Running::start("placement.apart = ['caller']").await;
    let refused = system.move_counter_to("callr", Destination::Existing).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::NotFound, "PROCESS_UNKNOWN"));
    assert!(refused.message().contains("there are main, caller"), "{refused}");
    for there in ["main", "caller"] {
        let refused = system.move_counter_to(there, Destination::New).await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists, "{refused}");
    }
    assert_eq!(system.settled().await, ["main"], "nothing has moved, and nothing was made");
    system.move_counter_to("back", Destination::New).await.unwrap();
    system.move_counter_to("caller", Destination::Existing).await.unwrap();
    assert_eq!(system.settled().await, ["caller"]);
    // What nobody needed any more is gone, and not there to move to.
    let refused = system.move_counter_to("back", Destination::Existing).await.unwrap_err();
    assert_eq!(refused.reason(), "PROCESS_UNKNOWN", "{refused}");
    system.end().await;
}
