//! What may be committed: the offset below which everything is done. No I/O.

use std::collections::BTreeSet;

/// The progress in one partition.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    /// Fetched and not done.
    pending: BTreeSet<u64>,
    /// The offset after the last one fetched.
    next: u64,
    committed: u64,
}

impl Offsets {
    pub(super) fn fetched(&mut self, offset: u64) {
        if self.next == 0 {
            self.committed = offset;
        }
        self.pending.insert(offset);
        self.next = self.next.max(offset + 1);
    }

    pub(super) fn done(&mut self, offset: u64) {
        self.pending.remove(&offset);
    }

    /// Returns the offset to commit, if it has moved since [`Offsets::committed`].
    pub(super) fn to_commit(&self) -> Option<u64> {
        let low = self.pending.first().copied().unwrap_or(self.next);
        (low > self.committed).then_some(low)
    }

    pub(super) fn committed(&mut self, offset: u64) {
        self.committed = offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_gapless_prefix_is_committed() {
        let mut offsets = Offsets::default();
        (5..9).for_each(|offset| offsets.fetched(offset));
        offsets.done(6);
        assert_eq!(offsets.to_commit(), None);
        offsets.done(5);
        assert_eq!(offsets.to_commit(), Some(7));
        offsets.committed(7);
        assert_eq!(offsets.to_commit(), None);
        offsets.done(8);
        offsets.done(7);
        assert_eq!(offsets.to_commit(), Some(9));
    }
}
