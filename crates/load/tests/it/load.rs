//! What is measured is what was: counts, waits, errors.

use crate::server::Server;
use banyan_core::Env;
use banyan_load::{Outcome, Overrides, Plan, Row, Run, Source, Summary, Target};
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(crate) fn plan(text: &str, over: &Overrides) -> Plan {
    Plan::read(&Source::built_in("test.toml", text), over).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn run(server: &Server, text: &str) -> Run {
    let plan = plan(text, &Overrides::default());
    Run::new(plan, Target::parse(&server.url, false, None).expect("it is this machine"), Env::default())
}

fn row<'s>(summary: &'s Summary, name: &str) -> &'s Row {
    summary
        .steps
        .iter()
        .find(|row| row.name == name)
        .unwrap_or_else(|| panic!("{name} is in {:?}", summary.steps))
}

pub(crate) const GET: &str =
    "[[scenario]]\nname = 'get'\n[[scenario.step]]\nname = 'get'\nrequest = 'GET /'\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_uniform_rate_sends_exactly_its_arrivals() {
    let server = Server::start().await;
    let text = format!("[load]\nstages = ['100 for 1s', '100..300 for 1s']\narrivals = 'uniform'\n{GET}");
    let summary = run(&server, &text).go().await.expect("it runs");
    assert_eq!(
        (summary.runs.due, summary.runs.completed, summary.runs.dropped),
        (300, 300, 0),
        "{:?}",
        summary.runs
    );
    assert_eq!((summary.requests.count, summary.requests.errors), (300, 0), "{:?}", summary.requests);
    assert_eq!(server.seen.requests.load(Ordering::Relaxed), 300);
    assert_eq!((summary.outcome, summary.measured_s), (Outcome::Completed, 2.0));
    assert!((summary.requests.per_s - 150.0).abs() < 1e-9);
    let planned: f64 = summary.timeline.iter().map(|point| point.planned).sum();
    assert!((planned - 300.0).abs() < 1e-6, "{planned}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_server_is_in_the_percentiles_of_everybody_who_would_have_come() {
    const STALL: Duration = Duration::from_millis(1_000);
    let server = Server::start().await;
    let text = format!("[load]\nrate = 200\nfor = '4s'\narrivals = 'uniform'\n{GET}");
    server.stall(Duration::from_millis(1_500), STALL);
    let open = run(&server, &text).go().await.expect("it runs");
    // A quarter of all arrivals fell into the stall, and waited from 1,000 ms down to 0.
    let latency = open.requests.latency_ms.as_ref().expect("there were requests");
    println!("open loop: {latency:?}");
    assert_eq!((open.runs.due, open.runs.dropped), (800, 0));
    assert!(latency.max >= 950.0, "{latency:?}");
    assert!(latency.p90 >= 500.0, "10 % waited for more than 600 ms: {latency:?}");

    let closed = format!("[load]\nusers = 1\nfor = '4s'\n{GET}");
    server.stall(Duration::from_millis(1_500), STALL);
    let closed = run(&server, &closed).go().await.expect("it runs");
    let latency = closed.requests.latency_ms.as_ref().expect("there were requests");
    println!("closed loop: {latency:?}");
    assert!(latency.max >= 950.0 && latency.p99 < 500.0, "one request of a closed loop saw it: {latency:?}");
    assert!(closed.warnings.iter().any(|warning| warning.contains("closed loop")), "{:?}", closed.warnings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_all_users_busy_is_dropped_and_told() {
    let server = Server::start().await;
    let text = "slo = ['dropped < 1%']\n[load]\nrate = 100\nfor = '1s'\narrivals = 'uniform'\nin_flight_max = 5\n\
                [[scenario]]\nname = 's'\n[[scenario.step]]\nname = 'slow'\nrequest = 'GET /slow/400'\n";
    let summary = run(&server, text).go().await.expect("it runs");
    let runs = &summary.runs;
    assert_eq!((runs.due, runs.started + runs.dropped, runs.completed), (100, 100, runs.started), "{runs:?}");
    // Five users are free again every 400 ms: three times in a second, and once more on a machine that is fast.
    assert!((10..=20).contains(&runs.started), "{runs:?}");
    assert_eq!(server.seen.requests.load(Ordering::Relaxed), runs.started);
    assert!(
        summary.warnings.iter().any(|warning| warning.contains("were dropped")),
        "{:?}",
        summary.warnings
    );
    let broken: Vec<_> = summary.broken().map(|verdict| verdict.slo.as_str()).collect();
    assert_eq!(broken, ["dropped < 1%"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_set_up_once_and_values_go_from_step_to_step() {
    let server = Server::start().await;
    server.seen.refusals.store(2, Ordering::Relaxed);
    let text = r#"
        slo = ["errors <= 0%", "order: errors <= 0%", "ended (until): max < 20s"]
        [load]
        rate = 50
        for = "1s"
        in_flight_max = 20
        seed = 7
        [variables]
        card = { good = 1, bad = 1 }
        [data.people]
        rows = [{ name = "user-a" }, { name = "user-b" }]
        pick = "per_user"
        [[setup]]
        name = "register"
        request = "POST /users"
        json = { name = "{people.name}" }
        extract = { token = "/token" }
        [[setup]]
        request = "GET /items"
        extract = { items = "/items/*/id" }
        [[scenario]]
        name = "buy"
        set = { item = "{items}" }
        [[scenario.step]]
        name = "order"
        request = "POST /orders"
        headers = { authorization = "Bearer {token}" }
        idempotency_key = "order-{uuid}"
        json = { item = "{item}", quantity = "{random:1..3}", card = "{card}" }
        expect = 201
        extract = { id = "/id" }
        think = "1ms..5ms"
        [[scenario.step]]
        name = "ended"
        request = "GET /orders/{id}"
        until = { at = "/state", is = ["DONE"], every = "5ms", within = "20s" }
    "#;
    let summary = run(&server, text).go().await.expect("it runs");
    assert_eq!(summary.broken().count(), 0, "{:?} {:?}", summary.slos, summary.requests);
    assert_eq!((summary.setup.users, summary.setup.requests, summary.setup.retries), (20, 42, 2));
    assert_eq!(
        server.seen.registered.load(Ordering::Relaxed),
        20,
        "once each, also where it was refused first"
    );
    let orders = row(&summary, "order").requests.count;
    assert_eq!(orders, summary.runs.started, "a busy machine may drop some: {:?}", summary.runs);
    assert_eq!(row(&summary, "ended (until)").requests.count, orders, "each wait is measured");
    let looks = row(&summary, "ended").requests.count;
    assert_eq!(looks, server.seen.looks.load(Ordering::Relaxed));
    assert!(looks > orders, "somebody had to look again");
    assert_eq!(summary.requests.count, orders + looks, "a wait is no request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_counted_by_kind_and_end_their_runs() {
    let server = Server::start().await;
    let text = "slo = ['errors < 1%', 'bad: errors >= 100%', 'p50 < 10s']\n[load]\nrate = 60\nfor = '1s'\n\
                arrivals = 'uniform'\ntimeout = '100ms'\nseed = 1\n\
                [[scenario]]\nname = 'a'\n[[scenario.step]]\nname = 'bad'\nrequest = 'GET /fail/503'\n\
                [[scenario.step]]\nname = 'never'\nrequest = 'GET /'\n\
                [[scenario]]\nname = 'b'\n[[scenario.step]]\nname = 'hangs'\nrequest = 'GET /slow/5000'\n\
                [[scenario]]\nname = 'c'\n[[scenario.step]]\nname = 'less'\nrequest = 'GET /'\nextract = { x = '/nothing' }\n";
    let summary = run(&server, text).go().await.expect("it runs");
    let kinds = &summary.requests.errors_by_kind;
    let expected = ["503 TOLD_TO", "no /nothing in the answer", "timeout"];
    assert_eq!(kinds.keys().collect::<Vec<_>>(), expected);
    assert_eq!(kinds.values().sum::<u64>(), 60);
    assert_eq!((summary.runs.failed, summary.runs.completed), (60, 0));
    assert_eq!(row(&summary, "never").requests.count, 0, "a run ends at the step that failed");
    let kept: Vec<_> = summary.slos.iter().map(|verdict| verdict.kept).collect();
    assert_eq!(kept, [false, true, true]);
    assert_eq!(summary.failures.len(), 20);
    let refused = Run::new(
        plan(
            &format!("[load]\nrate = 20\nfor = '500ms'\narrivals = 'uniform'\n{GET}"),
            &Overrides::default(),
        ),
        Target::parse(&closed_port(), false, None).expect("it is this machine"),
        Env::default(),
    );
    let summary = refused.go().await.expect("a server that is not there is a result");
    assert_eq!(summary.requests.errors_by_kind.keys().collect::<Vec<_>>(), ["connection refused"]);
}

/// Returns the URL of a port that nobody listens at.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ends_early_when_it_is_told_to_or_an_objective_is_broken() {
    let server = Server::start().await;
    let text = "slo = ['p50 < 1us', 'rate > 1000000']\n[load]\nrate = 500\nfor = '10m'\n";
    let aborted = run(&server, &format!("{text}{GET}")).abort_on_slo(true).go().await.expect("it runs");
    assert_eq!(aborted.outcome, Outcome::Aborted);
    assert!(aborted.took_s < 60.0 && aborted.requests.count >= 100, "{aborted:?}");

    let load = run(&server, &format!("{text}{GET}"));
    let controls = load.controls();
    let told = async {
        while controls.live().requests.count < 10 {
            tokio::task::yield_now().await;
        }
        controls.stop();
    };
    let (summary, ()) = tokio::join!(load.go(), told);
    let summary = summary.expect("what was done is told");
    assert_eq!(summary.outcome, Outcome::Stopped);
    assert!(summary.requests.count >= 10 && summary.took_s < 60.0, "{summary:?}");
    assert_eq!(summary.slos.len(), 2, "what was done is judged");
    assert!(summary.warnings[0].contains("stopped before its end"));

    let hanging = run(
        &server,
        "[load]\nrate = 50\nfor = '10m'\ntimeout = '10m'\n[[scenario]]\nname = 's'\n\
                                [[scenario.step]]\nrequest = 'GET /slow/600000'\n",
    );
    let controls = hanging.controls();
    let told = async {
        while controls.live().runs.started < 3 {
            tokio::task::yield_now().await;
        }
        controls.stop();
        controls.stop();
    };
    let (summary, ()) = tokio::join!(hanging.go(), told);
    let runs = summary.expect("it ends at once").runs;
    assert!(runs.unfinished >= 3 && runs.unfinished == runs.started, "{runs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_has_a_trace_of_its_own_and_the_slowest_name_theirs() {
    let server = Server::start().await;
    let text = format!("[load]\nrate = 200\nfor = '1s'\narrivals = 'uniform'\ntrace_sample = 0.5\n{GET}");
    let summary = run(&server, &text).go().await.expect("it runs");
    let mut traces = server.seen.traces.lock().expect("no test panicked with it").clone();
    assert_eq!(traces.len(), 200);
    let sampled = traces.iter().filter(|trace| trace.ends_with("-01")).count();
    assert!((50..150).contains(&sampled), "{sampled}");
    for slow in &summary.slowest {
        let found = traces.iter().find(|trace| trace.contains(&slow.trace_id)).expect("the server saw it");
        assert_eq!(found.ends_with("-01"), slow.sampled);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_without_tls_is_spoken_too() {
    let server = Server::start().await;
    let text = format!("[load]\nrate = 50\nfor = '1s'\narrivals = 'uniform'\nhttp2 = true\n{GET}");
    let summary = run(&server, &text).go().await.expect("it runs");
    assert_eq!((summary.requests.count, summary.requests.errors), (50, 0), "{:?}", summary.requests);
}
