//! What is wrong whatever was promised: it is down, it fails, it is full, it has lost what it should have told.

use super::promql::{CALLS, CONSUMERS, EDGE, PUBLISHING, SAGAS, STORES, Work, rate};
use super::{Pace, Rule, RuleKind, Scope};

/// The share of work that may fail.
const ERRORS_MAX: f64 = 0.01;
/// The share of the calls to a service that find nobody, from which on it is down.
const UNAVAILABLE_MAX: f64 = 0.5;
/// The share of a bounded resource that may be in use.
const USED_MAX: f64 = 0.9;
/// Seconds that an event may wait in an outbox, or behind a consumer.
const BEHIND_MAX: u32 = 60;

/// What every alert says beside its summary.
pub(super) const LOOK: &str =
    "Look at the requests: `banyan traces --failed`, or the console; their spans say what failed.";

pub(super) fn all(scope: &Scope) -> Vec<Rule> {
    let mut alerts = down(scope);
    alerts.extend(errors(scope));
    alerts.extend(saturation(scope));
    alerts.extend(lost(scope));
    alerts
}

fn alert(
    name: &'static str,
    hold: &'static str,
    severity: &str,
    expr: String,
    summary: &str,
    description: &str,
) -> Rule {
    Rule {
        kind: RuleKind::Alert { name, hold },
        expr,
        labels: vec![("severity", severity.to_owned())],
        annotations: vec![("summary", summary.to_owned()), ("description", description.to_owned())],
    }
}

fn down(scope: &Scope) -> Vec<Rule> {
    let job = scope.matcher();
    let window = scope.pace.window();
    let hold = if scope.pace == Pace::Quick { "3s" } else { "1m" };
    let contract = |outcome: &str| {
        let matchers = format!("{job}{outcome}");
        let of_method = rate("rpc_client_call_duration_seconds", &matchers, window, &["job", "rpc_method"]);
        format!(
            "sum by (job, rpc_service) (label_replace({of_method}, \"rpc_service\", \"$1\", \"rpc_method\", \"(.*)/.*\"))"
        )
    };
    let nobody = contract(", rpc_response_status_code=\"UNAVAILABLE\"");
    vec![
        alert(
            "SystemDown",
            hold,
            "critical",
            format!("up{{{job}}} == 0 or absent(up{{{job}}})"),
            &format!("{} does not answer Prometheus", scope.system),
            "Is it running? `banyan status` says which processes there are; if none is, start it.",
        ),
        alert(
            "ServiceDown",
            hold,
            "critical",
            format!("{nobody} / {} > {UNAVAILABLE_MAX}", contract("")),
            "{{ $value | humanizePercentage }} of the calls of {{ $labels.rpc_service }} find nobody",
            "`banyan status` says where the service is placed and in which state it is; `banyan logs` why.",
        ),
    ]
}

fn errors(scope: &Scope) -> Vec<Rule> {
    let one = |name, work: &Work, what: &str| {
        let metric = work.metric.trim_end_matches("_duration_seconds");
        let expr = format!(
            "owner:{metric}_errors:ratio_rate{}{{{}}} > {ERRORS_MAX}",
            scope.pace.window(),
            scope.matcher()
        );
        let summary = format!("{{{{ $value | humanizePercentage }}}} of {what} fail");
        alert(name, scope.pace.hold(), "critical", expr, &summary, LOOK)
    };
    vec![
        one("EdgeErrorRate", &EDGE, "the requests at the edge"),
        one("ServiceErrorRate", &CALLS, "the calls that {{ $labels.service_name }} answers"),
        one(
            "ConsumerErrorRate",
            &CONSUMERS,
            "the attempts of {{ $labels.messaging_consumer_group_name }} to handle an event",
        ),
        one("SagaErrorRate", &SAGAS, "the attempts of the steps of {{ $labels.banyan_saga_workflow }}"),
        one("PublishErrorRate", &PUBLISHING, "the events for {{ $labels.messaging_destination_name }}"),
        one(
            "StoreErrorRate",
            &STORES,
            "the transactions and reads of the store of {{ $labels.service_name }}",
        ),
    ]
}

fn saturation(scope: &Scope) -> Vec<Rule> {
    let (job, hold) = (scope.matcher(), scope.pace.hold());
    let full = |name, (used, which): (&str, &str), most: &str, by: &str, what: &str| {
        let used = format!("sum by (job, {by}) ({used}{{{job}{which}}})");
        let expr = format!("{used} / sum by (job, {by}) ({most}{{{job}}}) > {USED_MAX}");
        let summary = format!("{{{{ $value | humanizePercentage }}}} of {what} are in use");
        alert(name, hold, "warning", expr, &summary, "What waits longer than it should is refused next.")
    };
    let behind = |name, metric: &str, summary: &str| {
        let expr = format!("max by (job, service_name) ({metric}{{{job}}}) > {BEHIND_MAX}");
        alert(
            name,
            hold,
            "warning",
            expr,
            summary,
            "`banyan topics` says what waits; `banyan dlq` what was given up.",
        )
    };
    vec![
        behind(
            "OutboxBehind",
            "banyan_outbox_age_seconds",
            "Events of {{ $labels.service_name }} have waited {{ $value | humanizeDuration }} to be published",
        ),
        behind(
            "ConsumerBehind",
            "banyan_consumer_lag_time_seconds",
            "Events have waited {{ $value | humanizeDuration }} for a consumer of {{ $labels.service_name }}",
        ),
        full(
            "CallsSaturated",
            ("banyan_rpc_server_active_calls", ""),
            "banyan_rpc_server_active_calls_max",
            "service_name, service_instance_id",
            "the calls that {{ $labels.service_name }} takes at a time",
        ),
        full(
            "StoreConnectionsSaturated",
            ("db_client_connection_count", ", db_client_connection_state=\"used\""),
            "db_client_connection_max",
            "service_name, service_instance_id",
            "the connections of {{ $labels.service_name }} to its store",
        ),
        full(
            "FilesSaturated",
            ("process_open_file_descriptor_count", ""),
            "banyan_process_open_file_descriptor_limit",
            "service_instance_id",
            "the files and connections that {{ $labels.service_instance_id }} may have open",
        ),
    ]
}

fn lost(scope: &Scope) -> Vec<Rule> {
    let (job, window) = (scope.matcher(), scope.pace.window());
    let lost =
        |metric: &str, by: &str| format!("sum by (job, {by}) (increase({metric}{{{job}}}[{window}])) > 0");
    vec![
        alert(
            "SpansLost",
            "0s",
            "warning",
            lost("banyan_telemetry_spans_lost_total", "service_instance_id"),
            "{{ $labels.service_instance_id }} has lost {{ $value }} spans: there were too many at once",
            "Traces lack them; they are counted and timed all the same. A process of its own for the busiest service has room of its own.",
        ),
        alert(
            "ExportLost",
            "0s",
            "warning",
            lost("banyan_telemetry_export_lost_total", "banyan_telemetry_signal"),
            "{{ $value }} of the {{ $labels.banyan_telemetry_signal }} were not sent to the collector",
            "Is the collector away, or does it refuse them? `banyan logs` says so. telemetry.otlp.waiting_mib_max is how much waits.",
        ),
    ]
}
