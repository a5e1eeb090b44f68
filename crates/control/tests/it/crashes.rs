//! Processes that are killed: started anew, or gone with their root.

use crate::system::{END_MAX, Failures, Load, Running, Setup, is_gone, signal};
use banyan_testkit::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_child_is_started_anew_and_nothing_is_lost_or_doubled() {
    let system = Running::start("placement.apart = ['counter']").await;
    let mut load = Load::start(&system, 8, Failures::Repeat);
    for round in 1..=4 {
        load.flows(50).await;
        let pid = system.ready("counter").await;
        signal("KILL", pid).await;
        until("it to be gone", async || is_gone(pid)).await;
        load.flows(50).await;
        assert_ne!(system.ready("counter").await, pid);
        let status = system.status().await;
        let process = status.processes.iter().find(|p| p.process == "counter").unwrap();
        assert_eq!(process.restarts, round);
    }
    let added = load.end().await;
    system.assert_counted(added).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_end_with_a_killed_root_and_a_new_one_goes_on() {
    let mut system = Running::start("placement.apart = 'all'").await;
    let mut added = 0;
    for _ in 0..3 {
        let mut load = Load::start(&system, 4, Failures::Never);
        load.flows(40).await;
        added += load.end().await;
        let pids = system.pids().await;
        assert_eq!(pids.len(), 3);
        // Started at once: the children may still be there, and have the stores.
        let setup = system.kill_root().await;
        system = setup.start().await;
        until("the children to be gone", async || pids.iter().all(|pid| is_gone(*pid))).await;
        system.assert_counted(added).await;
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_stopped_answering_does_not_hold_up_the_end() {
    let system = Running::start("placement.apart = ['counter']\nlimits.drain_ms_max = 500").await;
    let pids = system.pids().await;
    signal("STOP", system.ready("counter").await).await;
    let (status, setup) = system.stop().await;
    assert!(status.success(), "{}", setup.log());
    assert!(pids.iter().all(|pid| is_gone(*pid)), "killed after its drain limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_start_fails_the_run_and_leaves_nothing() {
    for placement in ["[]", "['counter']", "'all'"] {
        let setup = Setup::new(&format!("placement.apart = {placement}\nservices.counter.first = -1"));
        let mut program = setup.spawn();
        let pid = program.id().unwrap();
        let status = tokio::time::timeout(END_MAX, program.wait()).await.expect("it ends").unwrap();
        let log = setup.log();
        assert!(!status.success(), "{log}");
        assert!(log.contains("services.counter.first: must be 0 or more"), "{log}");
        until("all to be gone", async || is_gone(pid) && setup.processes().is_empty()).await;
        assert!(!setup.data().join("run/system.json").exists());
    }
}
