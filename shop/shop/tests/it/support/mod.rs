//! What every test stands on: a shop of its own as real processes, and the people who use it.

mod client;
mod customer;
mod operator;
mod process;
mod setup;

pub(crate) use client::{Answer, Ask, Client, Patience};
pub(crate) use customer::{Draft, Person, gbp, list, order_id, quickly, state};
pub(crate) use process::Shop;
pub(crate) use setup::{Setup, env_number, seed};

use banyan::core::Clock;
use std::future::Future;
use std::time::Duration;

/// How long one answer may take, and how long an impatient client tries again.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(45);
/// How long an order may take to come to its end on a busy machine: tok_timeout alone takes four seconds.
pub(crate) const END_MAX: Duration = Duration::from_secs(120);
/// How long the shop may take from its start until it serves.
pub(crate) const START_MAX: Duration = Duration::from_secs(60);
/// How long the books may take to balance after the last order came to its end.
pub(crate) const REST_MAX: Duration = Duration::from_secs(90);
/// The pauses between two looks at something that offers no event to wait for.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(200);

/// Looks again and again until `look` finds something, at most for `limit`.
///
/// # Panics
/// When nothing is found in time; `what` says what was missed.
pub(crate) async fn until<T, Fut: Future<Output = Option<T>>>(
    limit: Duration,
    what: &str,
    look: impl FnMut() -> Fut,
) -> T {
    look_again(LOOK_FIRST, LOOK_MAX, limit, what, look).await
}

/// Like [`until`], but looks every `pause`, for what does not stay.
pub(crate) async fn until_every<T, Fut: Future<Output = Option<T>>>(
    pause: Duration,
    limit: Duration,
    what: &str,
    look: impl FnMut() -> Fut,
) -> T {
    look_again(pause, pause, limit, what, look).await
}

async fn look_again<T, Fut: Future<Output = Option<T>>>(
    mut pause: Duration,
    pause_max: Duration,
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Fut,
) -> T {
    let clock = Clock::default();
    let deadline = clock.now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(clock.now() + pause < deadline, "waited {limit:?} in vain until {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(pause_max);
    }
}
