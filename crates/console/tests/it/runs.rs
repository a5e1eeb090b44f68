//! The runs that are remembered, and their comparison.

use crate::running::Running;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_told_and_compared_within_bounds() {
    let running = Running::start("telemetry.label = \"only\"\n").await;
    let runs = running.get("/api/runs").await.body["runs"].clone();
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
    assert_eq!(
        (&runs[0]["id"], &runs[0]["label"], &runs[0]["state"]),
        (&json!(1), &json!("only"), &json!("running"))
    );
    assert!(runs[0]["until_ms"].as_u64() >= runs[0]["started_ms"].as_u64(), "{runs}");

    running.count("a", 1).await;
    let itself = running.get("/api/runs/compare?before=only&after=1&skip_s=0&percent=15&ms=0.1").await;
    assert_eq!(itself.status, 200, "{}", itself.body);
    assert_eq!(
        (&itself.body["before"]["run"]["state"], &itself.body["after"]["run"]["id"]),
        (&json!("running"), &json!(1))
    );
    let verdicts = itself.body["work"].as_array().unwrap();
    assert!(
        verdicts.iter().all(|work| ["same", "unclear"].map(Value::from).contains(&work["verdict"])),
        "{verdicts:?}"
    );

    let missing = running.get("/api/runs/compare?before=1&after=9").await;
    assert_eq!(missing.refused(404), "NOT_FOUND");
    for (query, field) in [
        ("skip_s=90000", "skip_s"),
        ("percent=9", "percent"),
        ("ms=-1", "ms"),
        ("ms=NaN", "ms"),
        ("ms=x", "ms"),
    ] {
        let told = running.get(&format!("/api/runs/compare?before=1&after=1&{query}")).await;
        assert_eq!(
            (told.refused(400), &told.body["violations"][0]["field"]),
            ("INVALID_FIELD", &json!(field)),
            "{query}"
        );
    }
    assert_eq!(running.get("/api/runs/compare?before=1").await.refused(400), "INVALID_FIELD");
    running.stop().await;
}
