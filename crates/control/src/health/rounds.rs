//! Something that is found out once for all who ask at the same time, and kept for a moment.

use banyan_core::{Clock, Tasks};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Finds out a `T` at most once at a time. A round that has begun goes on if nobody waits for it any more: whoever asks
/// next finds what it brought.
pub(crate) struct Rounds<T> {
    clock: Clock,
    tasks: Tasks,
    /// How long an answer serves.
    fresh_for: Duration,
    state: Mutex<State<T>>,
}

struct State<T> {
    last: Option<(Instant, Arc<T>)>,
    running: Option<watch::Receiver<Option<Arc<T>>>>,
}

impl<T: Send + Sync + 'static> Rounds<T> {
    pub(crate) fn new(clock: Clock, tasks: &Tasks, fresh_for: Duration) -> Arc<Self> {
        let state = Mutex::new(State { last: None, running: None });
        Arc::new(Self { clock, tasks: tasks.clone(), fresh_for, state })
    }

    /// Returns what a round brought that ended a moment ago, runs, or begins now with `find`; `None` if it does not end within
    /// `limit`.
    pub(crate) async fn get<Fut>(
        self: &Arc<Self>,
        limit: Duration,
        find: impl FnOnce() -> Fut,
    ) -> Option<Arc<T>>
    where
        Fut: Future<Output = T> + Send + 'static,
    {
        let mut found = {
            let mut state = self.state.lock();
            match &*state {
                State { last: Some((ended, last)), .. } if ended.elapsed() < self.fresh_for => {
                    return Some(last.clone());
                }
                // One that was dropped with the tasks has no sender.
                State { running: Some(running), .. } if running.has_changed().is_ok() => running.clone(),
                _ => state.running.insert(self.begin(find())).clone(),
            }
        };
        let found = found.wait_for(Option::is_some);
        tokio::time::timeout(limit, found).await.ok()?.ok()?.clone()
    }

    fn begin(
        self: &Arc<Self>,
        find: impl Future<Output = T> + Send + 'static,
    ) -> watch::Receiver<Option<Arc<T>>> {
        let (sender, receiver) = watch::channel(None);
        let this = self.clone();
        self.tasks.spawn_until_stopped("health", async move {
            let found = Arc::new(find.await);
            *this.state.lock() = State { last: Some((this.clock.now(), found.clone())), running: None };
            sender.send_replace(Some(found));
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LIMIT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_begin_one_round() {
        let rounds = Rounds::new(Clock::default(), &Tasks::new(), Duration::from_secs(2));
        let begun = Arc::new(AtomicUsize::new(0));
        let find = || {
            let begun = begun.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                begun.fetch_add(1, Ordering::Relaxed) + 1
            }
        };
        // The one that began it goes away.
        assert_eq!(rounds.get(Duration::from_millis(1), find).await, None);
        let asked = (0..500).map(|_| rounds.get(LIMIT, find));
        let answers = futures_join(asked).await;
        assert!(answers.iter().all(|answer| answer.as_deref() == Some(&1)), "{answers:?}");
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rounds.get(LIMIT, find).await.as_deref(), Some(&1), "it is kept for a moment");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rounds.get(LIMIT, find).await.as_deref(), Some(&2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_does_not_end_holds_nobody() {
        let tasks = Tasks::new();
        let rounds = Rounds::<u32>::new(Clock::default(), &tasks, Duration::from_secs(2));
        assert_eq!(rounds.get(LIMIT, std::future::pending::<u32>).await, None);
        tasks.drain(LIMIT).await.unwrap();
        // It ended with the tasks, and nobody waits for its like again.
        assert_eq!(rounds.get(Duration::MAX, || async { 1 }).await, None);
    }

    async fn futures_join<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let mut pending: Vec<_> = work.map(Box::pin).collect();
        let mut found = Vec::new();
        for future in &mut pending {
            found.push(future.await);
        }
        found
    }
}
