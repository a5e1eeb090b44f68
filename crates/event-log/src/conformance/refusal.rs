//! What a provider does without a capability: it refuses, naming it.

use super::{Corner, Harness};
use crate::api::SeekTo;
use crate::capabilities::{CAPABILITY_MISSING, Capability};
use banyan_core::{Code, Result};

/// Asserts that the provider refuses what it lacks: at a start, and in the calls that would need it.
pub(super) async fn is_clear(harness: Harness, missing: &[Capability]) {
    let corner = Corner::new(harness);
    let capabilities = corner.log.capabilities();
    for &capability in missing {
        names(capabilities.require(&[capability]), capability);
        let group = format!("{}.group", corner.name);
        match capability {
            Capability::ReplayOffset | Capability::ReplayTime => {
                corner.configure(1).await;
                let to = if capability == Capability::ReplayTime { SeekTo::Time(0) } else { SeekTo::Start };
                names(corner.log.seek(&group, &corner.name, to).await, capability);
            }
            Capability::LiveSeek => {
                corner.configure(1).await;
                corner.publish(1, 1).await;
                let mut member = corner.join("group", "member").await;
                super::receive(member.as_mut(), 1).await;
                names(corner.log.seek(&group, &corner.name, SeekTo::Start).await, capability);
            }
            // Nobody asks for these by a call; a system that needs them asks at its start.
            Capability::CommitFencing
            | Capability::MemberTakeover
            | Capability::CooperativeRebalance
            | Capability::MemberVisibility
            | Capability::ContiguousOffsets
            | Capability::Deduplication
            | Capability::AtomicPublish => (),
        }
    }
}

fn names(refused: Result<()>, capability: Capability) {
    let error = refused.expect_err("what a provider lacks it refuses");
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    assert!(error.is(CAPABILITY_MISSING), "{error}");
    assert!(error.message().contains(capability.name()), "{error}");
}
