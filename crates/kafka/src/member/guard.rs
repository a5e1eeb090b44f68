//! The end of a membership: by dropping the subscription, by silence, or by closing the log.

use super::context::{Change, Changes};
use super::{Consumer, Member, commits};
use crate::groups;
use crate::topics::{TopicPartition, list_of};
use banyan_core::Result;
use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long a member tries to leave its group before its session is left to end by itself.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
/// How often a leaving member looks whether it is out.
const LEAVE_POLL: Duration = Duration::from_millis(10);

/// Watches a member in the background until its end, and then lets it leave.
pub(super) fn watch(member: &Arc<Member>) {
    let tasks = member.shared.tasks.clone();
    let runtime = member.shared.runtime.clone();
    let member = Arc::clone(member);
    let _inside = runtime.enter();
    tasks.spawn_until_stopped("kafka-commits", commits::write_behind(Arc::clone(&member)));
    tasks.spawn("kafka-member", async move {
        end_of(&member).await;
        let left = leave(&member).await;
        if let Err(error) = left {
            tracing::debug!(%error, group = member.group, "a member did not leave its group; its session will end");
        }
    });
}

/// Waits until the member is to leave.
async fn end_of(member: &Member) {
    let tasks = &member.shared.tasks;
    loop {
        let ended = member.ended.notified();
        let silent_at = {
            let state = member.state.lock();
            if state.fenced().is_some() {
                return;
            }
            state.silent_at(member.shared.env.clock.now(), member.session_timeout)
        };
        tokio::select! {
            () = ended => continue,
            () = tasks.stopping() => drop(member.fence("the event log is closed")),
            () = sleep_until(silent_at) => {
                let now = member.shared.env.clock.now();
                if member.state.lock().silent_at(now, member.session_timeout) <= now {
                    member.fence("it was silent for its session timeout");
                }
            }
        }
    }
}

/// Leaves the group, so that the partitions go to others at once, and ends the client.
///
/// librdkafka lets a static member leave only when it unsubscribes, not when it is closed; so it unsubscribes, and is
/// closed when the broker has noticed.
async fn leave(member: &Arc<Member>) -> Result<()> {
    let Some(consumer) = member.consumer.lock().take() else { return Ok(()) };
    let owned = member.state.lock().partitions();
    let closing = Closing { consumer: Some(consumer), changes: Arc::clone(&member.changes), owned };
    member.ended.notify_waiters();
    let until = member.shared.env.clock.now() + LEAVE_LIMIT;
    let leaving = Arc::clone(member);
    let unsubscribing = member.shared.blocking(move |_| {
        let Some(consumer) = &closing.consumer else { return Ok((false, closing)) };
        leaving.write_last_commits(consumer);
        Ok((unsubscribe(consumer, &closing.changes, &closing.owned)?, closing))
    });
    let (to_notice, closing) = unsubscribing.await?;
    if let Some(consumer) = closing.consumer.as_ref().filter(|_| to_notice) {
        await_gone(member, consumer, until).await;
    }
    drop(closing);
    if !member.durable {
        groups::forget(&member.shared, &member.group).await?;
    }
    Ok(())
}

/// The client of a member that leaves. It ends on a thread of its own, also when the runtime ends first: a client that
/// has not answered everything before it is closed is never closed.
struct Closing {
    consumer: Option<Arc<Consumer>>,
    changes: Arc<Changes>,
    owned: Vec<TopicPartition>,
}

/// Answers what is open of a rebalance and unsubscribes; returns whether the broker is to notice. Blocks.
fn unsubscribe(consumer: &Consumer, changes: &Changes, owned: &[TopicPartition]) -> Result<bool> {
    let _answering = changes.answering.lock();
    for change in changes.leave() {
        let (assigned, partitions) = match &change {
            Change::Assigned(partitions) => (true, &**partitions),
            Change::Revoked(partitions) => (false, &**partitions),
            Change::Lost => (false, owned),
        };
        let list = list_of(partitions, Offset::Invalid)?;
        let answered =
            if assigned { consumer.incremental_assign(&list) } else { consumer.incremental_unassign(&list) };
        if let Err(error) = answered {
            // A client that broke down has no assignment to answer for.
            tracing::debug!(%error, "a leaving member could not answer a rebalance");
        }
    }
    let broken = consumer.client().fatal_error().is_some();
    consumer.unsubscribe();
    Ok(!broken)
}

impl Drop for Closing {
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        let (changes, owned) = (Arc::clone(&self.changes), std::mem::take(&mut self.owned));
        let end = move || {
            if let Err(error) = unsubscribe(&consumer, &changes, &owned) {
                tracing::debug!(%error, "a client of Kafka ends without leaving its group");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("kafka-end".into()).spawn(end) {
            tracing::warn!(%error, "there is no thread to end a client of Kafka");
        }
    }
}

impl Drop for Member {
    /// Ends the client of a member that had no time to leave, because its runtime is gone.
    fn drop(&mut self) {
        let consumer = self.consumer.get_mut().take();
        let owned = self.state.get_mut().partitions();
        drop(Closing { consumer, changes: Arc::clone(&self.changes), owned });
    }
}

/// Serves the client until the group does not list it any more.
async fn await_gone(member: &Arc<Member>, consumer: &Consumer, until: Instant) {
    while member.shared.env.clock.now() < until {
        let pause = member.shared.env.clock.now() + LEAVE_POLL;
        while timeout_at(pause, consumer.recv()).await.is_ok() {}
        if consumer.assignment().is_ok_and(|list| list.count() > 0) {
            continue;
        }
        let (group, name) = (member.group.clone(), member.name.clone());
        let gone = member.shared.blocking(move |shared| shared.is_gone(&group, &name)).await;
        if gone.unwrap_or(false) {
            return;
        }
    }
}
