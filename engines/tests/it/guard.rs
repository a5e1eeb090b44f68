//! No engine outlives the process that started it.

use anyhow::{Context, Result};
use banyan_engines::{Engine, Kind, Options};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Names the folder of the engine that a test process of its own starts.
const FOLDER: &str = "BANYAN_GUARD_TEST_FOLDER";
/// How long a guard may take to notice; it reads a pipe, so this is only a bound.
const NOTICE_LIMIT: Duration = Duration::from_secs(60);

/// Does nothing in a test run. Started by the test below in a process of its own, it starts an engine and never ends.
#[tokio::test]
async fn starts_an_engine_and_never_ends() -> Result<()> {
    let Ok(folder) = std::env::var(FOLDER) else { return Ok(()) };
    let engine = Engine::start(Kind::Nats, Options::in_folder(folder)).await?;
    println!("\nport {}", engine.port());
    std::future::pending().await
}

#[tokio::test]
async fn an_engine_dies_with_the_process_that_started_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", "guard::starts_an_engine_and_never_ends", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let port = announced_port(owner.stdout.take().context("stdout is piped")?);
    owner.kill()?;
    owner.wait()?;
    let port = port?;
    let gone = async {
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(NOTICE_LIMIT, gone).await.context("the engine outlives its owner")?;
    Ok(())
}

fn announced_port(stdout: std::process::ChildStdout) -> Result<u16> {
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let port = lines.find_map(|line| line.strip_prefix("port ")?.parse().ok());
    port.context("the owner announces no port")
}

#[tokio::test]
async fn a_dropped_engine_is_killed_and_a_failed_start_shows_the_log() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let engine = Engine::start(Kind::Nats, Options::in_folder(folder.path())).await?;
    let port = engine.port();
    let taken = Engine::start(Kind::Nats, Options::in_folder(folder.path()).port(port)).await;
    let error = taken.err().context("the port is taken")?.to_string();
    assert!(error.contains("taken"), "{error}");
    drop(engine);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    let folder = tempfile::tempdir()?;
    // JetStream cannot make its folders where a file stands.
    std::fs::create_dir_all(folder.path().join("data"))?;
    std::fs::write(folder.path().join("data/jetstream"), "")?;
    let failed = Engine::start(Kind::Nats, Options::in_folder(folder.path())).await;
    let error = format!("{:#}", failed.err().context("the data folder is spoilt")?);
    assert!(error.contains("its log ends with") && error.contains("not a directory"), "{error}");
    assert!(Path::new(folder.path()).join("engine.log").is_file());
    Ok(())
}
