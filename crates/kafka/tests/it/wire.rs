//! What bare Kafka clients see of our events, what we see of theirs, and what is refused.

use super::{connect, options};
use banyan_core::{Code, Env, Envelope};
use banyan_engines::{Engine, Kind, Options, free_ports};
use banyan_event_log::{
    EventLog, LogOptions, LogProvider, ReadFrom, Retention, SubscriptionSpec, TopicConfig,
};
use banyan_kafka::{KafkaLog, KafkaLogs, KafkaOptions, partition_of};
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long anything that is expected may take.
const LIMIT: Duration = Duration::from_secs(60);

fn event(topic: &str, id: &str, key: &str) -> Envelope {
    Envelope {
        id: id.into(),
        event_type: "shop.orders.v1.OrderPlaced".into(),
        source: "orders".into(),
        topic: topic.into(),
        key: key.into(),
        time_ms: 1_700_000_000_123,
        correlation_id: "correlation".into(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        reply_to: "answers".into(),
        payload: vec![0, 255, 7].into(),
    }
}

#[tokio::test]
async fn a_foreign_consumer_reads_our_events() {
    let (log, topic) = (connect().await, Env::default().new_id());
    let event = event(&topic, "e-1", "Jürgen 7");
    let position = log.publish(vec![event.clone()]).await.unwrap().remove(0);
    assert_eq!(position.partition, partition_of(&event, 4));

    let bootstrap = options().await.bootstrap;
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("{topic}.foreign"))
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    let record = tokio::time::timeout(LIMIT, consumer.recv()).await.unwrap().unwrap();
    assert_eq!((record.key(), record.payload()), (Some("Jürgen 7".as_bytes()), Some(&[0, 255, 7][..])));
    let headers: BTreeMap<String, String> = record
        .headers()
        .unwrap()
        .iter()
        .map(|h| (h.key.to_owned(), String::from_utf8(h.value.unwrap().to_vec()).unwrap()))
        .collect();
    let expected = [
        ("ce_correlationid", "correlation"),
        ("ce_id", "e-1"),
        ("ce_partitionkey", "Jürgen 7"),
        ("ce_replyto", "answers"),
        ("ce_source", "orders"),
        ("ce_specversion", "1.0"),
        ("ce_time", "2023-11-14T22:13:20.123Z"),
        ("ce_traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("ce_type", "shop.orders.v1.OrderPlaced"),
        ("content-type", "application/protobuf"),
    ];
    assert_eq!(headers, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
}

#[tokio::test]
async fn we_read_foreign_events() {
    let (log, topic) = (connect().await, Env::default().new_id());
    let config = TopicConfig { topic: topic.clone(), partitions: Some(1), retention: None };
    log.configure(config).await.unwrap();
    let bootstrap = options().await.bootstrap;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("compression.type", "gzip")
        .create()
        .unwrap();
    let headers = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .fold(OwnedHeaders::new(), |h, (key, value)| h.insert(Header { key, value: Some(*value) }))
    };
    let binary =
        headers(&[("ce_specversion", "1.0"), ("ce_id", "a"), ("ce_type", "t"), ("ce_source", "/legacy")]);
    let structured = headers(&[("content-type", "application/cloudevents+json")]);
    let json = r#"{"specversion":"1.0","id":"b","type":"t","source":"/legacy","data":{"a":1}}"#;
    for (headers, payload) in [(binary, "1"), (structured, json), (headers(&[]), "bare")] {
        let record = FutureRecord::to(&topic).key("k").payload(payload).headers(headers);
        producer.send(record, LIMIT).await.unwrap();
    }
    let from =
        ReadFrom { topic: topic.clone(), partition: 0, offset: 0, records_max: 10, bytes_max: 1 << 20 };
    let page = log.read(from).await.unwrap();
    let read: Vec<_> = page
        .records
        .iter()
        .map(|r| (&*r.envelope.id, &*r.envelope.event_type, &*r.envelope.key, &r.envelope.payload[..]))
        .collect();
    let bare = format!("{topic}-0-2");
    let expected = [("a", "t", "k", &b"1"[..]), ("b", "t", "k", br#"{"a":1}"#), (&bare, "", "k", b"bare")];
    assert_eq!(read, expected);
}

#[tokio::test]
async fn a_closed_log_has_left_its_groups() {
    let (log, witness, topic) = (connect().await, connect().await, Env::default().new_id());
    let group = format!("{topic}.group");
    log.publish(vec![event(&topic, "e-1", "k")]).await.unwrap();
    let mut member = log.subscribe(SubscriptionSpec::new(&group, [&topic], "member")).await.unwrap();
    assert_eq!(tokio::time::timeout(LIMIT, member.next(1)).await.unwrap().unwrap().len(), 1);
    log.close(LIMIT).await;
    let groups = witness.groups().await.unwrap();
    let info = groups.iter().find(|g| g.group == group).unwrap();
    assert_eq!((info.members.len(), info.lag()), (0, 1));
    assert!(member.next(1).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_reached_or_named_is_refused() {
    let nowhere =
        KafkaOptions { request_timeout: Duration::from_millis(300), ..KafkaOptions::new("127.0.0.1:9") };
    let error = KafkaLog::connect(nowhere, Env::default()).await.err().unwrap();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("127.0.0.1:9"), "{error}");
    let mut encrypted = options().await;
    encrypted.settings.insert("security.protocol".into(), "ssl".into());
    let error = KafkaLog::connect(encrypted, Env::default()).await.err().unwrap();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    let log = connect().await;
    let error = log.publish(vec![event("a topic", "e-1", "k")]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn brokers_are_told_who_we_are() {
    let [port, login, controller] = free_ports().unwrap();
    let listeners = format!("PLAINTEXT://127.0.0.1:{port},LOGIN://127.0.0.1:{login}");
    let overrides = [
        format!("listeners={listeners},CONTROLLER://127.0.0.1:{controller}"),
        format!("advertised.listeners={listeners}"),
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
        format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
        "sasl.enabled.mechanisms=PLAIN".to_owned(),
        "listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         user_shop=\"p@ss %w\";"
            .to_owned(),
    ];
    let folder = tempfile::TempDir::new().unwrap();
    let arguments = overrides.into_iter().flat_map(|setting| ["--override".to_owned(), setting]);
    let engine = Options::in_folder(folder.path()).port(port).arguments(arguments);
    let _kafka = Engine::start(Kind::Kafka, engine).await.unwrap();
    let open = async |who: &str| {
        let (system, client, env) = ("login".to_owned(), "process-1".to_owned(), Env::default());
        let retention_default = Retention { age_ms_max: None, partition_bytes_max: None };
        let options = LogOptions { system, client, env, partitions_default: 2, retention_default };
        KafkaLogs.open(&format!("kafka://{who}127.0.0.1:{login}?replicas=1"), options).await
    };
    let log = open("shop:p%40ss%20%25w@").await.unwrap().log();
    log.publish(vec![event("t", "1", "k")]).await.unwrap();
    for who in ["", "shop:hunter2@"] {
        let error = open(who).await.err().unwrap();
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
