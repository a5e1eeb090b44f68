//! Groups that are moved by name.

use crate::{event, options};
use banyan_core::Code;
use banyan_event_log::{EmbeddedLog, EventLog, GroupInfo, SeekTo, SubscriptionSpec, replay};
use tempfile::TempDir;

async fn group(log: &dyn EventLog) -> GroupInfo {
    let mut groups = log.groups().await.unwrap();
    assert_eq!(groups.len(), 1, "{groups:?}");
    groups.remove(0)
}

#[tokio::test]
async fn a_group_is_moved_only_in_a_topic_that_it_reads() {
    let folder = TempDir::new().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).await.unwrap();
    log.publish(vec![event("read", "a"), event("other", "b")]).await.unwrap();
    let spec = SubscriptionSpec::new("words", ["read", "second"], "member");
    let mut member = log.subscribe(spec).await.unwrap();
    let delivered = member.next(1).await.unwrap();
    let at = delivered[0].position.clone();
    member.commit(&at.topic, at.partition, at.offset + 1).await.unwrap();
    let before = group(&log).await;

    let refused = replay(&log, "words", "other", SeekTo::Start).await.unwrap_err();
    assert_eq!((refused.code(), &*refused.violations()[0].field), (Code::InvalidArgument, "topic"));
    assert!(refused.message().contains("\"other\"; it reads read"), "{refused}");
    for (name, topic, named) in [("wrods", "read", "words"), ("words", "raed", "read")] {
        let refused = replay(&log, name, topic, SeekTo::Start).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        assert!(refused.message().contains(named), "{refused}");
    }
    // Nothing was made, and nothing moved.
    assert_eq!(group(&log).await, before);

    replay(&log, "words", "read", SeekTo::Start).await.unwrap();
    let place =
        group(&log).await.partitions.into_iter().find(|p| (&*p.topic, p.partition) == ("read", at.partition));
    assert_eq!(place.unwrap().next_offset, at.offset);
    // A group whose members have gone reads what it has read.
    drop(member);
    replay(&log, "words", "read", SeekTo::End).await.unwrap();
    assert_eq!(group(&log).await.lag(), 0);
}
