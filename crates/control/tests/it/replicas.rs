//! Replicas of a service on one machine: all of them serve, one of them leads.

use crate::system::{Failures, Load, Running, signal};
use banyan_core::Code;
use banyan_testkit::{eventually, until};

const THREE: &str = "placement.apart = ['counter']\nplacement.replicas = { counter = 3 }";

#[tokio::test(flavor = "multi_thread")]
async fn replicas_count_exactly_and_another_leads_when_the_leader_dies() {
    let system = Running::start(THREE).await;
    assert_eq!(system.settled().await, ["counter", "counter-2", "counter-3"]);
    let mut load = Load::start(&system, 16, Failures::Repeat);
    load.flows(200).await;
    let mut leaders = Vec::new();
    for _ in 0..3 {
        let leader = eventually("a leader", async || leader(&system)).await;
        leaders.push(leader);
        load.flows(50).await;
        signal("KILL", leader).await;
        until("another leader", async || self::leader(&system).is_some_and(|pid| pid != leader)).await;
        system.settled().await;
    }
    println!("leaders: {leaders:?}");
    let added = load.end().await;
    system.assert_counted(added).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_beside_a_replica_do_not_notice_that_another_dies() {
    let system = Running::start("placement.replicas = { counter = 2 }").await;
    assert_eq!(system.settled().await, ["main", "counter-2"]);
    let mut load = Load::start(&system, 8, Failures::Never);
    for _ in 0..2 {
        load.flows(100).await;
        let pid = system.ready("counter-2").await;
        signal("KILL", pid).await;
        until("it to be started anew", async || ![0, pid].contains(&system.process("counter-2").await.pid))
            .await;
        load.flows(100).await;
        system.settled().await;
    }
    system.assert_counted(load.end().await).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_replicas_does_not_move() {
    let system = Running::start(THREE).await;
    let refused = system.move_counter("main").await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::FailedPrecondition, "SERVICE_REPLICATED"));
    system.end().await;
}

/// Returns the process that has the leader's lock: the kernel lists locks by the inode of their file.
fn leader(system: &Running) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let file = system.data().join("stores/counter.db.lock.leader");
    let inode = std::fs::metadata(file).ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // "1: FLOCK  ADVISORY  WRITE pid device:inode start end"
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let at = fields.get(5)?.rsplit(':').next()?;
        (at == inode).then(|| fields[4].parse().ok()).flatten()
    })
}
