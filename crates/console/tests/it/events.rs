//! Messages and dead letters.

use crate::contract::Counted;
use crate::running::{POISON, Running};
use banyan::core::Payload;
use banyan_testkit::eventually;
use serde_json::{Value, json};

/// Waits for a dead letter of `counter`.
async fn letter(running: &Running) -> Value {
    eventually("a dead letter", async || {
        let letters = running.get("/api/dead-letters?group=counter").await.body;
        letters["letters"].as_array()?.first().cloned()
    })
    .await
}

/// Returns how often the service `name` has heard of `event`.
fn heard(running: &Running, name: &str, event: &str) -> usize {
    running.heard.lock().iter().filter(|(service, counted)| *service == name && counted.name == event).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_dead_letter_goes_to_its_group_alone() {
    let running = Running::start("").await;
    running.count(POISON, 7).await;
    let dead = letter(&running).await;
    assert_eq!((&dead["type"], &dead["payload"]["number"]), (&json!("test.v1.Counted"), &json!(7)));
    assert_eq!((&dead["editable"], &dead["attempts"]), (&json!(true), &json!(1)));
    assert!(dead["error"].as_str().unwrap().contains("is poison"), "{dead}");
    let name = dead["letter"].as_str().unwrap();
    let redrive = |payload: Value| json!({"group": "counter", "letters": [name], "payload": payload});

    let wrong = running.post("/api/dead-letters/redrive", redrive(json!({"number": "many"}))).await;
    assert_eq!((wrong.refused(400), wrong.fields()), ("INVALID_FIELD", vec!["payload.number"]));
    let cured = redrive(json!({"name": "cured", "number": 7}));
    let told = running.post("/api/dead-letters/redrive", cured.clone()).await;
    assert_eq!(told.body, json!({"done": 1}));
    eventually("the edited event", async || (heard(&running, "counter", "cured") == 1).then_some(())).await;
    assert_eq!(running.get("/api/dead-letters").await.body["letters"], json!([]));
    // It is no letter any more.
    assert_eq!(running.post("/api/dead-letters/redrive", cured).await.refused(404), "NOT_FOUND");

    // What comes after it in every topic: the other group has heard the first event, and never the edited one.
    running.count("after", 1).await;
    eventually("what came after", async || (heard(&running, "other", "after") == 1).then_some(())).await;
    let other = (heard(&running, "other", POISON), heard(&running, "other", "cured"));
    assert_eq!((other, heard(&running, "counter", POISON)), ((1, 0), 0));
    let kept = running.get("/api/topics/counter.redrive/messages").await.body;
    let noted = kept["messages"][0]["payload"]["message"].as_str().unwrap();
    assert!(noted.starts_with("edited by local in the console; it had failed with: "), "{noted}");
    let operations = running.operations();
    assert!(operations.contains(&"local edit and redrive counter: done".to_owned()), "{operations:?}");
    // What was edited is noted, and nothing of what it says: neither before nor after, nor what was refused.
    let path = banyan_console::audit::path(running.folder.path());
    let noted = banyan_console::audit::operations(&path, None, 10).unwrap();
    let noted = noted.iter().find(|o| o.action == "edit and redrive" && o.outcome.as_deref() == Some("done"));
    let edited = &noted.unwrap().arguments["edited"];
    assert_eq!((&edited["topic"], &edited["id"]), (&json!("counted"), &dead["id"]));
    let bytes = |name: &str| Counted { name: name.into(), number: 7 }.to_bytes().len();
    assert_eq!(
        (&edited["before"]["bytes"], &edited["after"]["bytes"]),
        (&json!(bytes(POISON)), &json!(bytes("cured")))
    );
    assert_ne!(edited["before"]["sha256"], edited["after"]["sha256"]);
    assert_eq!(edited["after"]["sha256"].as_str().unwrap().len(), 64);
    for file in [path.clone(), path.with_extension("db-wal")] {
        let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        assert!(!text.contains("cured") && !text.contains("many"), "{text}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_dropped_and_a_topic_replayed() {
    let running = Running::start("").await;
    running.count(POISON, 1).await;
    let dead = letter(&running).await;
    let drop = json!({"group": "counter", "letters": [dead["letter"]]});
    assert_eq!(running.post("/api/dead-letters/drop", drop).await.body, json!({"done": 1}));
    assert_eq!(running.get("/api/dead-letters").await.body, json!({"letters": [], "more": false}));

    running.count("again", 2).await;
    eventually("the event", async || (heard(&running, "other", "again") == 1).then_some(())).await;
    let seek = json!({"topic": "counted", "to": "beginning"});
    assert_eq!(running.post("/api/groups/other/seek", seek).await.status, 200);
    eventually("it once more", async || (heard(&running, "other", "again") == 2).then_some(())).await;

    // A topic that there is, but that it does not read.
    let seek = json!({"topic": "counter.dead-letters", "to": "beginning"});
    let refused = running.post("/api/groups/other/seek", seek).await;
    assert_eq!((refused.refused(400), refused.fields()), ("INVALID_FIELD", vec!["topic"]));
    assert!(refused.body["detail"].as_str().unwrap().contains("it reads counted"), "{}", refused.body);

    let topics = running.get("/api/topics").await.body;
    let counted = topics["topics"].as_array().unwrap().iter().find(|t| t["topic"] == "counted").unwrap();
    let ends = counted["partitions"].as_array().unwrap().iter().map(|p| p["next"].as_u64().unwrap());
    assert_eq!(ends.sum::<u64>(), 2);
    let messages = running.get("/api/topics/counted/messages?limit=1").await.body;
    let [message] = messages["messages"].as_array().unwrap().as_slice() else { panic!("{messages}") };
    assert_eq!(
        (&message["payload"], &message["payload_kind"]),
        (&json!({"name": "again", "number": 2}), &json!("json"))
    );
    let place = format!("partition={}&offset={}", message["partition"], message["offset"]);
    let same = running.get(&format!("/api/topics/counted/messages?{place}")).await.body;
    assert_eq!(same["messages"][0]["id"], message["id"]);
    running.stop().await;
}
