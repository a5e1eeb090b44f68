//! Background work with an owner: it can be told to stop, and waited for.

use crate::BoxFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks that stop together. Cheap to clone; every clone is the same group.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// The group that this one stops with, and that waits for its tasks too.
    parent: Option<Arc<Tasks>>,
}

/// How many tasks had not ended when the wait was over.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfinished(pub usize);

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a group that stops with this one, or earlier by itself. Who drains this group waits for the other's tasks too.
    pub fn child(&self) -> Self {
        let parent = Some(Arc::new(self.clone()));
        Self { tracker: TaskTracker::new(), stop: self.stop.child_token(), parent }
    }

    /// Runs `work` in the background. It is expected to end soon after [`Tasks::stopping`]; a panic is logged.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(name, Box::pin(work));
    }

    /// Not generic: what a task costs the compiler is paid once, and not for every kind of work in every crate.
    fn spawn_boxed(&self, name: &'static str, mut work: BoxFuture<'static, ()>) {
        let above: Vec<_> = self.above().map(|group| group.tracker.token()).collect();
        self.tracker.spawn(async move {
            let _above = above;
            let ended = std::future::poll_fn(|poller| {
                match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(poller))) {
                    Ok(polled) => polled.map(Ok),
                    Err(panic) => Poll::Ready(Err(panic)),
                }
            });
            if ended.await.is_err() {
                tracing::error!(task = name, "a background task panicked");
            }
        });
    }

    /// Runs `work` in the background and drops it as soon as the group stops: for work that is safe to drop anywhere.
    pub fn spawn_until_stopped(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (stop, work): (_, BoxFuture<'static, ()>) = (self.stop.clone(), Box::pin(work));
        self.spawn_boxed(
            name,
            Box::pin(async move {
                stop.run_until_cancelled(work).await;
            }),
        );
    }

    /// Returns the groups that this one belongs to.
    fn above(&self) -> impl Iterator<Item = &Tasks> {
        std::iter::successors(self.parent.as_deref(), |group| group.parent.as_deref())
    }

    /// Asks every task of the group to end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until the group is asked to end.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Asks every task to end and waits for that, at most `limit`.
    ///
    /// # Errors
    /// [`Unfinished`] with the number of tasks still running.
    pub async fn drain(&self, limit: Duration) -> Result<(), Unfinished> {
        self.stop();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.map_err(|_| Unfinished(self.tracker.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_tasks_that_obey_and_reports_those_that_do_not() {
        let tasks = Tasks::new();
        let obeying = tasks.clone();
        tasks.spawn("obeys", async move { obeying.stopping().await });
        assert_eq!(tasks.drain(Duration::from_secs(1)).await, Ok(()));

        let tasks = Tasks::new();
        tasks.spawn("hangs", std::future::pending());
        assert!(tasks.drain(Duration::from_secs(1)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_the_tasks_of_groups_below() {
        let tasks = Tasks::new();
        let below = tasks.child().child();
        let ending = below.clone();
        below.spawn("ends slowly", async move {
            ending.stopping().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        });
        assert_eq!(tasks.drain(Duration::from_millis(999)).await, Err(Unfinished(1)));
        assert_eq!(tasks.drain(Duration::from_secs(1)).await, Ok(()));
        assert!(below.is_stopping());

        // The other way round, a group below ends by itself.
        let tasks = Tasks::new();
        let below = tasks.child();
        tasks.spawn("goes on", std::future::pending());
        assert_eq!(below.drain(Duration::from_secs(1)).await, Ok(()));
        assert!(!tasks.is_stopping());
    }
}
