//! What the console shows: the system, the map, traces, services, contracts, measurements.

use crate::running::Running;
use banyan_testkit::eventually;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_on_the_map_and_its_trace_has_its_event() {
    let running = Running::start("").await;
    let message = json!({"name": "seen", "number": 3});
    let told =
        running.post("/api/call", json!({"method": "test.v1.CounterService/Add", "message": message})).await;
    assert_eq!(told.body["message"], message);
    let trace = told.body["trace_id"].as_str().unwrap().to_owned();
    let shown = eventually("the whole trace", async || {
        let shown = running.get(&format!("/api/traces/{trace}")).await;
        let spans = shown.body["spans"].as_array()?.clone();
        let has = |name: &str| spans.iter().any(|span| span["name"] == name);
        let whole = has("publish test.v1.Counted")
            && spans.iter().filter(|span| span["name"] == "process test.v1.Counted").count() == 2;
        whole.then_some(shown.body)
    })
    .await;
    let [event] = shown["events"].as_array().unwrap().as_slice() else { panic!("{shown}") };
    assert_eq!(
        (&event["topic"], &event["type"], &event["key"]),
        (&json!("counted"), &json!("test.v1.Counted"), &json!("seen"))
    );
    let place = format!("partition={}&offset={}&limit=1", event["partition"], event["offset"]);
    let kept = running.get(&format!("/api/topics/counted/messages?{place}")).await.body;
    assert_eq!((&kept["messages"][0]["id"], &kept["messages"][0]["trace_id"]), (&event["id"], &json!(trace)));
    let found = running.get("/api/traces?q=seen").await.body;
    assert_eq!((&found["traces"][0]["trace_id"], &found["more"]), (&json!(trace), &json!(false)));
    let none = running.get("/api/traces?min_ms=3600000").await.body;
    assert_eq!(none, json!({"traces": [], "more": false, "looked_through": null}), "all was looked through");
    // What is no id is searched for, there too.
    assert_eq!(running.get("/api/traces/seen").await.body["trace_id"], trace.as_str());
    assert!(running.get("/api/logs?trace=seen").await.body["lines"].is_array());

    let map = eventually("the call on the map", async || {
        let map = running.get("/api/map?window_s=60").await.body;
        let node = map["nodes"].as_array()?.iter().find(|n| n["id"] == "service:counter")?.clone();
        (node["rate"].as_f64()? > 0.0).then_some(map)
    })
    .await;
    let edge = |from: &str, to: &str| {
        let edges = map["edges"].as_array().unwrap();
        edges.iter().find(|e| e["from"] == from && e["to"] == to).map(|e| e["kind"].clone())
    };
    assert_eq!(edge("service:counter", "topic:counted"), Some(json!("publish")));
    assert_eq!(edge("topic:counted", "service:other"), Some(json!("consume")));
    assert_eq!(edge("service:counter", "store:counter"), Some(json!("store")));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_shows_its_contract_and_a_failed_call_its_problem() {
    let running = Running::start("[services.other]\n").await;
    let service = running.get("/api/services/counter").await.body;
    assert_eq!((&service["state"], &service["processes"]), (&json!("READY"), &json!(["main"])));
    let methods = service["contracts"][0]["methods"].as_array().unwrap();
    let reads: Vec<_> = methods.iter().map(|m| (m["name"].clone(), m["no_side_effects"].clone())).collect();
    let named = [("Add", false), ("Get", true), ("Count", true), ("Sum", true)];
    assert_eq!(reads, named.map(|(name, reads)| (json!(name), json!(reads))));
    assert_eq!((&service["health"]["name"], &service["health"]["status"]), (&json!("counter"), &json!("ok")));
    let health = running.get("/api/health").await.body;
    assert_eq!((&health["kind"], &health["status"]), (&json!("system"), &json!("ok")), "{health}");
    let contract = running.get("/api/contracts/test.v1.CounterService").await.body;
    assert_eq!(contract["methods"][0]["input"]["$ref"], "#/components/schemas/test.v1.Counted");
    let schema = &contract["components"]["schemas"]["test.v1.Counted"]["properties"];
    assert_eq!(schema["name"]["type"], "string");

    let told = running.post("/api/call", json!({"method": "test.v1.CounterService/Get"})).await;
    assert_eq!((told.refused(400), told.fields()), ("INVALID_FIELD", vec!["name"]));
    assert_eq!(told.body["instance"].as_str().unwrap().len(), 32);

    let system = running.get("/api/system").await.body;
    assert_eq!((&system["system"], system["processes"].as_array().unwrap().len()), (&json!("test"), 1));
    let config = running.get("/api/config").await.body;
    let key = |entry: &&Value| entry["key"] == "limits.delivery_attempts_max";
    let entry = config["entries"].as_array().unwrap().iter().find(key).unwrap();
    assert_eq!((&entry["value"], &entry["takes"]), (&json!("1"), &json!("live")));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_auditor_writes_is_shown() {
    let running = Running::start("").await;
    let found = json!({"checked_ms": 1, "ok": true, "checks": []});
    std::fs::create_dir_all(running.folder.path().join("run")).unwrap();
    std::fs::write(running.folder.path().join("run/invariants.json"), found.to_string()).unwrap();
    assert_eq!(running.get("/api/invariants").await.body, found);
    std::fs::write(running.folder.path().join("run/invariants.json"), "{").unwrap();
    assert_eq!(running.get("/api/invariants").await.refused(500), "DATA_LOSS");
    assert!(running.get("/api/slos").await.body["slos"].is_array());
    assert!(running.get("/api/metrics").await.body["metrics"].is_array());
    assert!(running.get("/api/logs").await.body["lines"].is_array());
    running.stop().await;
}
