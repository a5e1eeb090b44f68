//! Who should own which partition: pure functions of the members and the present owners, for every provider that shares
//! partitions itself.

use std::collections::BTreeMap;

/// A topic's name and one of its partitions.
type TopicPartition = (String, u32);

/// Returns the token of the member that should own each partition that some member wants.
///
/// `members` are tokens with the topics they want, `owners` the present owner of every partition. Each topic is shared
/// evenly among the members that want it, give or take one; owners keep theirs where that is possible; what is left
/// goes to whoever has least in all. Everybody who knows the same gets the same.
pub fn assign(
    members: &BTreeMap<&str, &[String]>,
    owners: &BTreeMap<&TopicPartition, Option<&str>>,
) -> BTreeMap<TopicPartition, String> {
    let mut load: BTreeMap<&str, usize> = members.keys().map(|&token| (token, 0)).collect();
    let mut by_topic: BTreeMap<&str, Vec<(&TopicPartition, Option<&str>)>> = BTreeMap::new();
    for (&partition, &owner) in owners {
        by_topic.entry(&partition.0).or_default().push((partition, owner));
    }
    let mut targets = BTreeMap::new();
    for (topic, partitions) in by_topic {
        let wants = |(_, topics): &(&&str, &&[String])| topics.iter().any(|t| t == topic);
        let eligible: Vec<&str> = members.iter().filter(wants).map(|(&token, _)| token).collect();
        let (partitions, present): (Vec<_>, Vec<_>) = partitions.into_iter().unzip();
        let shared = partitions.into_iter().zip(share(&present, &eligible, &mut load));
        targets.extend(shared.filter_map(|(p, target)| Some((p.clone(), target?.to_owned()))));
    }
    targets
}

/// Shares the partitions of one topic, whose present `owners` are in order, among the `eligible` members; nobody gets any
/// if there are none. `load` is what each member has of all topics, and is brought up to date.
pub(crate) fn share<T: Copy + Ord>(
    owners: &[Option<T>],
    eligible: &[T],
    load: &mut BTreeMap<T, usize>,
) -> Vec<Option<T>> {
    let mut targets = vec![None; owners.len()];
    if eligible.is_empty() {
        return targets;
    }
    let (floor, mut extras) = (owners.len() / eligible.len(), owners.len() % eligible.len());
    let mut here: BTreeMap<T, usize> = eligible.iter().map(|&token| (token, 0)).collect();
    for (target, &owner) in targets.iter_mut().zip(owners) {
        let Some(count) = owner.and_then(|o| here.get_mut(&o)) else { continue };
        if *count < floor || (*count == floor && extras > 0) {
            extras -= usize::from(*count == floor);
            *count += 1;
            *target = owner;
        }
    }
    for target in targets.iter_mut().filter(|target| target.is_none()) {
        let has_room = |token: &&T| here[*token] < floor || (here[*token] == floor && extras > 0);
        let least =
            eligible.iter().filter(has_room).min_by_key(|token| (here[*token] + load[*token], **token));
        let Some(&token) = least else { continue };
        let count = here.entry(token).or_default();
        extras -= usize::from(*count == floor);
        *count += 1;
        *target = Some(token);
    }
    for (token, count) in here {
        *load.entry(token).or_default() += count;
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    type Owners = BTreeMap<TopicPartition, Option<String>>;

    fn assigned(members: &[(&str, &[String])], owners: &Owners) -> Owners {
        let members = members.iter().copied().collect();
        let present = owners.iter().map(|(p, o)| (p, o.as_deref())).collect();
        let targets = assign(&members, &present);
        owners.keys().map(|p| (p.clone(), targets.get(p).cloned())).collect()
    }

    fn free(topic: &str, partitions: u32) -> Owners {
        (0..partitions).map(|p| ((topic.to_owned(), p), None)).collect()
    }

    fn count(owners: &Owners, token: &str) -> usize {
        owners.values().filter(|o| o.as_deref() == Some(token)).count()
    }

    #[test]
    fn a_newcomer_gets_its_share_and_nothing_else_moves() {
        let topics = ["t".to_owned()];
        let alone = assigned(&[("a", &topics)], &free("t", 5));
        assert_eq!(count(&alone, "a"), 5);
        let both = assigned(&[("a", &topics), ("b", &topics)], &alone);
        assert_eq!((count(&both, "a"), count(&both, "b")), (3, 2));
        let again = assigned(&[("a", &topics), ("b", &topics)], &both);
        assert_eq!(again, both, "what is shared well stays");
        let three = assigned(&[("a", &topics), ("b", &topics), ("c", &topics)], &both);
        assert_eq!((count(&three, "a"), count(&three, "b"), count(&three, "c")), (2, 2, 1));
        let moved = both.iter().filter(|(p, o)| three[*p] != **o).count();
        assert_eq!(moved, 1);
    }

    #[test]
    fn the_partitions_of_the_dead_are_given_out_again() {
        let topics = ["t".to_owned()];
        let mut owners = free("t", 4);
        owners.values_mut().for_each(|o| *o = Some("dead".into()));
        let shared = assigned(&[("a", &topics), ("b", &topics)], &owners);
        assert_eq!((count(&shared, "a"), count(&shared, "b")), (2, 2));
    }

    #[test]
    fn a_member_gets_only_what_it_wants() {
        let (one, two) = (["t".to_owned()], ["u".to_owned()]);
        let mut owners = free("t", 2);
        owners.extend(free("u", 2));
        let shared = assigned(&[("a", &one), ("b", &two)], &owners);
        assert!(
            shared.iter().all(|((topic, _), o)| o.as_deref() == Some(if topic == "t" { "a" } else { "b" }))
        );
        let nobody = assigned(&[], &owners);
        assert!(nobody.values().all(Option::is_none));
    }
}
