//! Searches of the local memory: what has to be looked through, and not only looked up. Few go on at once, and each looks at
//! the latest spans only.

use crate::app::App;
use banyan_core::{Error, Result};
use banyan_telemetry::Reader;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Searches at once.
const AT_ONCE_MAX: usize = 2;
/// How long another one waits for its turn; then whoever asks is told to come back after as long.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Spans that a search looks at, the latest ones: about a second of a core.
pub(crate) const SPANS_MAX: usize = 200_000;

/// The turns of searches.
pub(crate) struct Searches(Arc<Semaphore>);

impl Default for Searches {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE_MAX)))
    }
}

impl Searches {
    /// Waits for a turn.
    ///
    /// # Errors
    /// [`banyan_core::Code::ResourceExhausted`] if none comes soon.
    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let turn = tokio::time::timeout(WAIT_MAX, self.0.clone().acquire_owned()).await;
        turn.ok().and_then(|turn| turn.ok()).ok_or_else(|| {
            let message = format!("already {AT_ONCE_MAX} searches are under way: ask again in a moment");
            Error::overloaded(message).with_retry_after(WAIT_MAX)
        })
    }
}

impl App {
    /// Asks the memory what has to be searched for, among its latest [`SPANS_MAX`] spans.
    ///
    /// # Errors
    /// Those of [`App::remember`]; [`banyan_core::Code::ResourceExhausted`] if too many others search.
    pub(crate) async fn search<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.searches.turn().await?;
        self.remember(move |memory| {
            // It is over when the search is, also if nobody waits for that any more.
            let _turn = turn;
            question(&memory.reader()?.looking_back(SPANS_MAX)?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Code;

    #[tokio::test(start_paused = true)]
    async fn who_searches_waits_for_a_turn_or_is_told_to_come_back() {
        let searches = Searches::default();
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE_MAX {
            turns.push(searches.turn().await.expect("there is one"));
        }
        let refused = searches.turn().await.expect_err("there is none");
        assert_eq!((refused.code(), refused.retry_after()), (Code::ResourceExhausted, Some(WAIT_MAX)));
        let (waited, ()) = tokio::join!(searches.turn(), async {
            tokio::time::sleep(WAIT_MAX / 2).await;
            turns.pop();
        });
        drop(waited.expect("one came"));
    }
}
