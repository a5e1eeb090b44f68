//! What is remembered of a system that does not run, as it is asked for from outside.

use banyan_core::Env;
use banyan_telemetry::{Exchange, Keeper, Kind, Memory, Span, Status, TelemetryOptions};
use serde_json::Value;
use std::process::{Command, Output};
use std::sync::Arc;
use tempfile::TempDir;

/// The data folder of a system that has ended.
struct System(TempDir);

impl System {
    async fn remembering(spans: Vec<Span>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("telemetry.db");
        let memory = Memory::open(&path, &TelemetryOptions::default(), &Env::default()).expect("it begins");
        let batch = Exchange { process: "main".to_owned(), spans, ..Exchange::default() };
        memory.exchange(Arc::new(batch)).await.expect("it is kept");
        Self(folder)
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
        let command = command.env_remove("BANYAN_PROFILE").env_remove("RUST_LOG").current_dir(self.0.path());
        let folder = [self.0.path()];
        command.arg("--json").arg("--data").args(folder).args(arguments).output().expect("it starts")
    }

    fn refused(&self, arguments: &[&str], status: i32) -> Value {
        let output = self.ask(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}");
        serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"))
    }
}

/// A span of `service` for an order.
fn span(trace_id: u128, service: &str, order: &str) -> Span {
    Span {
        trace_id,
        span_id: 1,
        parent_id: 0,
        service: service.to_owned(),
        process: "main".to_owned(),
        kind: Kind::Internal,
        name: "step pay".to_owned(),
        started_ns: 1_000_000,
        duration_ns: 1_000_000,
        status: Status::Ok,
        code: String::new(),
        reason: String::new(),
        message: String::new(),
        correlation_id: format!("c-{trace_id}"),
        attributes: vec![("banyan.saga.id".to_owned(), order.into())],
        links: Vec::new(),
    }
}

#[tokio::test]
async fn the_end_of_an_orders_number_is_enough_if_one_order_has_it() {
    let orders = ["01a1ffe6-5d0ca69ec2e6", "01a1ffe7-5d0ca69ec2e6", "01a1ffe8-0000c0ffee00"];
    let spans = (1..).zip(orders).map(|(trace, order)| span(trace, "orders", order)).collect();
    let system = System::remembering(spans).await;
    let shown = system.ask(&["traces", "show", "C0FFEE00"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("it prints JSON");
    assert_eq!(shown["trace_id"], format!("{:032x}", 3));
    let said = system.refused(&["traces", "show", "A69EC2E6"], 2);
    let text = said["message"].as_str().unwrap_or_default();
    assert!(text.contains(orders[0]) && text.contains(orders[1]), "{said}");
    assert_eq!(system.refused(&["traces", "show", "A69EC2E7"], 1)["code"], "NOT_FOUND");
}

#[tokio::test]
async fn an_answer_without_anything_names_the_service_that_was_meant() {
    let system = System::remembering(vec![span(1, "payments", "o-1")]).await;
    for (verb, key) in [("traces", "traces"), ("logs", "lines")] {
        let answer = system.ask(&[verb, "--service", "paymens"]);
        let said = String::from_utf8_lossy(&answer.stderr);
        assert!(
            said.contains("\"paymens\"") && said.contains("the nearest is \"payments\""),
            "{verb}: {said}"
        );
        let value: Value = serde_json::from_slice(&answer.stdout).expect("it prints JSON");
        assert!(answer.status.success() && value[key] == serde_json::json!([]), "{value}");
        let answer = system.ask(&[verb, "--service", "payments"]);
        assert!(answer.status.success() && answer.stderr.is_empty(), "{verb}: it is known");
    }
}

#[tokio::test]
async fn a_memory_of_another_version_is_told_from_a_broken_one() {
    let system = System::remembering(Vec::new()).await;
    let file = system.0.path().join("telemetry.db");
    let mut bytes = std::fs::read(&file).expect("it is there");
    // SQLite's `user_version`.
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&file, bytes).expect("it can be written");
    let said = system.refused(&["traces"], 1);
    assert_eq!((&said["reason"], &said["code"]), (&"MEMORY_VERSION".into(), &"FAILED_PRECONDITION".into()));
    let text = format!("{} {}", said["message"], said["next_step"]);
    assert!(text.contains("version 99") && text.contains("program that wrote it"), "{text}");
}
