//! The loads that are under way in this process, one for each key.

use banyan_core::{Result, TraceContext};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tokio::sync::watch;

/// What a load came to.
type Loaded = Result<Option<Bytes>>;

/// What a load came to, as soon as it has ended.
#[derive(Clone)]
pub(crate) struct Outcome(watch::Receiver<Option<Loaded>>);

#[derive(Default)]
pub(crate) struct Flights(Arc<Mutex<Routes>>);

#[derive(Default)]
struct Routes {
    number: u64,
    by_key: HashMap<String, UnderWay>,
}

struct UnderWay {
    number: u64,
    outcome: Outcome,
    /// The span of who loads, if it is recorded.
    span: Option<TraceContext>,
}

/// Whether the caller loads, or waits for who does.
pub(crate) enum Join {
    Lead(Flight),
    /// Another caller loads, in that span.
    Follow(Outcome, Option<TraceContext>),
}

/// A load under way. It ends when it lands, or is dropped without an outcome (by a panic, or because it was not made);
/// those who wait are told.
pub(crate) struct Flight {
    of: Arc<Mutex<Routes>>,
    key: String,
    number: u64,
    outcome: watch::Sender<Option<Loaded>>,
}

impl Flights {
    /// Joins the load of `key`, or begins one.
    pub(crate) fn join(&self, key: &str) -> Join {
        let mut routes = self.0.lock();
        routes.number += 1;
        let number = routes.number;
        match routes.by_key.entry(key.to_owned()) {
            Entry::Occupied(under_way) => Join::Follow(under_way.get().outcome.clone(), under_way.get().span),
            Entry::Vacant(place) => {
                let (outcome, receiver) = watch::channel(None);
                place.insert(UnderWay { number, outcome: Outcome(receiver), span: None });
                Join::Lead(Flight { of: Arc::clone(&self.0), key: key.to_owned(), number, outcome })
            }
        }
    }

    /// Lets nobody join the load of `key` any more; who has joined still gets its outcome.
    pub(crate) fn detach(&self, key: &str) {
        self.0.lock().by_key.remove(key);
    }
}

impl Flight {
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome(self.outcome.subscribe())
    }

    /// Tells those who join from now on in which span the load is done.
    pub(crate) fn begun(&self, span: Option<TraceContext>) {
        let mut routes = self.of.lock();
        if let Some(ours) = routes.by_key.get_mut(&self.key).filter(|ours| ours.number == self.number) {
            ours.span = span;
        }
    }

    /// Ends the load: later callers begin anew.
    pub(crate) fn land(self, outcome: Loaded) {
        // First: who has the outcome and asks again does not get it again.
        self.leave();
        self.outcome.send_replace(Some(outcome));
    }

    fn leave(&self) {
        let mut routes = self.of.lock();
        if routes.by_key.get(&self.key).is_some_and(|ours| ours.number == self.number) {
            routes.by_key.remove(&self.key);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Outcome {
    /// Waits for the end of the load; `None` if it ended without an outcome.
    pub(crate) async fn landed(mut self) -> Option<Loaded> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(flights: &Flights) -> Flight {
        match flights.join("key") {
            Join::Lead(flight) => flight,
            Join::Follow(..) => panic!("somebody else leads"),
        }
    }

    fn follow(flights: &Flights) -> Outcome {
        match flights.join("key") {
            Join::Follow(outcome, _) => outcome,
            Join::Lead(_) => panic!("nobody leads"),
        }
    }

    #[tokio::test]
    async fn all_that_joined_get_the_outcome_and_the_next_begins_anew() {
        let flights = Flights::default();
        let flight = lead(&flights);
        let (first, second) = (follow(&flights), follow(&flights));
        flight.land(Ok(Some(Bytes::from_static(b"1"))));
        assert_eq!(first.landed().await.unwrap().unwrap(), second.landed().await.unwrap().unwrap());
        let again = lead(&flights);
        let waiting = follow(&flights);
        drop(again);
        assert!(waiting.landed().await.is_none());
        assert!(flights.0.lock().by_key.is_empty());
    }

    #[tokio::test]
    async fn nobody_joins_what_was_detached_and_its_end_leaves_the_next_alone() {
        let flights = Flights::default();
        let old = lead(&flights);
        flights.detach("key");
        let new = lead(&flights);
        old.land(Ok(None));
        let waiting = follow(&flights);
        new.land(Ok(Some(Bytes::new())));
        assert!(waiting.landed().await.unwrap().unwrap().is_some());
    }
}
