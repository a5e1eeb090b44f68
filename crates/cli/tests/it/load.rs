//! `load`, from outside: real requests, files, exit statuses.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use banyan_core::Tasks;
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

const SCENARIO: &str = "title = 'Test'\nslo = ['errors < 1%', 'get: p99 < 10s']\n\
[load]\nrate = 40\nfor = '1s'\narrivals = 'uniform'\nseed = 7\n\
[[scenario]]\nname = 'get'\n[[scenario.step]]\nname = 'get'\nrequest = 'GET /'\n\
[[scenario.step]]\nname = 'slow'\nrequest = 'GET /slow'\n";

/// A server, and a folder with a scenario.
struct Place {
    folder: TempDir,
    url: String,
    tasks: Tasks,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Place {
    async fn make() -> Self {
        let app = Router::new()
            .route("/", get(|| async { "ok" }))
            .route("/slow", get(|| async { tokio::time::sleep(Duration::from_millis(50)).await }))
            .route("/fail", get(|| async { StatusCode::SERVICE_UNAVAILABLE }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let tasks = Tasks::new();
        tasks.spawn_until_stopped(
            "server",
            async move { axum::serve(listener, app).await.expect("it serves") },
        );
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(folder.path().join("test.toml"), SCENARIO).expect("the folder can be written");
        Self { folder, url, tasks }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
        command.env_remove("BANYAN_DATA").env_remove("BANYAN_PROFILE").current_dir(self.folder.path());
        command.arg("load").args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs `load` on the server of this place.
    async fn load(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.args(["--target", &self.url]);
        output(command).await
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).expect("the file was written")
    }
}

/// Runs a command without holding up the server of the test.
async fn output(mut command: Command) -> Output {
    let running = tokio::task::spawn_blocking(move || command.output());
    running.await.expect("it does not panic").expect("the program starts")
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

/// Returns the error that a command printed as JSON.
fn error(output: &Output, status: i32) -> Value {
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{complained}");
    json(complained.lines().last().unwrap_or_default().as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_keeps_its_objectives_ends_with_0_and_its_files_agree() {
    let place = Place::make().await;
    let done = place.load(&["test.toml", "--json", "--report", "r.html", "--summary", "s.json"]).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let summary = json(&done.stdout);
    assert_eq!(
        (&summary["runs"]["due"], &summary["requests"]["count"]),
        (&40.into(), &80.into()),
        "{summary}"
    );
    assert_eq!((summary["seed"].as_u64(), summary["outcome"].as_str()), (Some(7), Some("completed")));
    assert!(summary["steps"][1]["latency_ms"]["min"].as_f64().is_some_and(|ms| ms >= 50.0), "{summary}");
    assert_eq!(json(place.text("s.json").as_bytes()), summary);
    let page = place.text("r.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("2 of 2 SLOs kept"), "{page}");

    let told = place.load(&["test.toml", "--slo", "slow: p50 >= 50ms"]).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for part in ["Test", "40 arrivals", "kept", "slow: p50 >= 50ms", "traces show"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_objective_ends_with_1_and_says_what_broke() {
    let place = Place::make().await;
    let broken =
        place.load(&["test.toml", "--json", "--slo", "slow: p50 < 20ms", "--slo", "rate > 1/s"]).await;
    let problem = error(&broken, 1);
    assert_eq!(problem["reason"], "SLO_BROKEN");
    let message = problem["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("1 of 4 SLOs broken: slow: p50 < 20ms (measured: "), "{message}");
    assert_eq!(json(&broken.stdout)["slos"][2]["kept"], false, "what was done is told all the same");

    let failing = SCENARIO.replace("GET /slow", "GET /fail");
    std::fs::write(place.folder.path().join("failing.toml"), failing).expect("the folder can be written");
    let aborted =
        place.load(&["failing.toml", "--json", "--abort-on-slo", "--rate", "200", "--for", "10m"]).await;
    assert!(error(&aborted, 1)["message"].as_str().is_some_and(|m| m.contains("errors < 1%")));
    let summary = json(&aborted.stdout);
    assert_eq!(
        (&summary["outcome"], summary["took_s"].as_f64().map(|s| s < 60.0)),
        (&"aborted".into(), Some(true))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_told_before_anything_is_sent() {
    let place = Place::make().await;
    std::fs::write(place.folder.path().join("bad.toml"), SCENARIO.replace("rate", "raet")).expect("written");
    let wrong = error(&place.load(&["bad.toml", "--json"]).await, 2);
    assert_eq!((&wrong["reason"], &wrong["field"]), (&"SCENARIO_INVALID".into(), &"load.raet".into()));
    assert!(
        wrong["message"]
            .as_str()
            .is_some_and(|m| m.starts_with("bad.toml:4: ") && m.contains("nearest is \"rate\""))
    );
    let missing = error(&place.load(&["absent.toml", "--json"]).await, 2);
    assert_eq!(missing["code"], "NOT_FOUND");
    assert_eq!(error(&place.load(&["--json"]).await, 2)["field"], "SCENARIO");
    let nowhere = place.load(&["test.toml", "--json", "--report", "absent/r.html"]).await;
    assert!(
        error(&nowhere, 1)["message"].as_str().is_some_and(|m| m.contains("absent/r.html cannot be written"))
    );

    let check = output(place.command(&["test.toml", "--check"])).await;
    assert!(check.status.success(), "a check needs no target");
    assert!(String::from_utf8_lossy(&check.stdout).contains("100 % get: get, slow"));
    let untargeted = error(&output(place.command(&["test.toml", "--json"])).await, 1);
    assert_eq!(untargeted["reason"], "SYSTEM_NOT_RUNNING");
    let abroad = place.command(&["test.toml", "--json", "--target", "http://example.com"]);
    assert_eq!(error(&output(abroad).await, 2)["reason"], "LOAD_TARGET_REFUSED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_a_load_and_tells_what_was_done() {
    let place = Place::make().await;
    let mut command =
        tokio::process::Command::from(place.command(&["test.toml", "--for", "10m", "--target", &place.url]));
    let mut load =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    // The first line of progress is printed while load comes.
    let mut progress = tokio::io::BufReader::new(load.stderr.take().expect("it is a pipe"));
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut progress, &mut line).await.expect("it is text");
    assert!(line.contains("arrivals") && line.contains("p99"), "{line}");
    let pid = load.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    let ended = tokio::time::timeout(Duration::from_secs(60), load.wait_with_output()).await;
    let ended = ended.expect("it ends in time").expect("it is our child");
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success() && told.contains("stopped before its end"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_loads_are_compared() {
    let place = Place::make().await;
    let first = place.load(&["test.toml", "--summary", "a.json"]).await;
    let second = place.load(&["test.toml", "--summary", "b.json"]).await;
    assert!(first.status.success() && second.status.success());
    let mut slower = json(place.text("b.json").as_bytes());
    slower["requests"]["latency_ms"]["p99"] = 100_000.0.into();
    std::fs::write(place.folder.path().join("c.json"), slower.to_string())
        .expect("the folder can be written");
    let compared = output(place.command(&["compare", "a.json", "c.json"])).await;
    let table = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert!(compared.status.success() && table.contains("p99 ms") && table.contains("worse"), "{table}");
    let worse = output(place.command(&["compare", "a.json", "c.json", "--worse-max", "900", "--json"])).await;
    let problem = error(&worse, 1);
    assert_eq!(problem["reason"], "LOAD_WORSE");
    assert!(problem["message"].as_str().is_some_and(|m| m.contains("p99 ms from")), "{problem}");
    let same = output(place.command(&["compare", "a.json", "a.json", "--worse-max", "0"])).await;
    assert!(same.status.success());
    let no_summary = output(place.command(&["compare", "a.json", "test.toml", "--json"])).await;
    assert_eq!(error(&no_summary, 1)["field"], "test.toml");
}
