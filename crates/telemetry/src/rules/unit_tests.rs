//! Tests of the rules, for `promtool test rules`: for each alert, series that make it fire, and series that do not.
//!
//! They are of classic histograms, which is all that promtool's notation has.

use super::objectives::{burns_at, indicator};
use super::promql::{classic_le, matchers, quoted, spelled};
use super::yaml::text;
use super::{Rule, RuleKind, Scope};
use crate::slo::{Indicator, Objective};
use std::fmt::Write;

/// Minutes that every test goes on for, and the minute that is looked at.
const MINUTES: u32 = 18;
const LOOK_MIN: u32 = 16;
/// The highest bound of a classic bucket, in seconds.
const HIGHEST: f64 = 64.0;

const EDGE: &str = "http_server_request_duration_seconds";
const ROUTE: &str = "service_name=\"gateway\", http_request_method=\"GET\", http_route=\"/x\"";
const CALLS: &str = "rpc_server_call_duration_seconds";
const CLIENTS: &str = "rpc_client_call_duration_seconds";
const METHOD: &str = "service_name=\"orders\", rpc_method=\"a.v1.Orders/Place\"";

/// Work that is measured with an rpc status, and labels of it.
const WORKS: [(&str, &str); 5] = [
    (CALLS, METHOD),
    (
        "messaging_process_duration_seconds",
        "messaging_consumer_group_name=\"g\", messaging_destination_name=\"t\"",
    ),
    (
        "banyan_saga_operation_duration_seconds",
        "banyan_saga_workflow=\"w\", banyan_saga_operation=\"step a\"",
    ),
    ("messaging_client_operation_duration_seconds", "messaging_destination_name=\"t\""),
    ("db_client_operation_duration_seconds", "service_name=\"orders\", db_operation_name=\"transact\""),
];

/// A series, and its values as promtool writes them.
type Series = (String, String);

/// One test.
struct Case {
    series: Vec<Series>,
    /// What is asked, and the samples of the answer.
    asked: Vec<(String, Vec<String>)>,
}

pub(super) fn of(scope: &Scope, rules: &str) -> String {
    let mut out = format!(
        "# Tests of the rules of {:?}: promtool test rules FILE\nrule_files: [{}]\nevaluation_interval: 1m\ntests:\n",
        scope.system,
        text(rules)
    );
    let mut cases = vec![healthy(scope), failing(scope), down(scope), nobody_there(scope), full(scope)];
    cases.push(lost(scope));
    cases.extend(
        scope.objectives.iter().flat_map(|objective| [kept(scope, objective), missed(scope, objective)]),
    );
    cases.iter().for_each(|case| put(&mut out, case));
    out
}

fn put(out: &mut String, case: &Case) {
    out.push_str("  - interval: 1m\n    input_series:\n");
    for (series, values) in &case.series {
        let _ = writeln!(out, "      - series: {}\n        values: {}", text(series), text(values));
    }
    out.push_str("    promql_expr_test:\n");
    for (expr, samples) in &case.asked {
        let _ = writeln!(out, "      - expr: {}\n        eval_time: {LOOK_MIN}m", text(expr));
        out.push_str(if samples.is_empty() { "        exp_samples: []\n" } else { "        exp_samples:\n" });
        for labels in samples {
            let _ = writeln!(out, "          - labels: {}\n            value: 1", text(labels));
        }
    }
}

/// Values that begin at 0 and grow by so much a minute.
fn growing(by: u32) -> String {
    format!("0+{by}x{MINUTES}")
}

fn steady(value: f64) -> String {
    format!("{value}+0x{MINUTES}")
}

/// Asks which of these alerts fire.
fn which_fire(names: &[&str], more: &str) -> String {
    format!(
        "count by (alertname) (ALERTS{{alertstate=\"firing\", alertname=~\"{}\"{more}}}) > bool 0",
        names.join("|")
    )
}

/// Asks for exactly these alerts.
fn fire(names: &[&str], more: &str) -> (String, Vec<String>) {
    let samples = names.iter().map(|name| format!("{{alertname=\"{name}\"}}"));
    (which_fire(names, more), samples.collect())
}

impl Scope {
    fn series(&self, name: &str, labels: &str) -> String {
        format!("{name}{{job={}, {labels}}}", quoted(&self.job))
    }

    fn up(&self, value: f64) -> Series {
        (self.series("up", "instance=\"a:1\""), steady(value))
    }

    /// A histogram of what is done in less than a millisecond, so many a minute.
    fn quick(&self, metric: &str, labels: &str, by: u32) -> Vec<Series> {
        vec![
            (self.series(&format!("{metric}_count"), labels), growing(by)),
            (
                self.series(&format!("{metric}_bucket"), &format!("{labels}, le=\"0.0009765625\"")),
                growing(by),
            ),
            (self.series(&format!("{metric}_bucket"), &format!("{labels}, le=\"+Inf\"")), growing(by)),
        ]
    }

    /// The alerts that are of no objective.
    fn plain_alerts(&self) -> Vec<&'static str> {
        let name = |rule: &Rule| match rule.kind {
            RuleKind::Alert { name, .. } => Some(name),
            RuleKind::Record(_) => None,
        };
        super::alerts::all(self).iter().filter_map(name).collect()
    }
}

/// One of a thousand fails, and refusals are no failures: nobody is woken.
fn healthy(scope: &Scope) -> Case {
    let mut series = vec![scope.up(1.0)];
    for (code, by) in [("200", 9_990), ("404", 5_000), ("500", 10)] {
        series.extend(scope.quick(EDGE, &format!("{ROUTE}, http_response_status_code=\"{code}\""), by));
    }
    for (metric, labels) in WORKS {
        for (code, by) in [("OK", 9_990), ("NOT_FOUND", 5_000), ("UNAVAILABLE", 10)] {
            series.extend(scope.quick(metric, &format!("{labels}, rpc_response_status_code=\"{code}\""), by));
        }
    }
    Case { series, asked: vec![(which_fire(&scope.plain_alerts(), ""), Vec::new())] }
}

/// Three of a hundred fail, of everything.
fn failing(scope: &Scope) -> Case {
    let mut series = vec![scope.up(1.0)];
    for (code, by) in [("200", 97), ("503", 3)] {
        series.extend(scope.quick(EDGE, &format!("{ROUTE}, http_response_status_code=\"{code}\""), by));
    }
    for (metric, labels) in WORKS {
        for (code, by) in [("OK", 97), ("INTERNAL", 3)] {
            series.extend(scope.quick(metric, &format!("{labels}, rpc_response_status_code=\"{code}\""), by));
        }
    }
    let alerts = [
        "EdgeErrorRate",
        "ServiceErrorRate",
        "ConsumerErrorRate",
        "SagaErrorRate",
        "PublishErrorRate",
        "StoreErrorRate",
    ];
    let share = format!(
        "round(sum by (service_name) (owner:http_server_request_errors:ratio_rate{}{{{}}}), 0.001) == bool 0.03",
        scope.pace.window(),
        scope.matcher()
    );
    Case { series, asked: vec![fire(&alerts, ""), (share, vec!["{service_name=\"gateway\"}".to_owned()])] }
}

fn down(scope: &Scope) -> Case {
    Case { series: vec![scope.up(0.0)], asked: vec![fire(&["SystemDown"], "")] }
}

/// Callers of a service find nobody.
fn nobody_there(scope: &Scope) -> Case {
    let labels = |code: &str| format!("{METHOD}, rpc_response_status_code=\"{code}\"");
    let mut series = vec![scope.up(1.0)];
    series.extend(scope.quick(CLIENTS, &labels("OK"), 40));
    series.extend(scope.quick(CLIENTS, &labels("UNAVAILABLE"), 60));
    Case { series, asked: vec![fire(&["ServiceDown"], ", rpc_service=\"a.v1.Orders\"")] }
}

fn full(scope: &Scope) -> Case {
    let labels = "service_name=\"orders\", service_instance_id=\"main\"";
    let of = |name: &str, value: f64| (scope.series(name, labels), steady(value));
    let pool = format!("{labels}, db_client_connection_pool_name=\"store\"");
    let used = format!("{pool}, db_client_connection_state=\"used\"");
    let series = vec![
        scope.up(1.0),
        of("banyan_outbox_age_seconds", 300.0),
        of("banyan_consumer_lag_time_seconds", 300.0),
        of("banyan_rpc_server_active_calls", 95.0),
        of("banyan_rpc_server_active_calls_max", 100.0),
        (scope.series("db_client_connection_count", &used), steady(10.0)),
        (scope.series("db_client_connection_max", &pool), steady(10.0)),
        of("process_open_file_descriptor_count", 1_000.0),
        of("banyan_process_open_file_descriptor_limit", 1_024.0),
    ];
    let alerts =
        ["OutboxBehind", "ConsumerBehind", "CallsSaturated", "StoreConnectionsSaturated", "FilesSaturated"];
    Case { series, asked: vec![fire(&alerts, "")] }
}

fn lost(scope: &Scope) -> Case {
    let series = vec![
        scope.up(1.0),
        (scope.series("banyan_telemetry_spans_lost_total", "service_instance_id=\"main\""), growing(5)),
        (scope.series("banyan_telemetry_export_lost_total", "banyan_telemetry_signal=\"logs\""), growing(5)),
    ];
    Case { series, asked: vec![fire(&["SpansLost", "ExportLost"], "")] }
}

/// The alerts of objectives, with the label that says which.
const OF_OBJECTIVES: [&str; 3] = ["SlowerThanPromised", "ErrorBudgetBurnsFast", "ErrorBudgetBurns"];

/// All of an objective's work is good.
fn kept(scope: &Scope, objective: &Objective) -> Case {
    let series = work(scope, objective, false);
    Case { series, asked: vec![(which_fire(&OF_OBJECTIVES, &of_objective(objective)), Vec::new())] }
}

/// None of an objective's work is good.
fn missed(scope: &Scope, objective: &Objective) -> Case {
    let mut alerts = vec!["ErrorBudgetBurns"];
    // Of a budget of a half, not even an outage takes the share of an hour in an hour.
    if burns_at(scope, objective) {
        alerts.push("ErrorBudgetBurnsFast");
    }
    match objective.indicator {
        Indicator::Availability => {}
        // No bucket ends there: promtool's notation cannot say what is slower.
        Indicator::Latency { ms } if ms as f64 / 1e3 >= HIGHEST => alerts.clear(),
        Indicator::Latency { .. } => alerts.push("SlowerThanPromised"),
    }
    Case { series: work(scope, objective, true), asked: vec![fire(&alerts, &of_objective(objective))] }
}

fn of_objective(objective: &Objective) -> String {
    format!(", slo={}, indicator=\"{}\"", quoted(&objective.name), indicator(objective))
}

fn work(scope: &Scope, objective: &Objective, bad: bool) -> Vec<Series> {
    let metric = format!("{}_seconds", spelled(&objective.metric));
    let outcome = spelled(objective.outcome_label());
    let fails = bad && objective.indicator == Indicator::Availability;
    let code = match (outcome.starts_with("http"), fails) {
        (true, false) => "200",
        (true, true) => "500",
        (false, false) => "OK",
        (false, true) => "INTERNAL",
    };
    // A name that begins so is named so.
    let named =
        matchers(objective, &scope.job).replace("=~\"", "=\"").replace(".*\"", "\"").replace("\\\\", "");
    let labels = format!("{named}, {outcome}=\"{code}\"");
    let of = |name: &str, labels: &str, by| (format!("{metric}_{name}{{{labels}}}"), growing(by));
    let mut bounds = vec![0.000_976_562_5, HIGHEST];
    if let Indicator::Latency { ms } = objective.indicator {
        bounds.extend(classic_le(ms as f64 / 1e3).filter(|bound| *bound < HIGHEST));
    }
    let slow = bad && !fails;
    let mut series = vec![scope.up(1.0), of("count", &labels, 100)];
    for bound in bounds {
        series.push(of("bucket", &format!("{labels}, le=\"{bound}\""), if slow { 0 } else { 100 }));
    }
    series.push(of("bucket", &format!("{labels}, le=\"+Inf\""), 100));
    series
}
