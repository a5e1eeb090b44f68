//! Processes that are killed: started anew, or gone with their root.

use crate::contract::{ADD, Amount};
use crate::system::{END_MAX, Failures, Load, Running, Setup, context, is_gone, signal};
use banyan_core::Code;
use banyan_testkit::until;
use std::time::Duration;

/// Probes that notice soon what hangs, and are patient enough for a machine that runs many tests at once.
const PROBES: &str = "supervision = { probe_period_ms = 500, probe_timeout_ms = 500, probes_missed_max = 3 }";

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
        let process = system.process("counter").await;
        assert_eq!(process.restarts, round);
        assert!(process.restart_reason.contains("SIGKILL"), "{}", process.restart_reason);
    }
    let added = load.end().await;
    system.assert_counted(added).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_end_with_a_killed_root_and_a_new_one_goes_on() {
    // This process inherits the orphans: as it belongs to their session, the kernel does not wake those that are stopped.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut system = Running::start("placement.apart = 'all'").await;
    let mut added = 0;
    for round in 0..3 {
        let mut load = Load::start(&system, 4, Failures::Never);
        load.flows(40).await;
        added += load.end().await;
        let pids = system.pids().await;
        assert_eq!(pids.len(), 3);
        let hung = (round == 1).then_some(system.ready("counter").await);
        if let Some(pid) = hung {
            signal("STOP", pid).await;
        }
        // Started at once: the children may still be there, and have the stores. Nobody wakes the one that is stopped.
        let setup = system.kill_root().await;
        system = setup.start().await;
        until("the children to be gone", async || pids.iter().all(|pid| is_gone(*pid))).await;
        system.assert_counted(added).await;
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_started_anew_by_the_program_that_the_root_runs_though_its_file_was_replaced() {
    let setup = Setup::new("placement.apart = ['counter']").with_own_program();
    let system = setup.start().await;
    let mut load = Load::start(&system, 4, Failures::Repeat);
    load.flows(20).await;
    system.replace_program(b"#!/bin/false\n");
    let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let root = program(system.pid());
    for _ in 0..2 {
        let pid = system.ready("counter").await;
        signal("KILL", pid).await;
        until("it to be gone", async || is_gone(pid)).await;
        load.flows(50).await;
        let pid = system.ready("counter").await;
        assert_eq!(program(pid), root);
        let shown = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        assert_eq!(shown("comm"), "counter_system\n");
        assert!(shown("cmdline").ends_with("counter_system\0process\0"), "{}", shown("cmdline"));
    }
    system.assert_counted(load.end().await).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_hangs_is_killed_and_started_anew_and_nothing_is_lost_or_doubled() {
    let system = Running::start(&format!("placement.apart = ['counter']\n{PROBES}")).await;
    let mut load = Load::start(&system, 8, Failures::Repeat);
    for round in 1..=2 {
        load.flows(50).await;
        let pid = system.ready("counter").await;
        signal("STOP", pid).await;
        until("it to be killed", async || is_gone(pid)).await;
        load.flows(50).await;
        system.ready("counter").await;
        let process = system.process("counter").await;
        assert_eq!(process.restarts, round);
        let reason = "it left 3 probes in a row unanswered (500 ms each) and was killed";
        assert_eq!(process.restart_reason, reason);
        assert_eq!(system.log().matches(reason).count(), round as usize, "{}", system.log());
    }
    system.assert_counted(load.end().await).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_works_hard_and_moves_services_is_left_alone() {
    let system = Running::start(&format!("placement.apart = 'all'\n{PROBES}")).await;
    let mut load = Load::start(&system, 64, Failures::Never);
    for to in ["caller", "counter", "caller", "counter"] {
        load.flows(300).await;
        system.move_counter(to).await.unwrap();
    }
    let added = load.end().await;
    let processes = system.status().await.processes;
    assert!(processes.iter().all(|p| p.restarts == 0), "{processes:#?}");
    system.assert_counted(added).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_hangs_is_left_alone_where_probes_are_off() {
    let probes = "supervision = { probe_period_ms = 20, probe_timeout_ms = 20, probes_missed_max = 0 }";
    let system = Running::start(&format!("placement.apart = ['counter']\n{probes}")).await;
    let pid = system.ready("counter").await;
    signal("STOP", pid).await;
    let request = Amount { name: "a".into(), number: 1 };
    let cx = context().with_timeout(Duration::from_secs(1));
    let late = system.counter().unary::<_, Amount>(&cx, &ADD, request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert_eq!((system.ready("counter").await, system.process("counter").await.restarts), (pid, 0));
    signal("CONT", pid).await;
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
