//! What others see of our events, what we see of theirs, and what a server is refused for.

use super::cluster::Server;
use super::{connect, options};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use banyan_core::{Code, Env, Envelope};
use banyan_event_log::{
    EventLog, LogOptions, LogProvider, ReadFrom, Retention, SubscriptionSpec, TopicConfig,
};
use banyan_nats::{NATS_TOO_OLD, NATS_WITHOUT_JETSTREAM, NatsLog, NatsLogs, NatsOptions, event_subject};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::StreamExt;
use nkeys::KeyPair;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

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
    tokio::time::timeout(Duration::from_secs(60), work).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

async fn one_partition(log: &NatsLog, topic: &str) {
    let config = TopicConfig { topic: topic.into(), partitions: Some(1), retention: None };
    log.configure(config).await.unwrap();
}

#[tokio::test]
async fn two_that_publish_to_one_partition_keep_their_orders() {
    const CALLS: usize = 20;
    const EVENTS: usize = 25;
    let options = options().await;
    let log = NatsLog::connect(options.clone(), Env::default()).await.unwrap();
    one_partition(&log, "t").await;
    let publish_all = async |name: &str| {
        let log = NatsLog::connect(options.clone(), Env::default()).await.unwrap();
        let mut placed = Vec::new();
        for call in 0..CALLS {
            let ids = (0..EVENTS).map(|n| format!("{name}-{}", call * EVENTS + n));
            let events: Vec<_> = ids.map(|id| event("t", &id, "key")).collect();
            let ids: Vec<_> = events.iter().map(|e| e.id.clone()).collect();
            let positions = log.publish(events).await.unwrap();
            assert_eq!(positions.len(), EVENTS);
            placed.extend(positions.into_iter().zip(ids).map(|(position, id)| (position.offset, id)));
        }
        placed
    };
    let (one, two) = soon("all calls", futures::future::join(publish_all("one"), publish_all("two"))).await;
    assert!(one.is_sorted() && two.is_sorted(), "an event lies behind a later one of its publisher");
    let mut placed = [one, two].concat();
    placed.sort();
    let mut kept = Vec::new();
    while kept.len() < placed.len() {
        let offset = kept.len() as u64;
        let from = ReadFrom { topic: "t".into(), partition: 0, offset, records_max: 500, bytes_max: 1 << 20 };
        let page = log.read(from).await.unwrap();
        assert!(!page.records.is_empty(), "only {offset} events were kept");
        kept.extend(page.records.into_iter().map(|r| (r.position.offset, r.envelope.id)));
    }
    assert_eq!(kept, placed);
    assert_eq!(log.topics().await.unwrap()[0].partitions[0].end_offset, placed.len() as u64);
}

#[tokio::test]
async fn a_bare_client_reads_our_events_as_cloud_events() {
    let options = options().await;
    let log = NatsLog::connect(options.clone(), Env::default()).await.unwrap();
    one_partition(&log, "shop.orders").await;
    log.publish(vec![event("shop.orders", "one", "key ä"), event("shop.orders", "two", "")]).await.unwrap();
    let client = async_nats::connect(&options.url).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let subject = format!("{}.shop.orders.*", options.prefix);
    let stream =
        jetstream.stream_by_subject(&event_subject(&options.prefix, "shop.orders", 0)).await.unwrap();
    let stream = jetstream.get_stream(stream).await.unwrap();
    let config = pull::Config { filter_subject: subject, ..pull::Config::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let message = soon("the event", messages.next()).await.unwrap().unwrap();
    let headers = message.headers.as_ref().unwrap();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "one"),
        ("ce-type", "shop.orders.v1.OrderPlaced"),
        ("ce-source", "orders"),
        ("ce-subject", "key%20%C3%A4"),
        ("ce-partitionkey", "key%20%C3%A4"),
        ("ce-time", "2023-11-14T22:13:20.123Z"),
        ("ce-traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("Nats-Msg-Id", "one"),
    ] {
        assert_eq!(headers.get(name).map(|v| v.as_str()), Some(value), "{name}");
    }
    assert_eq!(&message.payload[..], [0, 159, 255]);
    let message = soon("the next event", messages.next()).await.unwrap().unwrap();
    let headers = message.headers.as_ref().unwrap();
    assert!(headers.get("ce-subject").is_none() && headers.get("ce-id").unwrap().as_str() == "two");
}

#[tokio::test]
async fn events_of_a_bare_client_are_consumed_and_read() {
    let options = options().await;
    let log = NatsLog::connect(options.clone(), Env::default()).await.unwrap();
    one_partition(&log, "shop.orders").await;
    let client = async_nats::connect(&options.url).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let subject = event_subject(&options.prefix, "shop.orders", 0);
    let mut binary = HeaderMap::new();
    for (name, value) in [("ce-id", "b"), ("ce-type", "t"), ("ce-source", "/elsewhere"), ("ce-subject", "k")]
    {
        binary.insert(name, value);
    }
    let mut structured = HeaderMap::new();
    structured.insert("content-type", "application/cloudevents+json");
    let json = r#"{"specversion":"1.0","id":"s","type":"t","source":"/elsewhere","data":{"a":1}}"#;
    for (headers, payload) in [(binary, "bytes"), (structured, json), (HeaderMap::new(), "no event")] {
        let ack = jetstream.publish_with_headers(subject.clone(), headers, payload.into()).await.unwrap();
        ack.await.unwrap();
    }
    let mut member = log.subscribe(SubscriptionSpec::new("g", ["shop.orders"], "m")).await.unwrap();
    let mut received = Vec::new();
    while received.len() < 3 {
        received.extend(soon("the events", member.next(10)).await.unwrap());
    }
    let seen: Vec<_> = received
        .iter()
        .map(|d| (&*d.envelope.id, &*d.envelope.event_type, &d.envelope.payload[..]))
        .collect();
    assert_eq!(seen[0], ("b", "t", &b"bytes"[..]));
    assert_eq!(seen[1], ("s", "t", &br#"{"a":1}"#[..]));
    assert_eq!((seen[2].1, seen[2].2), ("", &b"no event"[..]));
    assert!(seen[2].0.ends_with("/3"), "it is named by its place: {}", seen[2].0);
    assert_eq!(received[0].envelope.key, "k");
    let from =
        ReadFrom { topic: "shop.orders".into(), partition: 0, offset: 1, records_max: 10, bytes_max: 1 };
    let page = log.read(from).await.unwrap();
    assert_eq!(page.records.len(), 1, "the first record is returned whatever its size");
    assert_eq!(page.records[0].envelope, received[1].envelope);
    assert_eq!(page.records[0].appended_ms, received[1].appended_ms);
}

#[tokio::test]
async fn events_that_do_not_fit_are_refused_by_name() {
    let log = connect().await;
    let mut large = event("t", "1", "k");
    large.payload = vec![0; 1 << 20].into();
    let error = log.publish(vec![event("t", "0", "k"), large]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.violations()[0].field, "events[1].payload");
    let nameless = event("t", "", "k");
    assert_eq!(log.publish(vec![nameless]).await.unwrap_err().violations()[0].field, "events[0].id");
    let far = event(&".".repeat(200), "1", "k");
    assert_eq!(log.publish(vec![far]).await.unwrap_err().violations()[0].field, "events[0].topic");
    let spec = SubscriptionSpec {
        session_timeout: Duration::from_millis(300),
        ..SubscriptionSpec::new("g", ["t"], "m")
    };
    assert_eq!(log.subscribe(spec).await.err().unwrap().violations()[0].field, "session_timeout");
}

#[tokio::test]
async fn a_group_that_is_not_durable_ends_with_its_last_member() {
    let log = connect().await;
    one_partition(&log, "t").await;
    let spec = SubscriptionSpec { durable: false, ..SubscriptionSpec::new("g", ["t"], "m") };
    let names = async || log.groups().await.unwrap().into_iter().map(|g| g.group).collect::<Vec<_>>();
    let member = log.subscribe(spec).await.unwrap();
    assert_eq!(names().await, ["g"]);
    drop(member);
    soon("the group ends", async {
        while !names().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_temporary_group_whose_members_died_is_cleared_away() {
    let options = options().await;
    let log = NatsLog::connect(options.clone(), Env::default()).await.unwrap();
    one_partition(&log, "t").await;
    let spec = SubscriptionSpec {
        durable: false,
        session_timeout: Duration::from_secs(1),
        ..SubscriptionSpec::new("dead", ["t"], "m")
    };
    // It leaves nothing behind but its keys, as a process that was killed.
    std::mem::forget(log.subscribe(spec.clone()).await.unwrap());
    let bucket = async_nats::jetstream::new(async_nats::connect(&options.url).await.unwrap())
        .get_key_value(format!("{}_groups", options.prefix))
        .await
        .unwrap();
    soon("the server forgets the member", async {
        while bucket.get("dead.m.m").await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(bucket.get("dead.c.t.0").await.unwrap().is_some());
    let _other = log.subscribe(SubscriptionSpec { group: "living".into(), ..spec }).await.unwrap();
    assert!(bucket.get("dead.c.t.0").await.unwrap().is_none());
    assert!(bucket.get("living.c.t.0").await.unwrap().is_some());
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let server = Server::start(&[]).await;
    let url = format!("nats://127.0.0.1:{}", server.port);
    let error = NatsLog::connect(NatsOptions::new(url), Env::default()).await.err().unwrap();
    assert!(error.is(NATS_WITHOUT_JETSTREAM) && error.code() == Code::FailedPrecondition, "{error:?}");
}

#[tokio::test]
async fn a_system_opens_its_log_by_url() {
    let options = options().await;
    let (system, env) = (options.prefix.clone(), Env::default());
    let open = async |url: String| {
        let (system, client, env) = (system.clone(), "process-1".into(), env.clone());
        let retention_default = Retention { age_ms_max: Some(60_000), partition_bytes_max: Some(1 << 20) };
        NatsLogs
            .open(&url, LogOptions { system, client, env, partitions_default: 3, retention_default })
            .await
    };
    let log = open(format!("{}?replicas=1", options.url)).await.unwrap().log();
    log.publish(vec![event("t", "1", "k")]).await.unwrap();
    let topic = &log.topics().await.unwrap()[0];
    assert_eq!((topic.partitions.len(), topic.retention.partition_bytes_max), (3, Some(1 << 20)));
    assert_eq!(log.capabilities().provider(), "nats");
    let error = open(format!("{}?replica=1", options.url)).await.err().unwrap();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_server_is_told_who_we_are() {
    let folder = tempfile::TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let arguments = ["-js", "-sd", &data, "--user", "alice", "--pass", "p@ss %w"].map(str::to_owned);
    let server = Server::start(&arguments).await;
    let connect = async |who: &str| {
        let url = format!("nats://{who}127.0.0.1:{}", server.port);
        NatsLog::connect(NatsOptions::new(url), Env::default()).await
    };
    let log = connect("alice:p%40ss%20%25w@").await.unwrap();
    log.publish(vec![event("t", "1", "k")]).await.unwrap();
    for who in ["", "alice:hunter2@", "hunter2@"] {
        let error = connect(who).await.err().unwrap();
        assert_eq!(error.code(), Code::Unauthenticated, "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

/// A server that greets as NATS does, with the given information, and answers nothing but pings.
async fn greeter(info: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://alice:hunter2@{}", listener.local_addr().unwrap());
    tokio::task::spawn_local(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let _ = connection.write_all(format!("INFO {info}\r\n").as_bytes()).await;
                let mut buffer = [0; 4096];
                while let Ok(1..) = connection.read(&mut buffer).await {
                    let _ = connection.write_all(b"PONG\r\n").await;
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_server_that_is_too_old_is_named() {
    let local = tokio::task::LocalSet::new();
    let refused = local.run_until(async {
        let info = concat!(
            r#"{"server_id":"A","server_name":"a","version":"2.9.10","go":"go1","host":"127.0.0.1","port":1,"#,
            r#""headers":true,"max_payload":1048576,"proto":1,"client_id":1,"jetstream":true}"#
        );
        let url = greeter(info).await;
        NatsLog::connect(NatsOptions::new(url), Env::default()).await
    });
    let error = soon("a refusal", refused).await.err().unwrap();
    assert!(error.is(NATS_TOO_OLD) && error.message().contains("2.9.10"), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let options = NatsOptions::new(format!("nats://alice:hunter2@{address}"));
    let error = NatsLog::connect(options, Env::default()).await.err().unwrap();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains(&address.to_string()) && !format!("{error:?}").contains("hunter2"));
    assert!(!error.is(NATS_WITHOUT_JETSTREAM));
}

/// Makes a certificate that signs itself, for 127.0.0.1, as `NAME.pem` and `NAME.key` in a folder.
fn certificate(folder: &Path, name: &str) -> [String; 2] {
    let files = [format!("{name}.pem"), format!("{name}.key")].map(|file| folder.join(file));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"])
        .args([&format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-out".as_ref(), files[0].as_os_str(), "-keyout".as_ref(), files[1].as_os_str()])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    files.map(|file| file.display().to_string())
}

#[tokio::test]
async fn an_encrypted_connection_verifies_both_sides() {
    let folder = tempfile::TempDir::new().unwrap();
    let data = folder.path().join("data").display().to_string();
    let ([ca, key], [mine, my_key]) =
        (certificate(folder.path(), "server"), certificate(folder.path(), "client"));
    let arguments = ["-js", "-sd", &data, "--user", "alice", "--pass", "hunter2", "--tls", "--tlsverify"];
    let files = ["--tlscert", &ca, "--tlskey", &key, "--tlscacert", &mine];
    let arguments: Vec<String> = arguments.into_iter().chain(files).map(str::to_owned).collect();
    let server = Server::start(&arguments).await;
    let open = async |url: &str| {
        let (system, client, env) = ("tls".into(), "process-1".into(), Env::default());
        let retention_default = Retention { age_ms_max: None, partition_bytes_max: None };
        let options = LogOptions { system, client, env, partitions_default: 2, retention_default };
        NatsLogs.open(url, options).await
    };
    let url = format!("nats+tls://alice:hunter2@127.0.0.1:{}", server.port);
    let log = open(&format!("{url}?ca={ca}&cert={mine}&key={my_key}")).await.unwrap().log();
    log.publish(vec![event("t", "1", "k")]).await.unwrap();
    for (wrong, field) in [
        (format!("{url}?cert={mine}&key={my_key}"), None),
        (format!("{url}?ca={ca}"), None),
        (format!("{url}?ca=/no/such.pem"), Some("nats.ca")),
        (format!("{url}?ca={ca}&cert={mine}"), Some("nats.key")),
        (format!("{url}?ca={ca}&cert={mine}&key={my_key}&credentials=/no.creds"), Some("nats.credentials")),
        (format!("nats://127.0.0.1:{}?ca={ca}", server.port), Some("nats.url")),
    ] {
        let error = soon("a refusal", open(&wrong)).await.err().unwrap();
        match field {
            Some(field) => assert_eq!(error.violations()[0].field, field, "{wrong}: {error:?}"),
            None => assert_eq!(error.code(), Code::Unavailable, "{wrong}: {error:?}"),
        }
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

/// Signs a token as NATS has them (JWT version 2, signed with a key pair of its own).
fn token(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: Value) -> String {
    let (issued_by, subject) = (issuer.public_key(), subject.public_key());
    let claims = json!({ "jti": name, "iat": 1_700_000_000, "iss": issued_by, "sub": subject, "name": name, "nats": nats });
    let part = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", part(json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn a_credentials_file_says_who_we_are() {
    let folder = tempfile::TempDir::new().unwrap();
    let (operator, user) = (KeyPair::new_operator(), KeyPair::new_user());
    let (system, account) = (KeyPair::new_account(), KeyPair::new_account());
    let limits = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1 });
    let of_account = json!({ "type": "account", "version": 2, "limits": limits });
    let of_user =
        json!({ "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1 });
    let config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}\n\
         jetstream {{ store_dir: \"{}\" }}\n",
        token(&operator, &operator, "operator", json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        system.public_key(),
        token(&operator, &system, "SYS", json!({ "type": "account", "version": 2 })),
        account.public_key(),
        token(&operator, &account, "shop", of_account),
        folder.path().display()
    );
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let credentials = |signed_by: &KeyPair| {
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(signed_by, &user, "orders", of_user.clone()),
            user.seed().unwrap()
        )
    };
    let server = Server::start(&["-c".to_owned(), file("server.conf", &config)]).await;
    let open = async |credentials: &str| {
        let url = format!("nats://127.0.0.1:{}?credentials={credentials}", server.port);
        let (system, client, env) = ("jwt".into(), "process-1".into(), Env::default());
        let retention_default = Retention { age_ms_max: None, partition_bytes_max: None };
        NatsLogs
            .open(&url, LogOptions { system, client, env, partitions_default: 2, retention_default })
            .await
    };
    let log = open(&file("orders.creds", &credentials(&account))).await.unwrap().log();
    log.publish(vec![event("t", "1", "k")]).await.unwrap();
    let stranger = open(&file("stranger.creds", &credentials(&KeyPair::new_account()))).await.err().unwrap();
    assert_eq!(stranger.code(), Code::Unauthenticated, "{stranger:?}");
    let none = open(&file("none.creds", "nothing")).await.err().unwrap();
    assert_eq!(none.violations()[0].field, "nats.credentials");
}
