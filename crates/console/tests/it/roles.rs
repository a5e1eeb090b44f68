//! Who may do what, and that it is noted whatever became of it.

use crate::running::Running;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_what_it_may_and_all_of_it_is_noted() {
    let running = Running::with_users().await;
    let (vic, oli, ada) =
        (running.log_in("vic").await, running.log_in("oli").await, running.log_in("ada").await);
    let call = |method: &str| json!({"method": format!("test.v1.CounterService/{method}"), "message": {"name": "a", "number": 1}});
    let to = json!({"process": "elsewhere", "new": false});

    // Who looks moves nothing, and is told why.
    let told = running.post_as(&vic, "/api/services/counter/move", to.clone()).await;
    assert_eq!(told.refused(403), "PERMISSION_DENIED");
    let why = told.body["detail"].as_str().unwrap();
    assert!(why.contains("needs the role admin") && why.contains("vic has the role viewer"), "{why}");
    assert_eq!(running.post_as(&vic, "/api/call", call("Get")).await.refused(403), "PERMISSION_DENIED");
    for path in ["/api/system", "/api/topics", "/api/dead-letters", "/api/config", "/api/audit"] {
        assert_eq!(running.get_as(&vic, path).await.status, 200, "{path}");
    }
    // Once more: it is one entry.
    assert_eq!(running.post_as(&vic, "/api/call", call("Get")).await.refused(403), "PERMISSION_DENIED");
    // Who works on what stands still reads with calls, and changes nothing with them.
    assert_eq!(running.post_as(&oli, "/api/call", call("Get")).await.status, 200);
    assert_eq!(running.post_as(&oli, "/api/call", call("Add")).await.refused(403), "PERMISSION_DENIED");
    assert_eq!(
        running.post_as(&oli, "/api/config/reload", json!({})).await.refused(403),
        "PERMISSION_DENIED"
    );
    let seek = json!({"topic": "counted", "to": "beginning"});
    assert_eq!(running.post_as(&oli, "/api/groups/nobody/seek", seek).await.refused(404), "NOT_FOUND");
    assert_eq!(running.post_as(&ada, "/api/call", call("Add")).await.status, 200);
    let told = running.post_as(&ada, "/api/services/counter/move", to).await;
    assert_eq!(told.refused(404), "PROCESS_UNKNOWN");
    let cancel = running.post_as(&ada, "/api/sagas/counter/s-1/cancel", json!({"reason": "a test"})).await;
    assert!(cancel.status.is_client_error(), "{}", cancel.body);

    let operations = running.operations();
    let expected = [
        "ada move counter: PROCESS_UNKNOWN",
        "ada call test.v1.CounterService/Add: done",
        "oli replay nobody: NOT_FOUND",
        "oli reload configuration test: PERMISSION_DENIED",
        "oli call test.v1.CounterService/Add: PERMISSION_DENIED",
        "oli call test.v1.CounterService/Get: done",
        "vic call test.v1.CounterService/Get: PERMISSION_DENIED",
        "vic move counter: PERMISSION_DENIED",
        "ada log in console: done",
        "oli log in console: done",
        "vic log in console: done",
    ];
    assert!(operations[0].starts_with("ada cancel saga counter/s-1: "), "{operations:?}");
    assert_eq!(operations[1..], expected);
    let all = running.get_as(&vic, "/api/audit").await.body;
    let counts: Vec<_> =
        all["entries"].as_array().unwrap().iter().map(|o| o["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]);
    let page = running.get_as(&vic, "/api/audit?limit=2").await.body;
    assert_eq!(page["entries"].as_array().unwrap().len(), 2);
    let next = running.get_as(&vic, &format!("/api/audit?limit=2&before={}", page["next"])).await.body;
    assert_eq!(next["entries"][0]["action"], "call");
    assert_eq!(next["entries"][0]["arguments"]["message"]["name"], "a");
    running.stop().await;
}
