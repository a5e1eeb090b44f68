//! When a system is at rest: every event handled, every outbox empty, no saga on its way.

use crate::{TestSystem, until};
use banyan::saga::SagaFilter;
use std::collections::BTreeMap;

/// What moves when anything happens: commits of the stores and the ends of the log's partitions.
#[derive(PartialEq)]
struct Activity {
    commits: BTreeMap<&'static str, u64>,
    ends: Vec<u64>,
}

impl TestSystem {
    /// Waits until the services that run have nothing left to do: all their events are handled, those they published
    /// in turn too, and no saga runs. Timers are not waited for.
    ///
    /// # Panics
    /// If they are not at rest within [`crate::WAIT_MAX`].
    pub async fn settled(&self) {
        until("the system to come to rest", async || {
            // Between two looks at the same activity nothing has moved from one place to another.
            let before = self.activity().await;
            !self.has_lag().await
                && !self.has_unsent().await
                && !self.has_sagas().await
                && before == self.activity().await
        })
        .await;
    }

    async fn activity(&self) -> Activity {
        let topics = self.log().topics().await.expect("the log is open");
        let ends = topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.end_offset).collect();
        Activity { commits: self.process().commits().await, ends }
    }

    async fn has_lag(&self) -> bool {
        let known = self.log().groups().await.expect("the log is open");
        let groups = self.process().groups().await;
        groups.values().flatten().any(|name| {
            // A group that has not been joined yet is not known.
            known.iter().find(|group| group.group == *name).is_none_or(|group| group.lag() > 0)
        })
    }

    async fn has_unsent(&self) -> bool {
        self.process().unsent().await.values().any(|unsent| *unsent > 0)
    }

    async fn has_sagas(&self) -> bool {
        for (name, sagas) in self.process().sagas().await {
            for state in ["RUNNING", "COMPENSATING"] {
                let filter = SagaFilter::new(state, 1).expect("there is such a state");
                let found = sagas.list(&self.as_service(name), filter).await.expect("the store is open");
                if !found.is_empty() {
                    return true;
                }
            }
        }
        false
    }
}
