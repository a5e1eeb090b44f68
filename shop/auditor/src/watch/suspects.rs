//! What contradicts an invariant: for so long that it is broken, or for a moment only.

use crate::report::Offender;
use std::collections::{BTreeMap, BTreeSet};

/// Contradictions that are followed at a time; what is more is found when there is room again.
const SUSPECTS_MAX: usize = 20_000;

/// The contradictions of each check, by what they were found at.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    by_check: BTreeMap<&'static str, BTreeMap<String, Suspect>>,
}

#[derive(Debug)]
struct Suspect {
    since_ms: u64,
    problem: String,
}

impl Suspects {
    /// Notes what a check found when it looked at all of `looked_at`.
    pub(super) fn note<'a>(
        &mut self,
        check: &'static str,
        looked_at: impl Iterator<Item = &'a String>,
        found: Vec<Offender>,
        now_ms: u64,
    ) {
        let suspects = self.by_check.entry(check).or_default();
        let mut since: BTreeMap<String, u64> = BTreeMap::new();
        for id in looked_at {
            if let Some(suspect) = suspects.remove(id) {
                since.insert(id.clone(), suspect.since_ms);
            }
        }
        for Offender { id, problem } in found {
            if suspects.len() >= SUSPECTS_MAX {
                break;
            }
            let since_ms = since.get(&id).copied().unwrap_or(now_ms);
            suspects.entry(id).or_insert(Suspect { since_ms, problem });
        }
    }

    /// Returns everything that is under suspicion.
    pub(super) fn ids(&self) -> BTreeSet<&str> {
        self.by_check.values().flat_map(|suspects| suspects.keys().map(String::as_str)).collect()
    }

    /// Returns what has contradicted a check for `grace_ms`.
    pub(super) fn broken(&self, check: &str, now_ms: u64, grace_ms: u64) -> Vec<Offender> {
        let Some(suspects) = self.by_check.get(check) else { return Vec::new() };
        let old = suspects.iter().filter(|(_, suspect)| now_ms.saturating_sub(suspect.since_ms) >= grace_ms);
        old.map(|(id, suspect)| Offender { id: id.clone(), problem: suspect.problem.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_broken_and_what_passes_never_was() {
        let offender = |id: &str| Offender { id: id.to_owned(), problem: "no".to_owned() };
        let (all, one) = (["a".to_owned(), "b".to_owned()], ["a".to_owned()]);
        let mut suspects = Suspects::default();
        suspects.note("x", all.iter(), vec![offender("a"), offender("b")], 1_000);
        assert!(suspects.broken("x", 1_999, 1_000).is_empty());
        // Only `a` was looked at: what was found of `b` stands.
        suspects.note("x", one.iter(), vec![offender("a")], 1_500);
        assert_eq!(suspects.ids(), BTreeSet::from(["a", "b"]));
        suspects.note("x", one.iter(), Vec::new(), 1_700);
        assert_eq!(suspects.broken("x", 2_000, 1_000), [offender("b")]);
        // It contradicts again, and has its time again.
        suspects.note("x", one.iter(), vec![offender("a")], 1_900);
        assert_eq!(suspects.broken("x", 2_000, 1_000), [offender("b")]);
        assert_eq!(suspects.broken("x", 2_900, 1_000).len(), 2);
    }
}
