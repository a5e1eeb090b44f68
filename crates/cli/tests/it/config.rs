//! `config show` and `config diff`, from outside.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const BASE: &str = "\
port = 2000
stores.default = 'postgres://app:hunter2@db/{service}'

[limits]
drain_ms_max = 5

[services.orders]
pin_code = '${env:ORDERS_PIN}'
api_key = 'hunter2'
";

/// A folder with a configuration and a profile `fleet`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("banyan.toml"), BASE).expect("the folder can be written");
    let fleet = "[limits]\ndrain_ms_max = 6\n[events]\nurl = 'kafka://app:hunter3@k:9092'\n\
                 [stores]\ndefault = 'postgres://app:hunter3@db/{service}'\n";
    std::fs::write(folder.path().join("banyan.fleet.toml"), fleet).expect("the folder can be written");
    folder
}

fn banyan(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    for inherited in ["BANYAN_DATA", "BANYAN_PROFILE"] {
        command.env_remove(inherited);
    }
    let output = command
        .current_dir(folder)
        .envs(variables.iter().copied())
        .args(arguments)
        .output()
        .expect("the program starts");
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(stream);
        assert!(!text.contains("hunter"), "a secret is shown: {text}");
    }
    output
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

/// Returns the value and the origin at `key`.
fn at<'v>(shown: &'v Value, key: &str) -> (&'v Value, &'v Value) {
    let entry = shown["values"].as_array().expect("a list").iter().find(|entry| entry["key"] == key);
    let entry = entry.unwrap_or_else(|| panic!("{key} is not in {shown}"));
    (&entry["value"], &entry["origin"])
}

fn refused(output: &Output, status: i32) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn every_value_is_shown_with_its_origin() {
    let folder = folder();
    let variables = [("BANYAN__LIMITS__TOPIC_PARTITIONS", "3"), ("BANYAN_DATA", "elsewhere")];
    let arguments = ["config", "show", "--json", "--profile", "fleet", "--apart", "orders"];
    let shown = json(&banyan(folder.path(), &variables, &arguments));
    assert_eq!(shown["profile"], "fleet");
    let origin = |key| at(&shown, key).1;
    assert_eq!(origin("port"), &serde_json::json!({"kind": "file", "path": "banyan.toml", "line": 1}));
    assert_eq!(origin("limits.drain_ms_max")["path"], "banyan.fleet.toml");
    assert_eq!(origin("limits.topic_partitions")["name"], "BANYAN__LIMITS__TOPIC_PARTITIONS");
    assert_eq!(origin("data")["name"], "BANYAN_DATA");
    assert_eq!(origin("placement.apart"), &serde_json::json!({"kind": "flag", "name": "--apart"}));
    assert_eq!(origin("limits.log_bytes_max"), &serde_json::json!({"kind": "default"}));
    let value = |key| at(&shown, key).0;
    assert_eq!((value("limits.drain_ms_max"), value("limits.topic_partitions")), (&6.into(), &3.into()));
    assert_eq!(value("stores.default"), "postgres://app:[redacted]@db/{service}");
    assert_eq!(value("services.orders.pin_code"), "${env:ORDERS_PIN}");
    assert_eq!(value("services.orders.api_key"), "[redacted]");
}

#[test]
fn one_key_is_shown_alone_and_an_unknown_one_is_told() {
    let folder = folder();
    let output =
        banyan(folder.path(), &[("BANYAN_PROFILE", "fleet")], &["config", "show", "limits.drain_ms_max"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text.lines().nth(1),
        Some("limits.drain_ms_max  6      live        banyan.fleet.toml:2"),
        "{text}"
    );
    let error = refused(&banyan(folder.path(), &[], &["config", "show", "limits.drain_ms", "--json"]), 1);
    assert!(error["message"].as_str().unwrap().contains("limits.drain_ms_max"), "{error}");
}

#[test]
fn what_differs_is_shown() {
    let folder = folder();
    let shown = json(&banyan(folder.path(), &[], &["config", "diff", "default", "fleet", "--json"]));
    let keys: Vec<_> =
        shown["differences"].as_array().unwrap().iter().map(|d| d["key"].as_str().unwrap()).collect();
    // The stores differ in their passwords alone.
    assert_eq!(keys, ["events.url", "limits.drain_ms_max", "stores.default"]);
    assert_eq!(shown["differences"][0]["left"], Value::Null);
    assert_eq!(shown["differences"][1]["right"]["origin"]["line"], 2);
    let output = banyan(folder.path(), &[], &["config", "diff", "fleet", "fleet"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "fleet and fleet do not differ\n");
    let output = banyan(folder.path(), &[], &["config", "diff", "./banyan.toml", "default"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("do not differ"));
}

#[test]
fn a_mistake_is_told_before_anything_starts() {
    let folder = folder();
    let mistake = |variables: &[(&str, &str)], arguments: &[&str], status: i32| {
        let error = refused(&banyan(folder.path(), variables, &[arguments, &["--json"]].concat()), status);
        (
            error["field"].as_str().unwrap_or_default().to_owned(),
            error["message"].as_str().unwrap().to_owned(),
        )
    };
    let (field, message) = mistake(&[("BANYAN__LIMTS__DRAIN_MS_MAX", "5")], &["config", "show"], 1);
    assert_eq!(field, "limts");
    assert!(message.contains("BANYAN__LIMTS__DRAIN_MS_MAX") && message.contains("\"limits\""), "{message}");
    let (field, message) = mistake(&[], &["config", "show", "--set", "limits.drain_ms_max=soon"], 2);
    assert!(field == "limits.drain_ms_max" && message.contains("(--set)"), "{message}");
    let (_, message) = mistake(&[], &["config", "show", "--profile", "flet"], 1);
    assert!(message.contains("banyan.flet.toml"), "{message}");
    std::fs::write(folder.path().join("banyan.toml"), "\n[limits]\ndrain_ms = 5\n").unwrap();
    let (field, message) = mistake(&[], &["config", "show"], 1);
    assert!(field == "limits.drain_ms" && message.contains("(banyan.toml:3)"), "{message}");
    // What only looks for a system needs the data folder alone: the status is where a refused configuration is seen.
    let (_, message) = mistake(&[], &["status"], 1);
    assert!(message.contains("no system runs"), "{message}");
}
