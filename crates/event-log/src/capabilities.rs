//! What a provider of the event log guarantees beyond the least that every one does.
//!
//! Every provider keeps what it acknowledged, delivers at least once, keeps the order of a key under retries and
//! rebalances, and shares partitions among the members of a group. The rest is declared here: a system says what it
//! needs and is refused at its start if the provider it is configured for lacks it.

use banyan_core::{Error, Reason, Result};
use std::fmt;

/// The configured event log does not guarantee something that is needed.
pub const CAPABILITY_MISSING: Reason = Reason::new("CAPABILITY_MISSING");

/// One guarantee that an event log may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Capability {
    /// A group can be moved to the start, the end or an offset of a topic while it has no members.
    ReplayOffset,
    /// A group can be moved to a point in time.
    ReplayTime,
    /// A group can be moved while it has members; what they had fetched before cannot be committed any more.
    LiveSeek,
    /// A member that lost its partition cannot commit there any more, also if it does not know of the loss.
    CommitFencing,
    /// A member that joins under the name of another takes its place at once.
    MemberTakeover,
    /// A partition changes hands only after its owner was told and could commit; the others are not disturbed.
    CooperativeRebalance,
    /// `groups()` tells who is in a group and what each member owns.
    MemberVisibility,
    /// The offsets of a partition start at 0 and have no gaps.
    ContiguousOffsets,
    /// An event that is published again under its id, within the provider's window, is kept once and in its place.
    Deduplication,
    /// A call of `publish` keeps all of its events or none.
    AtomicPublish,
}

impl Capability {
    pub const ALL: [Self; 10] = [
        Self::ReplayOffset,
        Self::ReplayTime,
        Self::LiveSeek,
        Self::CommitFencing,
        Self::MemberTakeover,
        Self::CooperativeRebalance,
        Self::MemberVisibility,
        Self::ContiguousOffsets,
        Self::Deduplication,
        Self::AtomicPublish,
    ];

    /// Returns the name used in messages, in configuration and in the published matrix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReplayOffset => "replay-offset",
            Self::ReplayTime => "replay-time",
            Self::LiveSeek => "live-seek",
            Self::CommitFencing => "commit-fencing",
            Self::MemberTakeover => "member-takeover",
            Self::CooperativeRebalance => "cooperative-rebalance",
            Self::MemberVisibility => "member-visibility",
            Self::ContiguousOffsets => "contiguous-offsets",
            Self::Deduplication => "deduplication",
            Self::AtomicPublish => "atomic-publish",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one provider guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    provider: &'static str,
    held: u32,
}

impl Capabilities {
    /// Declares what `provider` (a word as in `embedded`, `nats`) has.
    pub const fn new(provider: &'static str, held: &[Capability]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < held.len() {
            bits |= held[at].bit();
            at += 1;
        }
        Self { provider, held: bits }
    }

    /// Returns the same guarantees under another provider's name.
    pub const fn named(self, provider: &'static str) -> Self {
        Self { provider, held: self.held }
    }

    /// Returns the provider's name.
    pub const fn provider(&self) -> &'static str {
        self.provider
    }

    /// Returns whether the provider guarantees this.
    pub const fn has(&self, capability: Capability) -> bool {
        self.held & capability.bit() != 0
    }

    /// Returns which of `needed` the provider lacks.
    pub fn missing(&self, needed: &[Capability]) -> Vec<Capability> {
        needed.iter().copied().filter(|&c| !self.has(c)).collect()
    }

    /// Refuses the provider if it lacks anything of `needed`: what a system checks at its start, and what a provider
    /// answers a call with that would need it.
    ///
    /// # Errors
    /// [`banyan_core::Code::FailedPrecondition`] with [`CAPABILITY_MISSING`], naming what is missing.
    pub fn require(&self, needed: &[Capability]) -> Result<()> {
        let missing = self.missing(needed);
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = missing.iter().map(|c| c.name()).collect();
        let message = format!("the event log {} lacks: {}", self.provider, names.join(", "));
        Err(Error::failed_precondition(CAPABILITY_MISSING, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let some = Capabilities::new("some", &[Capability::ReplayOffset, Capability::AtomicPublish]);
        assert!(some.require(&[Capability::AtomicPublish, Capability::ReplayOffset]).is_ok());
        let error = some.require(&Capability::ALL).expect_err("most are missing");
        assert!(error.is(CAPABILITY_MISSING));
        assert!(error.message().starts_with("the event log some lacks: replay-time, live-seek, "), "{error}");
        assert!(!error.message().contains("atomic-publish"));
    }
}
