//! The least that a log can do: one thread that appends what waits, syncs once and answers all.

use super::BODY_BYTES;
use crate::load::{Caller, Done, closed_loop};
use anyhow::{Context, Result, anyhow};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// Appends that may wait for the thread.
const QUEUE_MAX: usize = 1024;

type Append = oneshot::Sender<bool>;

pub(super) async fn turn(folder: &Path, writers: usize, length: Duration) -> Result<Done> {
    let file = File::create(folder.join("segment")).context("make the segment file")?;
    let (sender, queue) = sync_channel(QUEUE_MAX);
    let thread = std::thread::spawn(move || append(file, &queue));
    let done = closed_loop((0..writers).map(|_| Writer(sender.clone())), length).await?;
    drop(sender);
    thread.join().map_err(|_| anyhow!("the appending thread panicked"))?;
    Ok(done)
}

fn append(mut file: File, queue: &Receiver<Append>) {
    let body = [7u8; BODY_BYTES];
    let mut bytes = Vec::new();
    while let Ok(first) = queue.recv() {
        let waiting: Vec<Append> = std::iter::once(first).chain(queue.try_iter()).collect();
        bytes.clear();
        for _ in &waiting {
            bytes.extend_from_slice(&body);
        }
        let durable = file.write_all(&bytes).and_then(|()| file.sync_data()).is_ok();
        for append in waiting {
            // Nobody stops waiting before the end of the turn.
            let _ = append.send(durable);
        }
    }
}

struct Writer(SyncSender<Append>);

impl Caller for Writer {
    async fn call(&mut self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(reply).context("the queue is full")?;
        anyhow::ensure!(answer.await?, "the file could not be made durable");
        Ok(())
    }
}
