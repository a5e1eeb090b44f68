//! What others see of our events, what we see of theirs, and what is refused.

use super::{connect, few_partitions, options};
use banyan_core::{Code, Env, Envelope};
use banyan_engines::{Engine, Kind, Options, free_ports};
use banyan_event_log::{
    EventLog, LogOptions, LogProvider, ReadFrom, Retention, SubscriptionSpec, TopicConfig,
};
use banyan_rabbitmq::{
    RABBITMQ_NAME_SPOILED, RABBITMQ_RETENTION_FIXED, RABBITMQ_VHOST_REFUSED, RabbitLog, RabbitLogs,
    RabbitOptions, stream_name,
};
use futures::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

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
        payload: vec![0, 159, 255].into(),
    }
}

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), work).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

async fn one_partition(log: &RabbitLog, topic: &str) {
    let config = TopicConfig { topic: topic.into(), partitions: Some(1), retention: None };
    log.configure(config).await.unwrap();
}

async fn bare_client(url: &str) -> (Connection, Channel) {
    let runtime = async_rs::Runtime::tokio_current();
    let connection =
        Connection::connect_with_runtime(url, ConnectionProperties::default(), runtime).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

fn table(entries: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    table
}

#[tokio::test]
async fn a_bare_client_reads_our_events_as_cloud_events() {
    let options = options().await;
    let log = RabbitLog::connect(options.clone(), Env::default()).await.unwrap();
    one_partition(&log, "shop.orders").await;
    log.publish(vec![event("shop.orders", "one", "key ä")]).await.unwrap();
    let (_connection, channel) = bare_client(&options.url).await;
    channel.basic_qos(10, BasicQosOptions::default()).await.unwrap();
    let stream = stream_name(&options.prefix, "shop.orders", 0);
    let from = table(&[("x-stream-offset", "first")]);
    let consume =
        channel.basic_consume(stream.as_str().into(), "".into(), BasicConsumeOptions::default(), from);
    let mut consumer = consume.await.unwrap();
    let message = soon("the event", async {
        loop {
            // The stream begins with a mark that is no event.
            let message = consumer.next().await.unwrap().unwrap();
            if message.properties.message_id().is_some() {
                return message;
            }
        }
    })
    .await;
    let headers = message.properties.headers().as_ref().unwrap().inner();
    for (name, value) in [
        ("cloudEvents_specversion", "1.0"),
        ("cloudEvents_id", "one"),
        ("cloudEvents_type", "shop.orders.v1.OrderPlaced"),
        ("cloudEvents_source", "orders"),
        ("cloudEvents_partitionkey", "key ä"),
        ("cloudEvents_time", "2023-11-14T22:13:20.123Z"),
        ("cloudEvents_correlationid", "correlation"),
        ("cloudEvents_traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        assert_eq!(headers.get(name), Some(&AMQPValue::LongString(value.into())), "{name}");
    }
    assert_eq!(message.data, [0, 159, 255]);
}

#[tokio::test]
async fn events_of_a_bare_client_are_consumed_and_read() {
    let options = options().await;
    let log = RabbitLog::connect(options.clone(), Env::default()).await.unwrap();
    one_partition(&log, "shop.orders").await;
    let (_connection, channel) = bare_client(&options.url).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let stream = stream_name(&options.prefix, "shop.orders", 0);
    let attributes = |prefix: &str| {
        let attributes = [("id", "b"), ("type", "t"), ("source", "/elsewhere"), ("partitionkey", "k")];
        let named: Vec<_> = attributes.iter().map(|(n, v)| (format!("{prefix}{n}"), *v)).collect();
        let named: Vec<_> = named.iter().map(|(n, v)| (&**n, *v)).collect();
        BasicProperties::default().with_headers(table(&named))
    };
    let json = r#"{"specversion":"1.0","id":"s","type":"t","source":"/elsewhere","data":{"a":1}}"#;
    let structured = BasicProperties::default().with_content_type("application/cloudevents+json".into());
    for (properties, payload) in [
        (attributes("cloudEvents_"), "bytes"),
        (attributes("cloudEvents:"), "older"),
        (structured, json),
        (BasicProperties::default(), "no event"),
    ] {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent =
            channel.basic_publish("".into(), stream.as_str().into(), options, payload.as_bytes(), properties);
        assert!(sent.await.unwrap().await.unwrap().is_ack());
    }
    let mut member = log.subscribe(SubscriptionSpec::new("g", ["shop.orders"], "m")).await.unwrap();
    let mut received = Vec::new();
    while received.len() < 4 {
        received.extend(soon("the events", member.next(10)).await.unwrap());
    }
    let seen: Vec<_> = received
        .iter()
        .map(|d| (&*d.envelope.id, &*d.envelope.event_type, &d.envelope.payload[..]))
        .collect();
    assert_eq!(seen[0], ("b", "t", &b"bytes"[..]));
    assert_eq!(seen[1], ("b", "t", &b"older"[..]));
    assert_eq!(seen[2], ("s", "t", &br#"{"a":1}"#[..]));
    assert_eq!(seen[3], ("shop.orders/0/3", "", &b"no event"[..]));
    assert_eq!((&*received[0].envelope.key, &*received[1].envelope.key), ("k", "k"));
    let from =
        ReadFrom { topic: "shop.orders".into(), partition: 0, offset: 2, records_max: 10, bytes_max: 1 };
    let page = log.read(from).await.unwrap();
    assert_eq!(page.records.len(), 1, "the first record is returned whatever its size");
    assert_eq!(page.records[0].envelope, received[2].envelope);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_by_name() {
    let log = connect().await;
    let mut large = event("t", "1", "k");
    large.payload = vec![0; (1 << 20) + 1].into();
    let error = log.publish(vec![event("t", "0", "k"), large]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.violations()[0].field, "events[1].payload");
    let nameless = event("t", "", "k");
    assert_eq!(log.publish(vec![nameless]).await.unwrap_err().violations()[0].field, "events[0].id");
    let far = event(&"t".repeat(300), "1", "k");
    assert_eq!(log.publish(vec![far]).await.unwrap_err().violations()[0].field, "events[0].topic");
    let kept = |age_ms_max| Retention { age_ms_max, partition_bytes_max: None };
    let config = |age_ms_max| TopicConfig {
        topic: "short".into(),
        partitions: Some(1),
        retention: Some(kept(Some(age_ms_max))),
    };
    log.configure(config(60_000)).await.unwrap();
    log.configure(config(30_000)).await.unwrap();
    let error = log.configure(config(90_000)).await.unwrap_err();
    assert!(error.is(RABBITMQ_RETENTION_FIXED), "{error}");
}

#[tokio::test]
async fn what_is_older_than_a_shortened_age_is_hidden() {
    let log = connect().await;
    one_partition(&log, "t").await;
    log.publish(vec![event("t", "1", "k"), event("t", "2", "k")]).await.unwrap();
    let retention = Some(Retention { age_ms_max: Some(1), partition_bytes_max: None });
    log.configure(TopicConfig { topic: "t".into(), partitions: None, retention }).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let from = ReadFrom { topic: "t".into(), partition: 0, offset: 0, records_max: 10, bytes_max: 1 << 20 };
    let page = log.read(from).await.unwrap();
    assert_eq!((page.start_offset, page.end_offset, page.records.len()), (2, 2, 0));
}

#[tokio::test]
async fn a_server_that_refuses_is_told_with_the_next_step() {
    let rabbit = Engine::shared(Kind::RabbitMq).await.unwrap();
    let refused = async |url: String| {
        let options = RabbitOptions { ..few_partitions(&url) };
        RabbitLog::connect(options, Env::default()).await.err().expect("it must be refused")
    };
    let error = refused(rabbit.url().replace("%2f", "nowhere")).await;
    assert!(error.is(RABBITMQ_VHOST_REFUSED) && error.message().contains("rabbitmqctl"), "{error}");
    let error = refused(rabbit.url().replace("guest:guest", "guest:hunter2")).await;
    assert_eq!(error.code(), Code::Unauthenticated, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    let error = refused("amqp://guest:hunter2@127.0.0.1:1/%2f".into()).await;
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_system_opens_it_by_its_url() {
    let RabbitOptions { url, prefix, .. } = options().await;
    assert_eq!(RabbitLogs.schemes(), ["amqp", "amqps"]);
    let options = LogOptions {
        system: prefix,
        client: "gateway".into(),
        env: Env::default(),
        partitions_default: 2,
        retention_default: Retention { age_ms_max: Some(3_600_000), partition_bytes_max: Some(1 << 24) },
    };
    let log = RabbitLogs.open(&url, options).await.unwrap().log();
    log.publish(vec![event("t", "1", "k")]).await.unwrap();
    let topics = log.topics().await.unwrap();
    assert_eq!((topics.len(), topics[0].partitions.len()), (1, 2));
    assert_eq!(topics[0].retention.partition_bytes_max, Some(1 << 24));
}

#[tokio::test]
async fn a_temporary_group_leaves_nothing_behind() {
    let options = options().await;
    let log = RabbitLog::connect(options.clone(), Env::default()).await.unwrap();
    one_partition(&log, "t").await;
    let spec = SubscriptionSpec { durable: false, ..SubscriptionSpec::new("temporary", ["t"], "m") };
    let member = log.subscribe(spec.clone()).await.unwrap();
    assert_eq!(log.groups().await.unwrap()[0].members[0].member, "m");
    drop(member);
    let journal = format!("{}.group.temporary", options.prefix);
    let (connection, _) = bare_client(&options.url).await;
    soon("the journal is deleted", async {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        loop {
            let channel = connection.create_channel().await.unwrap();
            if channel.queue_declare(journal.as_str().into(), passive, FieldTable::default()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(log.groups().await.unwrap().is_empty());
    // It can be had again.
    let _member = log.subscribe(spec).await.unwrap();
    assert_eq!(log.groups().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_group_is_the_same_to_a_log_that_opens_later() {
    let options = options().await;
    let log = RabbitLog::connect(options.clone(), Env::default()).await.unwrap();
    one_partition(&log, "t").await;
    log.publish((0..501).map(|n| event("t", &n.to_string(), "k")).collect()).await.unwrap();
    let mut member = log.subscribe(SubscriptionSpec::new("g", ["t"], "m")).await.unwrap();
    let mut received = 0;
    while received < 501 {
        received += soon("the events", member.next(1_000)).await.unwrap().len();
    }
    for next in 1..=500 {
        member.commit("t", 0, next).await.unwrap();
    }
    let (_connection, channel) = bare_client(&options.url).await;
    // It acknowledges nothing, and the snapshot follows 500 records.
    channel.basic_qos(1_000, BasicQosOptions::default()).await.unwrap();
    let (journal, from) = (format!("{}.group.g", options.prefix), table(&[("x-stream-offset", "first")]));
    let consume =
        channel.basic_consume(journal.as_str().into(), "".into(), BasicConsumeOptions::default(), from);
    let mut consumer = consume.await.unwrap();
    soon("a snapshot of the group", async {
        while !consumer.next().await.unwrap().unwrap().data.starts_with(br#"{"what":"snapshot""#) {}
    })
    .await;
    let later = RabbitLog::connect(options, Env::default()).await.unwrap();
    let (seen, again) = (log.groups().await.unwrap(), later.groups().await.unwrap());
    assert_eq!(seen, again);
    assert_eq!((again[0].lag(), again[0].members[0].partitions.len()), (1, 1));
    assert_eq!(later.topics().await.unwrap(), log.topics().await.unwrap());
    // A log that is closed has left its groups.
    log.close(Duration::from_secs(20)).await;
    let left = later.groups().await.unwrap();
    assert_eq!((left[0].members.len(), left[0].generation), (0, again[0].generation + 1));
}

/// Leaves behind what a server does that is killed while it makes a stream: a queue that is written down and has no process.
async fn spoil(rabbit: &Engine, stream: &str, bounds: &str) {
    let record = format!(
        "Name = rabbit_misc:r(<<\"/\">>, queue, <<\"{stream}\">>),
         Queue = amqqueue:new(Name, none, true, false, none, [{{<<\"x-queue-type\">>, longstr, <<\"stream\">>}}{bounds}],
             <<\"/\">>, #{{}}, rabbit_stream_queue),
         {{created, _}} = rabbit_amqqueue:internal_declare(Queue, false), ok."
    );
    evaluate(rabbit, &record).await;
}

/// Has the server evaluate an expression in Erlang.
async fn evaluate(rabbit: &Engine, expression: &str) {
    let environ = std::fs::read(format!("/proc/{}/environ", rabbit.pid().await.unwrap())).unwrap();
    let environ = String::from_utf8(environ).unwrap();
    let variables = environ.split('\0').filter_map(|variable| variable.split_once('='));
    let mut command = tokio::process::Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl");
    let evaluated = command.env_clear().envs(variables).args(["eval", expression]).output().await.unwrap();
    assert!(evaluated.status.success(), "{evaluated:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_a_killed_server_has_spoiled_are_passed_over() {
    let folder = TempDir::new().unwrap();
    let rabbit = Engine::start(Kind::RabbitMq, Options::in_folder(folder.path())).await.unwrap();
    let options = few_partitions(rabbit.url());
    spoil(&rabbit, "gone.catalog", "").await;
    let gone = RabbitOptions { prefix: "gone".into(), ..options.clone() };
    let error = RabbitLog::connect(gone, Env::default()).await.err().unwrap();
    assert!(error.is(RABBITMQ_NAME_SPOILED) && error.message().contains("gone.catalog"), "{error}");
    let stream = stream_name("banyan", "shop.orders", 0);
    spoil(&rabbit, &stream, r#", {<<"x-max-age">>, longstr, <<"604800s">>}"#).await;
    let bounds = r#", {<<"x-max-length-bytes">>, signedint, 16777216},
        {<<"x-stream-max-segment-size-bytes">>, signedint, 4194304}"#;
    spoil(&rabbit, "banyan.group.g", bounds).await;
    let log = RabbitLog::connect(options.clone(), Env::default()).await.unwrap();
    one_partition(&log, "shop.orders").await;
    let mut member = log.subscribe(SubscriptionSpec::new("g", ["shop.orders"], "m")).await.unwrap();
    log.publish(vec![event("shop.orders", "one", "k")]).await.unwrap();
    assert_eq!(soon("the event", member.next(1)).await.unwrap()[0].envelope.id, "one");
    member.commit("shop.orders", 0, 1).await.unwrap();
    // Another process finds the same streams.
    let other = RabbitLog::connect(options, Env::default()).await.unwrap();
    let from =
        ReadFrom { topic: "shop.orders".into(), partition: 0, offset: 0, records_max: 9, bytes_max: 9 };
    assert_eq!(other.read(from).await.unwrap().records.len(), 1);
    let groups = other.groups().await.unwrap();
    assert_eq!((groups[0].members.len(), groups[0].lag()), (1, 0));
}

/// Makes a certificate for 127.0.0.1, as `NAME.pem` and `NAME.key` in a folder; one without an issuer signs itself, and others.
fn certificate(folder: &Path, name: &str, issuer: Option<&(PathBuf, PathBuf)>) -> (PathBuf, PathBuf) {
    let (pem, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let constraints = if issuer.is_some() { "CA:FALSE" } else { "CA:TRUE" };
    let signed =
        issuer.map(|(pem, key)| ["-CA".as_ref(), pem.as_os_str(), "-CAkey".as_ref(), key.as_os_str()]);
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"])
        .args([&format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(signed.into_iter().flatten())
        .args(["-addext", &format!("basicConstraints=critical,{constraints}"), "-keyout"])
        .args([key.as_os_str(), "-out".as_ref(), pem.as_os_str()])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    (pem, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_connection_verifies_both_sides() {
    let folder = TempDir::new().unwrap();
    let rabbit = Engine::start(Kind::RabbitMq, Options::in_folder(folder.path())).await.unwrap();
    let issuer = certificate(folder.path(), "issuer", None);
    let (pem, key) = certificate(folder.path(), "server", Some(&issuer));
    let (mine, my_key) = certificate(folder.path(), "client", Some(&issuer));
    let ca = &issuer.0;
    let [port] = free_ports().unwrap();
    let (ca, pem, key) = (ca.display(), pem.display(), key.display());
    let (mine, my_key) = (mine.display(), my_key.display());
    let listener = format!(
        "application:set_env(rabbit, ssl_options, [{{certfile, \"{pem}\"}}, {{keyfile, \"{key}\"}}, {{cacertfile, \"{ca}\"}},
            {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}]),
         rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}}}, rabbit_networking:ensure_ssl(), 2)."
    );
    evaluate(&rabbit, &listener).await;
    let open = async |url: String| {
        let (system, client, env) = ("tls".to_owned(), "process-1".to_owned(), Env::default());
        let retention_default = Retention { age_ms_max: Some(60_000), partition_bytes_max: None };
        let options = LogOptions { system, client, env, partitions_default: 2, retention_default };
        RabbitLogs.open(&url, options).await
    };
    let url = format!("amqps://guest:guest@127.0.0.1:{port}/%2f");
    let log = soon("a log", open(format!("{url}?ca={ca}&cert={mine}&key={my_key}"))).await.unwrap();
    let log = log.log();
    log.publish(vec![event("shop.orders", "one", "k")]).await.unwrap();
    let mut member = log.subscribe(SubscriptionSpec::new("g", ["shop.orders"], "m")).await.unwrap();
    assert_eq!(soon("the event", member.next(1)).await.unwrap()[0].envelope.id, "one");
    for (wrong, field) in [
        (format!("{url}?cert={mine}&key={my_key}"), None),
        (format!("{url}?ca={ca}"), None),
        (format!("{url}?ca=/no/such.pem"), Some("rabbitmq.ca")),
        (format!("{url}?ca={ca}&cert={mine}"), Some("rabbitmq.key")),
        (format!("{}?ca={ca}", rabbit.url()), Some("rabbitmq.url")),
    ] {
        let error = soon("a refusal", open(wrong.clone())).await.err().unwrap();
        match field {
            Some(field) => assert_eq!(error.violations()[0].field, field, "{wrong}: {error:?}"),
            None => assert_eq!(error.code(), Code::Unavailable, "{wrong}: {error:?}"),
        }
    }
}
