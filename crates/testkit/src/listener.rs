//! What services announce, as a test hears it.

use crate::WAIT_MAX;
use banyan::core::{Envelope, Event};
use banyan::event_log::Subscription;

/// Hears one topic; see [`crate::TestSystem::listen`]. Events of one key come in order.
pub struct Listener(Box<dyn Subscription>);

impl Listener {
    pub(crate) fn new(subscription: Box<dyn Subscription>) -> Self {
        Self(subscription)
    }

    /// Waits for the next event.
    ///
    /// # Panics
    /// If there is none within [`WAIT_MAX`].
    pub async fn next(&mut self) -> Envelope {
        loop {
            let next = tokio::time::timeout(WAIT_MAX, self.0.next(1)).await;
            let deliveries = next.expect("an announcement is missing").expect("the log can be read");
            if let Some(delivery) = deliveries.into_iter().next() {
                return delivery.envelope;
            }
        }
    }

    /// Waits for the next event, which has to be an `E`.
    ///
    /// # Panics
    /// If it is another, or there is none within [`WAIT_MAX`].
    pub async fn next_of<E: Event>(&mut self) -> E {
        let envelope = self.next().await;
        envelope.decode().unwrap_or_else(|_| panic!("expected {}, heard {}", E::TYPE, envelope.event_type))
    }
}
