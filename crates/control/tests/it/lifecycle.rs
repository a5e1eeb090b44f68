//! A system's start and end.

use crate::contract::{Amount, WAIT};
use crate::system::{END_MAX, Failures, Load, Running, Setup, context, is_gone, seed, signal};
use banyan_control::memory_path;
use banyan_core::{Clock, Code, Rng};
use banyan_telemetry::{Filter, Reader};
use banyan_testkit::until;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use tokio::task::JoinSet;

/// A limit of the draining that is far away: who waits for something that does not come reaches it.
const PATIENT: &str = "limits.drain_ms_max = 60_000";
/// When a system has ended that waited for nothing but what was under way, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_told_to_end_answers_what_it_began() {
    for placement in ["[]", "'all'"] {
        let config = format!("placement.apart = {placement}\ntelemetry.slow_ms = 500\n{PATIENT}");
        let system = Running::start(&config).await;
        let pids = system.pids().await;
        let (counter, mut calls) = (system.counter(), JoinSet::new());
        calls.spawn(async move {
            let request = Amount { name: "slow".into(), number: 700 };
            counter.unary::<_, Amount>(&context(), &WAIT, request).await
        });
        until("the call to be under way", async || system.log().contains("a call waits")).await;
        let clock = Clock::default();
        let began = clock.now();
        let (status, setup) = system.stop().await;
        let took = clock.now() - began;
        assert!(status.success(), "{status}\n{}", setup.log());
        let answer = calls.join_next().await.unwrap().unwrap();
        assert_eq!(answer.unwrap().number, 700, "what was begun is answered\n{}", setup.log());
        assert!(took < SOON, "it took {took:?}\n{}", setup.log());
        assert!(pids.iter().all(|pid| is_gone(*pid)));
        // It is recorded too, although it ended after everything had been told to end.
        let memory = Reader::open(&memory_path(&setup.data())).unwrap();
        let traces = memory.list(&Filter { ms_min: 600, limit: 10, ..Filter::default() }).unwrap();
        assert!(!traces.is_empty(), "{placement}: the last spans are lost\n{}", setup.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_system_ends_soon_and_goes_on_where_it_was() {
    for placement in ["[]", "['counter']", "'all'"] {
        let system = Running::start(&format!("placement.apart = {placement}\n{PATIENT}")).await;
        let mut load = Load::start(&system, 32, Failures::Repeat);
        load.flows(300).await;
        let clock = Clock::default();
        let began = clock.now();
        let (status, setup) = system.stop().await;
        let took = clock.now() - began;
        println!("{placement}: ended after {took:?}");
        let added = load.abandon();
        assert!(status.success(), "{status}\n{}", setup.log());
        assert!(took < SOON, "{placement}: it took {took:?}\n{}", setup.log());
        let system = setup.start().await;
        let counted = system.counted().await;
        assert!((added..=added + 32).contains(&counted), "{added} were answered, {counted} counted");
        system.assert_counted(counted).await;
        system.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_told_to_end_while_it_starts_leaves_nothing() {
    let seed = seed();
    println!("seed {seed}");
    let rng = Rng::seeded(seed);
    let mut setup = Setup::new("placement.apart = 'all'");
    for _ in 0..10 {
        let mut program = setup.spawn();
        tokio::time::sleep(Duration::from_millis(rng.below(150))).await;
        signal("TERM", program.id().unwrap()).await;
        let status = tokio::time::timeout(END_MAX, program.wait()).await.expect("it ends").unwrap();
        // Right after its start a program has no say in what the signal does.
        assert!(status.success() || status.signal() == Some(15), "{status}\n{}", setup.log());
        until("all to be gone", async || setup.processes().is_empty()).await;
    }
    let system = setup.start().await;
    let mut load = Load::start(&system, 2, Failures::Never);
    load.flows(10).await;
    system.assert_counted(load.end().await).await;
    setup = system.stop().await.1;
    assert!(setup.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_has_one_system_whose_run_file_is_private_and_goes_with_it() {
    let system = Running::start("").await;
    let file = system.data().join("run/system.json");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&system.data())), (0o600, 0o700));

    let mut second = system.spawn_second();
    let status = tokio::time::timeout(END_MAX, second.wait()).await.expect("it ends").unwrap();
    let log = system.log();
    assert!(!status.success(), "{log}");
    let folder = system.data().display().to_string();
    let refusal = log.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(refusal.contains(&folder) && refusal.contains("open in another process"), "{refusal}");
    assert!(file.exists(), "the first one's run file stays");
    assert_eq!(system.count("a").await, 0, "the first one serves");

    let (status, _setup) = system.stop().await;
    assert!(status.success() && !file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_by_the_control_contract() {
    let system = Running::start("").await;
    let env = banyan_core::Env::default();
    let stranger: banyan_control::contract::ControlServiceClient =
        banyan_control::root::client_at(&env, "guessed", &system.run.control_address).unwrap();
    let refused = stranger.get_system(&context(), Default::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    system.end().await;
}
