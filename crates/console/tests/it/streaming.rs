//! Calls that are answered with a stream: the answers come one by one, within bounds, and how it ended is noted.

use crate::running::Running;
use axum::body::Body;
use banyan_testkit::eventually;
use http::{Method, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::time::Duration;

/// How long anything may take that is to come soon.
const SOON: Duration = Duration::from_secs(60);

/// As many answers as are followed.
const ANSWERS_MAX: usize = 1_000;

fn call(name: &str) -> Value {
    json!({"method": "test.v1.CounterService/Count", "message": {"name": name, "number": 1}})
}

/// What came, one event after the other.
struct Following(Body, String);

impl Following {
    async fn begin(running: &Running, cookie: &str, name: &str) -> Self {
        let request = running.request(Method::POST, "/api/stream").header(header::COOKIE, cookie);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let response = running.respond(request.body(Full::from(call(name).to_string())).unwrap()).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        Self(response.into_body(), String::new())
    }

    /// Returns the next event and its data; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.1.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let told = field("event: ")
                    .map(|name| (name.to_owned(), serde_json::from_str(field("data: ").unwrap()).unwrap()));
                self.1 = rest.to_owned();
                if told.is_some() {
                    return told;
                }
                continue;
            }
            let frame = tokio::time::timeout(SOON, self.0.frame()).await.expect("more comes")?;
            self.1.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    }

    async fn rest(&mut self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        while let Some(told) = self.next().await {
            all.push(told);
        }
        all
    }
}

/// Waits until the latest operation has ended; returns who did what, and how it ended.
async fn noted(running: &Running) -> String {
    eventually("the call was noted", async || {
        running
            .operations()
            .first()
            .filter(|latest| latest.contains("Count: ") && !latest.ends_with("unknown"))
            .cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_one_by_one_and_their_end_is_told() {
    let running = Running::start("").await;
    let told = Following::begin(&running, "", "a").await.rest().await;
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["begun", "answer", "answer", "answer", "end"]);
    assert_eq!(told[3].1, json!({"number": 3, "message": {"name": "a", "number": 3}}));
    assert_eq!((&told[4].1["why"], &told[4].1["answers"]), (&json!("whole"), &json!(3)));
    assert_eq!(noted(&running).await, "local call test.v1.CounterService/Count: done");
    let trace = told[0].1["trace_id"].as_str().unwrap().to_owned();
    eventually("its trace was kept", async || {
        (running.get(&format!("/api/traces/{trace}")).await.status == 200).then_some(())
    })
    .await;

    // What fails half-way is told with what came before; what fails at once is the answer itself.
    let told = Following::begin(&running, "", "breaks").await.rest().await;
    assert_eq!(
        told.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["begun", "answer", "problem"]
    );
    assert_eq!((&told[2].1["reason"], &told[2].1["detail"]), (&json!("UNAVAILABLE"), &json!("it broke")));
    let refused = running.post("/api/stream", call("")).await;
    assert_eq!(
        (refused.refused(400), &refused.body["violations"][0]["field"]),
        ("INVALID_FIELD", &json!("name"))
    );
    assert_eq!(running.operations()[0], "local call test.v1.CounterService/Count: INVALID_FIELD");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_without_an_end_is_ended() {
    let running = Running::start("").await;
    let told = Following::begin(&running, "", "endless").await.rest().await;
    assert_eq!(told.len(), ANSWERS_MAX + 2);
    assert_eq!(
        (&told[ANSWERS_MAX + 1].0, &told[ANSWERS_MAX + 1].1["why"]),
        (&"end".to_owned(), &json!("number"))
    );
    assert_eq!(noted(&running).await, "local call test.v1.CounterService/Count: CANCELLED");
    // Who goes away stops it, and its place is free: there are sixteen.
    for _ in 0..20 {
        let mut following = Following::begin(&running, "", "slow").await;
        assert_eq!(following.next().await.unwrap().0, "begun");
        assert_eq!(following.next().await.unwrap().1["number"], 1);
        drop(following);
        assert_eq!(noted(&running).await, "local call test.v1.CounterService/Count: CANCELLED");
    }
    // The console ends those that go on, and says so.
    let mut following = Following::begin(&running, "", "slow").await;
    following.next().await.unwrap();
    running.stop().await;
    let last = following.rest().await.pop().unwrap();
    assert_eq!((last.0.as_str(), &last.1["why"]), ("end", &json!("console")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_session_of_who_called() {
    let running = Running::with_users().await;
    let (vic, oli) = (running.log_in("vic").await, running.log_in("oli").await);
    assert_eq!(running.post_as(&vic, "/api/stream", call("a")).await.refused(403), "PERMISSION_DENIED");
    let mut following = Following::begin(&running, &oli, "slow").await;
    following.next().await.unwrap();
    let leave = running.request(Method::DELETE, "/api/session").header(header::COOKIE, &oli);
    assert_eq!(running.send(leave.body(Full::default()).unwrap()).await.status, 204);
    let last = following.rest().await.pop().unwrap();
    assert_eq!((last.0.as_str(), &last.1["why"]), ("end", &json!("session")));
    assert_eq!(noted(&running).await, "oli call test.v1.CounterService/Count: CANCELLED");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_method_has_its_own_way_or_none() {
    let running = Running::start("").await;
    let to = |method: &str| json!({"method": format!("test.v1.CounterService/{method}"), "message": {"name": "a"}});
    for (path, method, why) in [
        ("/api/stream", "Get", "answers once"),
        ("/api/call", "Count", "/api/stream"),
        ("/api/call", "Sum", "gRPC client"),
        ("/api/stream", "Sum", "gRPC client"),
    ] {
        let told = running.post(path, to(method)).await;
        assert_eq!(told.refused(400), "INVALID_FIELD");
        let violation = &told.body["violations"][0];
        assert!(
            violation["field"] == "method" && violation["description"].as_str().unwrap().contains(why),
            "{violation}"
        );
    }
    let service = running.get("/api/services/counter").await.body;
    let methods = service["contracts"][0]["methods"].as_array().unwrap();
    let kinds: Vec<_> = methods.iter().map(|method| method["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["unary", "unary", "server_streaming", "client_streaming"]);
    running.stop().await;
}
