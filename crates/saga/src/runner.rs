//! Finds the sagas that are due and drives them, a bounded number at a time.

use crate::engine::{Engine, News, Started};
use crate::tables;
use banyan_core::{Result, Tasks};
use banyan_store::{Query, Read, params};
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    /// Drives due sagas in `tasks` for ever. Everything it does is safe to drop at any point: what was under way
    /// is done again, under the same idempotency key, by the next run.
    ///
    /// What this process has started is driven as it is; the table is searched for the rest: what an earlier process
    /// left, what was suspended, signalled or resumed, and what found no place.
    pub(crate) async fn dispatch(self: Arc<Self>, tasks: Tasks) {
        let mut search_at = self.env.clock.now();
        loop {
            let News { started, search } = std::mem::take(&mut *self.news.lock());
            if search || self.env.clock.now() >= search_at {
                // It finds what has just been started as well.
                let wait = self.dispatch_due(&tasks).await.unwrap_or_else(|error| {
                    tracing::warn!(service = self.store.service(), ?error, "due sagas cannot be found");
                    self.options.poll
                });
                search_at = self.env.clock.now() + wait.min(self.options.poll);
            } else {
                started
                    .into_iter()
                    .for_each(|started| self.dispatch_one(&tasks, Due::Started(Box::new(started))));
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(search_at) => {}
            }
        }
    }

    /// Starts driving what is due and returns how long it takes until more is.
    async fn dispatch_due(self: &Arc<Self>, tasks: &Tasks) -> Result<Duration> {
        let (active, free) = self.begin_search();
        if free == 0 {
            return Ok(self.options.poll);
        }
        // The active ones may come first.
        let limit = active.len() + free;
        let (cx, now) = (self.cx(), self.env.clock.unix_ms());
        let found = self.store.read(&cx, move |db: &mut Read<'_>| {
            let due = db.query(tables::DUE, params![now, limit], |row| row.get::<String>("id"))?;
            let next =
                db.query_one(tables::NEXT_DUE, params![now], |row| row.get::<Option<u64>>("next_at"))?;
            Ok((due, next))
        });
        let (due, next) = found.await?;
        if due.len() == limit {
            self.fall_behind();
        }
        // The end of an active one wakes the search for those that do not fit.
        for id in due.into_iter().filter(|id| !active.contains(id)) {
            self.dispatch_one(tasks, Due::Found(id));
        }
        Ok(next.map_or(self.options.poll, |at| Duration::from_millis(at - now)))
    }

    /// Starts driving a saga if there is a place and nobody drives it.
    fn dispatch_one(self: &Arc<Self>, tasks: &Tasks, due: Due) {
        let id = due.id();
        if let Some(claim) = self.claim(id) {
            let span = tracing::info_span!("saga", id);
            let drive = tracing::Instrument::instrument(Arc::clone(self).drive(claim, due), span);
            tasks.spawn_until_stopped("saga", drive);
        }
    }
}

/// A saga that is to be driven.
pub(crate) enum Due {
    /// It is in the table.
    Found(String),
    /// It is in the table like this.
    Started(Box<Started>),
}

impl Due {
    fn id(&self) -> &str {
        match self {
            Due::Found(id) => id,
            Due::Started(started) => &started.row.id,
        }
    }
}
