//! The program itself, killed while charges are under way: what was answered stays, what is asked again happens once.

use crate::client::{Asker, charge};
use futures::future::join_all;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const LIMIT: Duration = Duration::from_secs(20);

struct Program {
    child: Child,
    ask: Asker,
}

async fn launch(folder: &Path, more: &[&str]) -> Program {
    let mut child = Command::new(env!("CARGO_BIN_EXE_card-processor"))
        .arg("--data")
        .arg(folder)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let out = child.stdout.take().expect("stdout is piped");
    let line = tokio::time::timeout(LIMIT, BufReader::new(out).lines().next_line()).await;
    let url = line.expect("in time").expect("readable").expect("it prints its URL");
    Program { child, ask: Asker::new(url) }
}

#[tokio::test]
async fn sigkill_in_the_middle_loses_and_doubles_nothing() {
    const ROUNDS: usize = 4;
    const CHARGES: usize = 200;
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut answered = 0;
    for round in 0..ROUNDS {
        let mut program = launch(folder.path(), &[]).await;
        let (kill, killed) = tokio::sync::oneshot::channel::<()>();
        let kill = std::sync::Mutex::new(Some(kill));
        let done = std::sync::atomic::AtomicUsize::new(0);
        let ask = program.ask.clone();
        let (done, kill) = (&done, &kill);
        let charges = join_all((0..CHARGES).map(|number| {
            let ask = ask.clone();
            async move {
                let key = format!("order-{round}-{number}");
                let body = charge("tok_visa", 10, &key);
                let answer = ask.try_post("/v1/charges", Some(&key), &body).await;
                // After a different number of answers in every round, the rest is under way.
                if done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 10 + round * 37 {
                    drop(kill.lock().expect("no panic").take());
                }
                answer.ok().map(|answer| (key, answer.body["id"].clone()))
            }
        }));
        let killing = async {
            let _ = killed.await;
            program.child.start_kill().expect("it still runs");
            program.child.wait().await.expect("it ends");
        };
        let (outcomes, ()) = tokio::join!(charges, killing);
        let known: Vec<_> = outcomes.into_iter().flatten().collect();
        answered += known.len();

        let program = launch(folder.path(), &[]).await;
        let again = join_all((0..CHARGES).map(|number| {
            let ask = program.ask.clone();
            async move { ask.charge(&format!("order-{round}-{number}"), "tok_visa", 10).await }
        }))
        .await;
        assert!(again.iter().all(|answer| answer.status == 200), "{again:?}");
        for (key, id) in known {
            let found =
                again.iter().find(|answer| answer.text("/metadata/order_id") == key).expect("every key");
            assert_eq!(found.body["id"], id, "{key} was answered before the kill");
            assert!(found.replayed, "{key} was answered before the kill");
        }
        let total = CHARGES * (round + 1);
        assert_eq!(program.ask.list("/v1/ledger", 1000).await.len(), total, "one charge per key");
        assert_eq!(program.ask.balance().await, 10 * i64::try_from(total).expect("small"));
    }
    println!("{answered} of {} charges were answered before their kill", ROUNDS * CHARGES);
    assert!(answered > 0, "the kills came too early to prove anything");
}

#[tokio::test]
async fn it_stops_gracefully_on_sigterm_and_with_its_parent() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut program = launch(folder.path(), &[]).await;
    drop(program.child.stdin.take());
    let id = program.child.id().expect("it runs").to_string();
    assert_eq!(program.ask.balance().await, 0, "without the flag a closed standard input means nothing");
    let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill runs");
    assert!(sent.success());
    let status = tokio::time::timeout(LIMIT, program.child.wait()).await.expect("in time").expect("waited");
    assert!(status.success(), "{status}");

    let mut orphan = launch(folder.path(), &["--exit-with-parent"]).await;
    drop(orphan.child.stdin.take());
    let status = tokio::time::timeout(LIMIT, orphan.child.wait()).await.expect("in time").expect("waited");
    assert!(status.success(), "{status}");
}
