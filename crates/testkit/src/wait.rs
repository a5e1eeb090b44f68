//! Bounded waiting for what offers no event to wait for.

use std::time::Duration;

/// How long a test waits for anything before it fails.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(3);

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not within [`WAIT_MAX`]; the message names `what` was waited for.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    eventually(what, async || condition().await.then_some(())).await;
}

/// Waits until `find` finds something, and returns it.
///
/// # Panics
/// If it does not within [`WAIT_MAX`]; the message names `what` was waited for.
pub async fn eventually<T>(what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = find().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    match tokio::time::timeout(WAIT_MAX, found).await {
        Ok(found) => found,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_is_returned() {
        let mut looks = 0;
        let found = eventually("the third look", async || {
            looks += 1;
            (looks == 3).then_some("there")
        });
        assert_eq!(found.await, "there");
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "waited in vain for the moon")]
    async fn waiting_ends() {
        until("the moon", async || false).await;
    }
}
