//! Publishing in transactions: what consumers see of one that is not committed, and what becomes of a producer that another
//! has taken the place of.

use super::{harness, options};
use banyan_core::{Env, Envelope};
use banyan_engines::{Kind, Mortal};
use banyan_event_log::conformance::{Harness, Site};
use banyan_event_log::{EventLog, ReadFrom, SubscriptionSpec, TopicConfig};
use banyan_kafka::{KafkaLog, KafkaOptions, PRODUCER_FENCED};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use std::sync::Arc;
use std::time::Duration;

/// How long anything that is expected may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Opens a log that publishes in transactions, under an id of its own.
async fn connect() -> KafkaLog {
    under(&Env::default().new_id()).await
}

async fn under(id: &str) -> KafkaLog {
    let options = KafkaOptions { transactional_id: Some(id.to_owned()), ..options().await };
    KafkaLog::connect(options, Env::default()).await.unwrap()
}

async fn open() -> (Harness, ()) {
    (harness(Arc::new(connect().await)), ())
}

/// Opens a log on a broker of its own that may be hurt.
async fn open_mortal() -> (Harness, ()) {
    const PUBLISH_LIMIT: Duration = Duration::from_secs(10);
    let kafka = Mortal::start(Kind::Kafka).await.unwrap();
    let connect = async |bootstrap: &str, id: &str| {
        let options = KafkaOptions {
            partitions_default: 4,
            transactional_id: Some(id.to_owned()),
            publish_timeout: PUBLISH_LIMIT,
            request_timeout: Duration::from_secs(5),
            ..KafkaOptions::new(bootstrap)
        };
        Arc::new(KafkaLog::connect(options, Env::default()).await.unwrap())
    };
    let log = connect(kafka.url(), "log").await;
    let witness = connect(kafka.engine().url(), "witness").await;
    // A step of a transaction may be under way when the time is up.
    let limit = PUBLISH_LIMIT + Duration::from_secs(5);
    let site = Site { faults: Arc::new(kafka), witness, publish_limit: Some(limit) };
    (Harness { site: Some(site), ..harness(log) }, ())
}

mod conformance {
    // What transactions have to do with. Offsets that a function makes up itself are other ones here.
    banyan_event_log::event_log_conformance! { super::open:
        publishing_keeps_order_within_a_key []
        offsets_have_no_gaps [ContiguousOffsets]
        what_is_not_committed_is_delivered_again []
        a_commit_never_moves_back []
        groups_are_independent []
        a_new_group_may_start_at_the_end []
        replay_from_a_time [ReplayOffset ReplayTime]
        a_silent_member_is_fenced [CommitFencing]
        members_share_partitions_and_rebalance [CooperativeRebalance]
        order_per_key_survives_retries []
        order_per_key_survives_rebalances []
        a_dead_letter_is_kept_and_redriven_to_its_group_only []
        a_request_gets_its_reply_or_its_error []
    }
    banyan_event_log::event_log_fault_conformance!(super::open_mortal);
}

fn events(topic: &str, ids: impl IntoIterator<Item = String>) -> Vec<Envelope> {
    let event = |id: String| Envelope {
        event_type: "shop.orders.v1.OrderPlaced".into(),
        source: "orders".into(),
        topic: topic.into(),
        key: id.clone(),
        time_ms: 1_700_000_000_123,
        correlation_id: String::new(),
        traceparent: String::new(),
        reply_to: String::new(),
        payload: vec![7; 100].into(),
        id,
    };
    ids.into_iter().map(event).collect()
}

/// Makes a producer that is not ours, and begins a transaction.
async fn bare_producer(id: &str) -> FutureProducer {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", options().await.bootstrap)
        .set("transactional.id", id)
        .create()
        .unwrap();
    tokio::task::block_in_place(|| producer.init_transactions(LIMIT)).unwrap();
    producer.begin_transaction().unwrap();
    producer
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_a_part_of_a_transaction() {
    let (log, topic) = (connect().await, Env::default().new_id());
    log.configure(TopicConfig { topic: topic.clone(), partitions: Some(1), retention: None }).await.unwrap();
    let mut member = log.subscribe(SubscriptionSpec::new(&topic, [&topic], "m")).await.unwrap();
    let producer = bare_producer(&format!("{topic}-bare")).await;
    for payload in ["a", "b"] {
        let record = FutureRecord::<str, _>::to(&topic).payload(payload);
        producer.send(record, LIMIT).await.unwrap();
    }
    let from =
        || ReadFrom { topic: topic.clone(), partition: 0, offset: 0, records_max: 9, bytes_max: 1 << 20 };
    assert!(log.read(from()).await.unwrap().records.is_empty(), "the transaction is open");
    assert!(tokio::time::timeout(Duration::from_secs(1), member.next(9)).await.is_err());
    tokio::task::block_in_place(|| producer.abort_transaction(LIMIT)).unwrap();
    let positions = log.publish(events(&topic, ["c".to_owned()])).await.unwrap();
    assert_eq!(positions[0].offset, 3, "two were taken back, and the mark says so");
    let received = tokio::time::timeout(LIMIT, member.next(9)).await.unwrap().unwrap();
    assert_eq!(received.iter().map(|d| &*d.envelope.id).collect::<Vec<_>>(), ["c"]);
    let page = log.read(from()).await.unwrap();
    assert_eq!(
        (page.records.len(), page.next_offset),
        (1, 5),
        "the page ends behind the mark of the second transaction"
    );
    member.commit(&topic, 0, 4).await.unwrap();
    let groups = log.groups().await.unwrap();
    let info = groups.iter().find(|g| g.group == topic).unwrap();
    assert_eq!(info.lag(), 0, "what is left is the mark of the second transaction: {info:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_that_publishes_is_fenced() {
    let (id, topic) = (Env::default().new_id(), Env::default().new_id());
    // It hangs in the middle of a transaction.
    let bare = bare_producer(&id).await;
    let log = under(&id).await;
    log.configure(TopicConfig { topic: topic.clone(), partitions: Some(3), retention: None }).await.unwrap();
    bare.send(FutureRecord::<str, _>::to(&topic).partition(0).payload("of a zombie"), LIMIT).await.unwrap();
    log.publish(events(&topic, (0..20).map(|n| format!("first-{n}")))).await.unwrap();
    assert!(tokio::task::block_in_place(|| bare.commit_transaction(LIMIT)).is_err(), "it is fenced");

    let successor = under(&id).await;
    successor.publish(events(&topic, (0..20).map(|n| format!("second-{n}")))).await.unwrap();
    for _ in 0..2 {
        let error = log.publish(events(&topic, (0..20).map(|n| format!("late-{n}")))).await.unwrap_err();
        assert!(error.is(PRODUCER_FENCED) && error.message().contains(&id), "{error:?}");
    }
    successor.publish(events(&topic, ["last".to_owned()])).await.unwrap();
    let mut ids = Vec::new();
    for partition in 0..3 {
        let from =
            ReadFrom { topic: topic.clone(), partition, offset: 0, records_max: 100, bytes_max: 1 << 20 };
        ids.extend(successor.read(from).await.unwrap().records.into_iter().map(|r| r.envelope.id));
    }
    assert_eq!(ids.len(), 41, "{ids:?}");
    assert!(!ids.iter().any(|id| id.starts_with("late") || id.starts_with(&topic)), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_share_transactions_and_fail_alone() {
    let (log, topic) = (connect().await, Env::default().new_id());
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", options().await.bootstrap).create().unwrap();
    let small = NewTopic::new(&topic, 4, TopicReplication::Fixed(1)).set("max.message.bytes", "2000");
    admin.create_topics([&small], &AdminOptions::new()).await.unwrap();
    log.publish(events(&topic, ["warm".to_owned()])).await.unwrap();
    let mut large = events(&topic, ["large".to_owned(), "with it".to_owned()]);
    // What cannot be made smaller.
    large[0].payload = (0..20_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let calls = (0..40).map(|n| log.publish(events(&topic, [format!("{n}-a"), format!("{n}-b")])));
    let (refused, kept) = tokio::join!(log.publish(large), futures::future::join_all(calls));
    assert_eq!(refused.unwrap_err().code(), banyan_core::Code::InvalidArgument);
    assert_eq!(kept.into_iter().map(|positions| positions.unwrap().len()).sum::<usize>(), 80);
    let mut read = 0;
    for partition in 0..4 {
        let from =
            ReadFrom { topic: topic.clone(), partition, offset: 0, records_max: 100, bytes_max: 1 << 20 };
        read += log.read(from).await.unwrap().records.len();
    }
    assert_eq!(read, 81, "nothing is left of the call that was refused");
}
