//! The threads that serve reads: one connection each, one snapshot per read.

use super::session::{Access, Session};
use crate::StoreOptions;
use crate::engine::ReadJob;
use crate::transaction::Read;
use banyan_core::{Error, Result};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tokio::runtime::Handle;

/// Starts the readers. They end when the sender is dropped and the queue is empty.
pub(crate) fn start(
    path: &Path,
    options: &StoreOptions,
) -> Result<(SyncSender<ReadJob>, Vec<JoinHandle<()>>)> {
    let (sender, queue) = sync_channel(options.read_queue_max.max(1));
    let queue = Arc::new(Mutex::new(queue));
    let start_one = |number: usize| {
        let reader = Reader { path: path.to_owned(), options: options.clone(), session: None };
        let (queue, runtime) = (queue.clone(), Handle::current());
        std::thread::Builder::new()
            .name(format!("{}-read-{number}", options.service))
            .spawn(move || {
                let _clock = runtime.enter();
                reader.run(&queue);
            })
            .map_err(Error::internal)
    };
    let threads = (1..=options.readers.max(1)).map(start_one).collect::<Result<_>>()?;
    Ok((sender, threads))
}

struct Reader {
    path: PathBuf,
    options: StoreOptions,
    /// Opened with the first read, so that an idle reader costs next to nothing.
    session: Option<Session>,
}

impl Reader {
    fn run(mut self, queue: &Mutex<Receiver<ReadJob>>) {
        loop {
            // One reader waits inside the channel, the others for it to leave.
            let next = queue.lock().recv();
            let Ok(mut job) = next else { return };
            if job.abandoned() {
                continue;
            }
            let outcome = self.serve(&mut job);
            job.answer(outcome.err());
        }
    }

    fn serve(&mut self, job: &mut ReadJob) -> Result<()> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::open(&self.path, Access::Read, &self.options)?),
        };
        job.cx().check()?;
        session.control("BEGIN")?;
        session.start(job.limited());
        let cx = job.cx().clone();
        let outcome = job.run(&mut Read::new(session, &cx), false);
        let outcome = session.finish(outcome).map(drop);
        let ended = session.control("ROLLBACK");
        if ended.is_err() {
            self.session = None;
        }
        outcome
    }
}
