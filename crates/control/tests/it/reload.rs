//! Another configuration for the running system: taken over everywhere under load, or refused.

use crate::system::{Failures, Load, Running, signal};
use banyan_control::contract::{ConfigChange, GetConfigRequest, ReloadConfigResponse};
use banyan_testkit::until;

const PLACED: &str = "placement.apart = ['caller']\nplacement.groups = { back = ['counter'] }\n";

fn keys(changes: &[ConfigChange]) -> Vec<&str> {
    changes.iter().map(|change| change.key.as_str()).collect()
}

/// Asserts that every process took a configuration over.
fn assert_taken(answer: &ReloadConfigResponse, processes: &[&str]) {
    let taken: Vec<_> = answer.taken.iter().map(|taken| taken.process.as_str()).collect();
    assert_eq!(taken, processes, "{answer:?}");
    assert!(answer.taken.iter().all(|taken| taken.problem.is_empty()), "{answer:?}");
}

/// Another configuration each round, with another value for everything that may change.
fn configuration(round: u64) -> String {
    // Delayed and doubled calls succeed.
    let faults = match round % 2 {
        0 => "faults = { delay_probability = 0.2, delay_ms = 2, duplicate_probability = 0.1 }",
        _ => "",
    };
    format!(
        "{PLACED}{faults}
         calls = {{ timeout_ms = {}, attempts_max = {}, waiting_max = {} }}
         limits = {{ deliveries_in_flight_max = {}, delivery_attempts_max = {}, drain_ms_max = {} }}
         supervision.probe_period_ms = {}
         log.filter = 'info'
         services.counter.live = {round}",
        8_000 + round,
        5 + round % 3,
        500 + round,
        1 + round * 7 % 50,
        10 + round,
        9_000 + round,
        4_000 + round,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_taken_over_under_load_and_no_call_is_lost() {
    let system = Running::start(&format!("{PLACED}services.counter.live = 1")).await;
    let pids = system.pids().await;
    let mut load = Load::start(&system, 8, Failures::Never);
    for round in 2..=20 {
        load.flows(30).await;
        let answer = system.reload(&configuration(round)).await.unwrap();
        assert_taken(&answer, &["main", "back", "caller"]);
        let back = answer.taken.iter().find(|taken| taken.process == "back").unwrap();
        assert_eq!(back.services, ["counter"]);
        assert!(answer.restart.is_empty() && answer.version == round - 1, "{answer:?}");
        assert_eq!(system.count("live").await, round as i64);
    }
    load.flows(100).await;
    let added = load.end().await;
    system.assert_counted(added).await;
    assert_eq!(system.pids().await, pids, "no process was started anew");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_changes_nothing_and_is_told() {
    let system = Running::start(&format!("{PLACED}services.counter.live = 1")).await;
    for (wrong, told) in [
        ("services.counter.live = 101", "services.counter.live: must be at most 100 ("),
        ("services.counter.lvie = 2", "nearest is \"live\""),
        ("limits.drian_ms_max = 2", "nearest is \"drain_ms_max\""),
        ("faults.drop_probability = 2", "faults.drop_probability"),
        ("log.filter = 'loud'", "log.filter"),
        ("no toml", "banyan.toml:"),
    ] {
        // What comes before the mistake must not take hold either.
        let text = format!("calls.timeout_ms = 7\n{PLACED}{wrong}");
        let error = system.reload(&text).await.unwrap_err();
        assert!(error.message().contains(told), "{wrong}: {error}");
        let status = system.status().await.config.unwrap();
        assert!(status.refused == error.message() && status.version == 0, "{status:?}");
    }
    assert_eq!(system.count("live").await, 1);
    let answer = system.reload(&format!("{PLACED}services.counter.live = 3")).await.unwrap();
    assert_eq!((keys(&answer.changed), system.count("live").await), (vec!["services.counter.live"], 3));
    assert!(system.status().await.config.unwrap().refused.is_empty());
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_told_until_it_is_undone() {
    let system = Running::start(PLACED).await;
    let changed = format!("{PLACED}limits.topic_partitions = 3\nservices.counter.live = 2");
    let answer = system.reload(&changed).await.unwrap();
    assert_eq!(keys(&answer.changed), ["services.counter.live"]);
    assert_eq!(keys(&answer.restart), ["limits.topic_partitions"]);
    let control = system.control();
    let list = async || control.get_config(&crate::system::context(), GetConfigRequest {}).await.unwrap();
    let entry = list().await.entries.into_iter().find(|e| e.key == "limits.topic_partitions").unwrap();
    assert_eq!((entry.value.as_str(), entry.next.as_str(), entry.takes.as_str()), ("8", "3", "restart"));
    assert_eq!(list().await.status.unwrap().restart_keys, ["limits.topic_partitions"]);
    let answer = system.reload(&format!("{PLACED}services.counter.live = 2")).await.unwrap();
    assert!(answer.changed.is_empty() && answer.restart.is_empty() && answer.taken.is_empty(), "{answer:?}");
    assert!(system.status().await.config.unwrap().restart_keys.is_empty());
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_later_has_the_configuration_that_holds() {
    let system = Running::start(PLACED).await;
    system.reload(&format!("{PLACED}services.counter.live = 5")).await.unwrap();
    let pid = system.ready("back").await;
    signal("KILL", pid).await;
    until("it to be started anew", async || ![0, pid].contains(&system.process("back").await.pid)).await;
    assert_eq!(system.count("live").await, 5);
    // One that does not listen at that moment is told as soon as it does.
    let back = system.ready("back").await;
    signal("STOP", back).await;
    let answer = system.reload(&format!("{PLACED}services.counter.live = 6")).await.unwrap();
    let told = answer.taken.iter().find(|taken| taken.process == "back").unwrap();
    assert!(!told.problem.is_empty(), "{answer:?}");
    signal("CONT", back).await;
    until("it to have the new configuration", async || system.count("live").await == 6).await;
    system.end().await;
}
