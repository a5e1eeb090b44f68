//! What the parts of a process have at the moment: they are asked when somebody measures, so that nothing is spent on it
//! while they work.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Weak};

/// Parts of a process that are asked; what is more is not measured.
const SOURCES_MAX: usize = 4_096;
/// Numbers that are told at a time; what is more is left out.
const READINGS_MAX: usize = 2_000;

/// A number with its name and labels, by `docs/specs/telemetry.md`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub name: &'static str,
    /// `service.name` and what tells this one from others of its name.
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
    /// Whether it only grows.
    pub counter: bool,
}

/// Takes what one part tells.
pub struct Readings<'a> {
    service: &'a str,
    taken: &'a mut BTreeMap<Key, Taken>,
}

type Key = (&'static str, Vec<(&'static str, String)>);
type Ask = dyn Fn(&mut Readings<'_>) + Send + Sync;

struct Taken {
    value: f64,
    counter: bool,
}

/// Keeps a part among those that are asked, until it is dropped.
#[must_use = "a part that has dropped it is not asked"]
#[derive(Default)]
pub struct Measured(#[expect(dead_code, reason = "it is kept for its drop")] Option<Arc<Ask>>);

/// The parts of a process that are asked.
#[derive(Default)]
pub struct Sources(Mutex<Vec<(&'static str, Weak<Ask>)>>);

impl Readings<'_> {
    /// Tells how much there is of something.
    pub fn gauge(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.put(name, labels, value, false);
    }

    /// Tells how much there was in all.
    pub fn counter(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.put(name, labels, value, true);
    }

    /// Parts that have the same name for what they have, have it together.
    fn put(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64, counter: bool) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let service = ("service.name", self.service.to_owned());
        let full = self.taken.len() >= READINGS_MAX;
        match self.taken.entry((name, std::iter::once(service).chain(labels).collect())) {
            Entry::Occupied(mut told) => told.get_mut().value += value,
            Entry::Vacant(_) if full => {}
            Entry::Vacant(new) => drop(new.insert(Taken { value, counter })),
        }
    }
}

impl Sources {
    /// Asks every part.
    pub fn read(&self) -> Vec<Reading> {
        let asked: Vec<_> = {
            let mut sources = self.0.lock();
            sources.retain(|(_, ask)| ask.strong_count() > 0);
            sources.iter().filter_map(|(service, ask)| Some((*service, ask.upgrade()?))).collect()
        };
        let mut taken = BTreeMap::new();
        for (service, ask) in &asked {
            ask(&mut Readings { service, taken: &mut taken });
        }
        let reading = |((name, labels), Taken { value, counter })| Reading { name, labels, value, counter };
        taken.into_iter().map(reading).collect()
    }

    /// Asks `ask` from now on, in the name of `service`.
    pub(crate) fn add(
        &self,
        service: &'static str,
        ask: impl Fn(&mut Readings<'_>) + Send + Sync + 'static,
    ) -> Measured {
        let mut sources = self.0.lock();
        if sources.len() >= SOURCES_MAX {
            sources.retain(|(_, ask)| ask.strong_count() > 0);
        }
        if sources.len() >= SOURCES_MAX {
            return Measured::default();
        }
        let ask: Arc<Ask> = Arc::new(ask);
        sources.push((service, Arc::downgrade(&ask)));
        Measured(Some(ask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_asked_as_long_as_it_is_there_and_equals_are_added_up() {
        let sources = Sources::default();
        let part = |size: f64| {
            sources.add("orders", move |readings| {
                readings.gauge("queue.size", &[("of", "writer")], size);
                readings.counter("commits", &[], 1.0);
            })
        };
        let (first, second) = (part(2.0), part(3.0));
        let told = || sources.read().into_iter().map(|r| (r.name, r.value, r.counter)).collect::<Vec<_>>();
        assert_eq!(told(), [("commits", 2.0, true), ("queue.size", 5.0, false)]);
        let labels = [("service.name", "orders".to_owned()), ("of", "writer".to_owned())];
        assert_eq!(sources.read()[1].labels, labels);
        drop(first);
        assert_eq!(told(), [("commits", 1.0, true), ("queue.size", 3.0, false)]);
        drop(second);
        assert!(told().is_empty() && sources.0.lock().is_empty());
    }

    #[test]
    fn what_is_too_much_is_left_out() {
        let sources = Sources::default();
        let _many = sources.add("x", |readings| {
            (0..READINGS_MAX + 5).for_each(|n| readings.gauge("n", &[("n", &n.to_string())], 1.0));
        });
        assert_eq!(sources.read().len(), READINGS_MAX);
    }
}
