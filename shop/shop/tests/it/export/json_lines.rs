//! Logs as a platform collects them: lines of JSON on standard output, of all processes.

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// How long the shop may take until both processes have logged.
const LOGGED_MAX: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_line_on_standard_output_is_json_that_says_when_who_and_what() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut shop = Command::new(env!("CARGO_BIN_EXE_shop"))
        // Its child is told both.
        .args(["run", "-v", "--log-json", "--port", "0", "--apart", "payments"])
        .current_dir(folder.path())
        .env("BANYAN_DATA", folder.path().join("data"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(shop.stdout.take().expect("a pipe")).lines();
    let (mut services, mut ready) = (BTreeSet::new(), false);
    let read = async {
        while !ready || !services.contains("payments") || !services.contains("orders") {
            let line = lines.next_line().await.expect("readable").expect("it runs");
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let text = |key: &str| line[key].as_str().map(str::to_owned);
            if line["url"].is_string() {
                ready = true;
                continue;
            }
            assert!(
                text("timestamp").is_some_and(|time| time.ends_with('Z') && time.contains('T')),
                "{line}"
            );
            assert!(text("level").is_some() && text("message").is_some(), "{line}");
            services.extend(text("service"));
        }
    };
    tokio::time::timeout(LOGGED_MAX, read)
        .await
        .unwrap_or_else(|_| panic!("only {services:?}, ready: {ready}"));
    let pid = shop.id().expect("it runs").to_string();
    Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill runs");
    tokio::time::timeout(LOGGED_MAX, shop.wait()).await.expect("it ends").expect("it is our child");
}
