//! A cache in this process's memory hears of every change, whichever process of the service makes it.

use crate::host::EventHandler;
use banyan_core::{Backoff, Context, Env, Error, Identity, Result, Tasks};
use banyan_event_log::{EventLog, StartAt, Subscription, SubscriptionSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Events that are taken in at once.
const BATCH_MAX: usize = 256;

/// Reads one topic in a group of this process alone and hands the events of one type on.
pub(crate) struct Listener {
    pub(crate) service: &'static str,
    pub(crate) cache: String,
    pub(crate) topic: &'static str,
    pub(crate) event_type: &'static str,
    pub(crate) handler: EventHandler,
    /// Empties the cache: after it, what was missed does not matter.
    pub(crate) forget: Arc<dyn Fn() + Send + Sync>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) env: Env,
}

impl Listener {
    /// Begins to listen; every event that is published after this returns is heard.
    ///
    /// # Errors
    /// If the topic cannot be subscribed to.
    pub(crate) async fn start(self, tasks: &Tasks) -> Result<()> {
        let instance = self.env.new_id();
        let group = format!("{}.{}.{instance}", self.cache, self.event_type);
        let spec = SubscriptionSpec {
            start: StartAt::End,
            durable: false,
            ..SubscriptionSpec::new(&group, [self.topic], &instance)
        };
        let subscription = self.log.subscribe(spec.clone()).await?;
        tasks.spawn_until_stopped("invalidate a cache", self.listen(subscription, spec));
        Ok(())
    }

    async fn listen(self, mut subscription: Box<dyn Subscription>, spec: SubscriptionSpec) {
        let mut failures = 0;
        loop {
            let error = match self.take_in(&mut *subscription).await {
                Ok(()) => {
                    failures = 0;
                    continue;
                }
                Err(error) => error,
            };
            failures += 1;
            tracing::warn!(
                cache = self.cache,
                ?error,
                failures,
                "the changes of what is cached cannot be read"
            );
            // Until they can be read again nothing that was cached before is served for long.
            (self.forget)();
            tokio::time::sleep(Backoff::default().delay(failures, &self.env.rng)).await;
            if let Ok(again) = self.log.subscribe(spec.clone()).await {
                subscription = again;
                // What happened in between was missed.
                (self.forget)();
            }
        }
    }

    async fn take_in(&self, subscription: &mut dyn Subscription) -> Result<(), Error> {
        let mut taken_in = BTreeMap::new();
        for delivery in subscription.next(BATCH_MAX).await? {
            taken_in.insert(delivery.position.partition, delivery.position.offset + 1);
            if delivery.envelope.event_type == self.event_type {
                let cx = Context::new(&self.env, Identity::service(self.service))
                    .with_correlation_id(&delivery.envelope.correlation_id);
                (self.handler)(cx, delivery).await?;
            }
        }
        // Nobody reads on from there; but whoever looks at the groups sees that nothing waits.
        for (partition, next_offset) in taken_in {
            subscription.commit(self.topic, partition, next_offset).await?;
        }
        Ok(())
    }
}
