//! Rate limits.

use super::{soon, unique, until};
use crate::{Decision, Quota, RateLimitStore, TAKES_MAX, Take};
use banyan_core::{Code, Tasks};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// So long that no room comes back while a test runs.
const DAY: Duration = Duration::from_secs(86_400);

fn quota(limit: u32, window: Duration) -> Quota {
    Quota::new(limit, window).expect("it is in bounds")
}

async fn take(limits: &dyn RateLimitStore, key: &str, quota: Quota, cost: u32) -> Decision {
    limits.take(key, quota, cost).await.expect("the store answers")
}

/// Many ask at the same time: the limit is admitted, no more and no less; other keys are untouched.
pub async fn a_limit_is_shared_by_all_that_ask_at_once(limits: Arc<dyn RateLimitStore>) {
    const ASKING: u32 = 60;
    const LIMIT: u32 = 17;
    let key = unique("key");
    let (tasks, (answers, mut answered)) = (Tasks::new(), mpsc::channel(ASKING as usize));
    for _ in 0..ASKING {
        let (limits, key, answers) = (Arc::clone(&limits), key.clone(), answers.clone());
        tasks.spawn("ask", async move {
            let decision = take(&*limits, &key, quota(LIMIT, DAY), 1).await;
            answers.send(decision).await.expect("the test listens");
        });
    }
    let mut left = Vec::new();
    for _ in 0..ASKING {
        let decision = soon("an answer", answered.recv()).await.expect("each sends its answer");
        assert_eq!(decision.retry_after.is_none(), decision.admitted);
        if decision.admitted {
            left.push(decision.remaining);
        }
    }
    left.sort_unstable();
    assert_eq!(left, (0..LIMIT).collect::<Vec<_>>());
    assert!(take(&*limits, &unique("other"), quota(LIMIT, DAY), 1).await.admitted);
}

/// A refused request leaves things as they are.
pub async fn what_is_refused_costs_nothing(limits: Arc<dyn RateLimitStore>) {
    let (key, quota) = (unique("key"), quota(10, DAY));
    assert_eq!(take(&*limits, &key, quota, 8).await.remaining, 2);
    for _ in 0..5 {
        let refused = take(&*limits, &key, quota, 3).await;
        assert_eq!((refused.admitted, refused.remaining), (false, 2));
        let after = refused.retry_after.expect("it is refused");
        assert!(after > Duration::ZERO && after <= DAY / 10, "{after:?}");
        assert!(refused.reset > DAY * 7 / 10 && refused.reset <= DAY * 8 / 10, "{refused:?}");
    }
    assert_eq!(take(&*limits, &key, quota, 2).await.remaining, 0);
}

/// A request under several keys is counted under all of them or under none.
pub async fn several_keys_count_together(limits: Arc<dyn RateLimitStore>) {
    let (narrow, wide) = (unique("narrow"), unique("wide"));
    let ask = async |cost: u32| {
        let takes = [
            Take { key: &narrow, quota: quota(2, DAY), cost },
            Take { key: &wide, quota: quota(10, DAY), cost },
        ];
        let decisions = limits.take_all(&takes).await.expect("the store answers");
        decisions.iter().map(|decision| (decision.admitted, decision.remaining)).collect::<Vec<_>>()
    };
    assert_eq!(ask(1).await, [(true, 1), (true, 9)]);
    assert_eq!(ask(1).await, [(true, 0), (true, 8)]);
    for _ in 0..3 {
        assert_eq!(ask(1).await, [(false, 0), (true, 8)]);
    }
    assert_eq!(ask(0).await, [(true, 0), (true, 8)]);
    assert_eq!(limits.take_all(&[]).await.expect("nothing is refused"), []);
    let takes = [Take { key: &narrow, quota: quota(2, DAY), cost: 0 }; TAKES_MAX + 1];
    assert_eq!(limits.take_all(&takes).await.expect_err("too many").code(), Code::InvalidArgument);
}

/// A cost is taken at once, and a cost of nothing only looks.
pub async fn a_cost_counts_that_often(limits: Arc<dyn RateLimitStore>) {
    let (key, quota) = (unique("key"), quota(10, DAY));
    let look = take(&*limits, &key, quota, 0).await;
    assert_eq!((look.admitted, look.remaining, look.reset, look.limit), (true, 10, Duration::ZERO, 10));
    assert_eq!(take(&*limits, &key, quota, 4).await.remaining, 6);
    assert_eq!(take(&*limits, &key, quota, 0).await.remaining, 6);
    assert_eq!(take(&*limits, &key, quota, 6).await.remaining, 0);
    assert!(!take(&*limits, &key, quota, 1).await.admitted);
    assert!(take(&*limits, &key, quota, 0).await.admitted);
}

/// What is never admitted is the caller's mistake.
pub async fn a_wrong_cost_is_refused(limits: Arc<dyn RateLimitStore>) {
    let key = unique("key");
    for refusal in [
        limits.take(&key, quota(10, DAY), 11).await,
        limits.take("", quota(10, DAY), 1).await,
        limits.take(&"x".repeat(crate::KEY_BYTES_MAX + 1), quota(10, DAY), 1).await,
    ] {
        assert_eq!(refusal.expect_err("it is refused").code(), Code::InvalidArgument);
    }
}

/// A key that was filled under a larger quota is full under a smaller one, and no fuller.
pub async fn a_smaller_quota_holds_at_once(limits: Arc<dyn RateLimitStore>) {
    let key = unique("key");
    assert!(take(&*limits, &key, quota(10, DAY), 10).await.admitted);
    let smaller = quota(10, Duration::from_secs(1));
    let full = take(&*limits, &key, smaller, 1).await;
    assert_eq!((full.admitted, full.remaining), (false, 0));
    assert!(full.reset <= smaller.window(), "{full:?}");
}

/// Room comes back with time.
pub async fn room_comes_back(limits: Arc<dyn RateLimitStore>) {
    let (key, quota) = (unique("key"), quota(4, Duration::from_secs(2)));
    assert!(take(&*limits, &key, quota, 4).await.admitted);
    until("one is admitted", async || take(&*limits, &key, quota, 1).await, |d| d.admitted).await;
    until("all is there again", async || take(&*limits, &key, quota, 0).await, |d| d.remaining == 4).await;
}
