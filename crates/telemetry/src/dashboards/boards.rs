//! What is on each dashboard.

use super::{Choice, Dashboard, Kind, Line, Panel, Unit, dashboard};
use crate::rules::Scope;
use crate::rules::promql::{
    CALLS, CONSUMERS, EDGE, PUBLISHING, SAGAS, STORES, Work, failed_share, joined, quantile, rate,
};

/// The window that Grafana chooses by its steps and by how often is scraped.
const WINDOW: &str = "$__rate_interval";

pub(super) fn all(scope: &Scope) -> Vec<Dashboard> {
    vec![overview(scope), service(scope), messaging(scope), sagas(scope), stores(scope), objectives(scope)]
}

/// Rate, errors and duration of a kind of work.
struct Red<'a> {
    work: &'a Work,
    matchers: String,
    by: &'a [&'a str],
    legend: &'static str,
    titles: [&'static str; 4],
}

impl Red<'_> {
    fn panels(&self) -> Vec<Panel> {
        let Self { work, matchers, by, legend, titles: [rates, errors, medians, slowest] } = self;
        let quantile = |share| quantile(share, work.metric, matchers, WINDOW, by);
        vec![
            time(rates, "A second", Unit::PerSecond, rate(work.metric, matchers, WINDOW, by), legend),
            time(
                errors,
                "The share that failed; refusals are no failures",
                Unit::Share,
                failed_share(work, matchers, WINDOW, by),
                legend,
            ),
            time(medians, "Half of it takes no longer", Unit::Seconds, quantile(0.5), legend),
            time(
                slowest,
                "99 of 100 take no longer; points are examples with a trace",
                Unit::Seconds,
                quantile(0.99),
                legend,
            ),
        ]
    }
}

fn time(title: &'static str, about: &'static str, unit: Unit, expr: String, legend: &'static str) -> Panel {
    Panel { title, about, kind: Kind::Time, unit, lines: vec![Line { expr, legend }] }
}

fn stat(title: &'static str, about: &'static str, unit: Unit, expr: String) -> Panel {
    Panel { title, about, kind: Kind::Stat, unit, lines: vec![Line { expr, legend: "" }] }
}

/// How many are at work, and how many may be: the metric of the same name with `_max` behind it. `of` makes its query.
fn at_work(
    title: &'static str,
    about: &'static str,
    metric: &str,
    of: impl Fn(&str) -> String,
    [now, most]: [&'static str; 2],
) -> Panel {
    let lines = vec![
        Line { expr: of(metric), legend: now },
        Line { expr: of(&format!("{metric}_max")), legend: most },
    ];
    Panel { title, about, kind: Kind::Time, unit: Unit::Count, lines }
}

const SERVICE: Choice = Choice {
    name: "service",
    title: "Service",
    metric: "rpc_server_call_duration_seconds",
    label: "service_name",
};

fn overview(scope: &Scope) -> Dashboard {
    let job = scope.matcher();
    let sum = |metric: &str| format!("sum({metric}{{{job}}})");
    let mut panels = vec![
        stat("Up", "Whether Prometheus reaches the system", Unit::Count, format!("min(up{{{job}}})")),
        stat(
            "Processes",
            "Processes that say what they take",
            Unit::Count,
            format!("count(process_memory_usage_bytes{{{job}}})"),
        ),
        stat("Requests", "At the edge, a second", Unit::PerSecond, rate(EDGE.metric, &job, WINDOW, &[])),
        stat(
            "Failed",
            "The share of the requests at the edge",
            Unit::Share,
            failed_share(&EDGE, &job, WINDOW, &[]),
        ),
        stat(
            "p99",
            "99 of 100 requests take no longer",
            Unit::Seconds,
            quantile(0.99, EDGE.metric, &job, WINDOW, &[]),
        ),
        stat(
            "Telemetry lost",
            "Spans that were not recorded, since the start",
            Unit::Count,
            sum("banyan_telemetry_spans_lost_total"),
        ),
    ];
    let edge = Red {
        work: &EDGE,
        matchers: job.clone(),
        by: EDGE.by,
        legend: "{{http_request_method}} {{http_route}}",
        titles: ["Requests", "Failed requests", "Median of requests", "p99 of requests"],
    };
    panels.extend(edge.panels());
    let calls = Red {
        work: &CALLS,
        matchers: job.clone(),
        by: &["service_name"],
        legend: "{{service_name}}",
        titles: ["Calls by service", "Failed calls by service", "Median by service", "p99 by service"],
    };
    panels.extend(calls.panels());
    let process = |metric: &str| format!("sum by (service_instance_id) ({metric})");
    let legend = "{{service_instance_id}}";
    panels.extend([
        time(
            "Processor",
            "Cores that each process uses",
            Unit::Cores,
            process(&format!("rate(process_cpu_time_seconds_total{{{job}}}[{WINDOW}])")),
            legend,
        ),
        time(
            "Memory",
            "Resident memory of each process",
            Unit::Bytes,
            process(&format!("process_memory_usage_bytes{{{job}}}")),
            legend,
        ),
        time(
            "Open files",
            "Files and connections of each process",
            Unit::Count,
            process(&format!("process_open_file_descriptor_count{{{job}}}")),
            legend,
        ),
    ]);
    dashboard(scope, "overview", "overview", &[], panels)
}

fn service(scope: &Scope) -> Dashboard {
    let matchers = joined(&[&scope.matcher(), "service_name=~\"$service\""]);
    let answered = Red {
        work: &CALLS,
        matchers: matchers.clone(),
        by: &["rpc_method"],
        legend: "{{rpc_method}}",
        titles: ["Calls answered", "Failed calls", "Median of calls", "p99 of calls"],
    };
    let mut panels = answered.panels();
    let client = "rpc_client_call_duration_seconds";
    panels.extend([
        time(
            "Calls made",
            "A second, by method and outcome, as the caller sees them",
            Unit::PerSecond,
            rate(client, &matchers, WINDOW, &["rpc_method", "rpc_response_status_code"]),
            "{{rpc_method}} {{rpc_response_status_code}}",
        ),
        time(
            "p99 of calls made",
            "With all their attempts",
            Unit::Seconds,
            quantile(0.99, client, &matchers, WINDOW, &["rpc_method"]),
            "{{rpc_method}}",
        ),
        at_work(
            "Calls at work",
            "Calls that are being answered, and how many may be",
            "banyan_rpc_server_active_calls",
            |metric| format!("sum by (service_name) ({metric}{{{matchers}}})"),
            ["{{service_name}}", "{{service_name}} at most"],
        ),
    ]);
    dashboard(scope, "service", "services", &[SERVICE], panels)
}

fn messaging(scope: &Scope) -> Dashboard {
    let topic = Choice {
        name: "topic",
        title: "Topic",
        metric: "messaging_process_duration_seconds",
        label: "messaging_destination_name",
    };
    let job = scope.matcher();
    let matchers = joined(&[&job, "messaging_destination_name=~\"$topic\""]);
    let processed = Red {
        work: &CONSUMERS,
        matchers: matchers.clone(),
        by: CONSUMERS.by,
        legend: "{{messaging_consumer_group_name}} {{messaging_destination_name}}",
        titles: ["Events processed", "Failed attempts", "Median of an event", "p99 of an event"],
    };
    let published = Red {
        work: &PUBLISHING,
        matchers,
        by: PUBLISHING.by,
        legend: "{{messaging_destination_name}}",
        titles: ["Events published", "Failed publishing", "Median of publishing", "p99 of publishing"],
    };
    let mut panels = processed.panels();
    panels.extend(published.panels());
    let group = "{{messaging_consumer_group_name}}";
    let of_group = |metric: &str| format!("sum by (messaging_consumer_group_name) ({metric}{{{job}}})");
    panels.extend([
        time(
            "Waiting in outboxes",
            "Events that are not in the log yet",
            Unit::Count,
            format!("sum by (service_name) (banyan_outbox_size{{{job}}})"),
            "{{service_name}}",
        ),
        time(
            "Age of the outbox",
            "How long the oldest of them has waited",
            Unit::Seconds,
            format!("max by (service_name) (banyan_outbox_age_seconds{{{job}}})"),
            "{{service_name}}",
        ),
        time(
            "Behind",
            "How long the oldest event that a consumer holds has been in the log",
            Unit::Seconds,
            format!("max by (messaging_consumer_group_name) (banyan_consumer_lag_time_seconds{{{job}}})"),
            group,
        ),
        time(
            "Held",
            "Events that a consumer has read and not finished",
            Unit::Count,
            of_group("banyan_consumer_held"),
            group,
        ),
        at_work(
            "Handlers at work",
            "And how many may be",
            "banyan_consumer_running",
            of_group,
            [group, "{{messaging_consumer_group_name}} at most"],
        ),
    ]);
    dashboard(scope, "messaging", "events", &[topic], panels)
}

fn sagas(scope: &Scope) -> Dashboard {
    let workflow = Choice {
        name: "workflow",
        title: "Workflow",
        metric: "banyan_saga_operation_duration_seconds",
        label: "banyan_saga_workflow",
    };
    let matchers = joined(&[&scope.matcher(), "banyan_saga_workflow=~\"$workflow\""]);
    let steps = Red {
        work: &SAGAS,
        matchers: matchers.clone(),
        by: SAGAS.by,
        legend: "{{banyan_saga_workflow}} {{banyan_saga_operation}}",
        titles: ["Steps", "Failed attempts", "Median of a step", "p99 of a step"],
    };
    let mut panels = steps.panels();
    panels.push(time(
        "Outcomes",
        "A second: what is refused is undone, and is no failure",
        Unit::PerSecond,
        rate(SAGAS.metric, &matchers, WINDOW, &["banyan_saga_workflow", "rpc_response_status_code"]),
        "{{banyan_saga_workflow}} {{rpc_response_status_code}}",
    ));
    panels.push(at_work(
        "Sagas at work",
        "And how many may be",
        "banyan_saga_running",
        |metric| format!("sum by (service_name) ({metric}{{{}}})", scope.matcher()),
        ["{{service_name}}", "{{service_name}} at most"],
    ));
    dashboard(scope, "sagas", "sagas", &[workflow], panels)
}

fn stores(scope: &Scope) -> Dashboard {
    let matchers = joined(&[&scope.matcher(), "service_name=~\"$service\""]);
    let work = Red {
        work: &STORES,
        matchers: matchers.clone(),
        by: STORES.by,
        legend: "{{service_name}} {{db_operation_name}}",
        titles: ["Transactions and reads", "Failed", "Median", "p99"],
    };
    let mut panels = work.panels();
    let legend = "{{service_name}}";
    let a_second = |metric: &str| format!("sum by (service_name) (rate({metric}{{{matchers}}}[{WINDOW}]))");
    panels.extend([
        time(
            "Waiting",
            "Transactions and reads that wait for their turn",
            Unit::Count,
            format!("sum by (service_name) (banyan_store_queue_size{{{matchers}}})"),
            legend,
        ),
        Panel {
            title: "Commits",
            about: "Transactions a second, and the commits to the disk that they share",
            kind: Kind::Time,
            unit: Unit::PerSecond,
            lines: vec![
                Line { expr: a_second("banyan_store_transaction_count_total"), legend: "{{service_name}}" },
                Line {
                    expr: a_second("banyan_store_commit_count_total"),
                    legend: "{{service_name}} commits",
                },
            ],
        },
        time(
            "Connections to servers",
            "Of stores on a server, by what they do; nothing for files",
            Unit::Count,
            format!(
                "sum by (service_name, db_client_connection_state) (db_client_connection_count{{{matchers}}})"
            ),
            "{{service_name}} {{db_client_connection_state}}",
        ),
    ]);
    dashboard(scope, "stores", "stores", &[SERVICE], panels)
}

fn objectives(scope: &Scope) -> Dashboard {
    let slo = Choice { name: "slo", title: "Objective", metric: "slo:objective:ratio", label: "slo" };
    let matchers = joined(&[&scope.matcher(), "slo=~\"$slo\""]);
    let legend = "{{slo}} {{indicator}}";
    let of = |metric: &str| format!("sum by (slo, indicator) ({metric}{{{matchers}}})");
    let panels = vec![
        time(
            "Budget left",
            "1 is all of it; below 0 it is overdrawn",
            Unit::Share,
            of("slo:error_budget_left:ratio"),
            legend,
        ),
        time(
            "Bad share",
            "Of the work that an objective is of, over a short window",
            Unit::Share,
            of(&format!("slo:sli_error:ratio_rate{}", scope.pace.window())),
            legend,
        ),
        time("Promised", "The share that should be good", Unit::Share, of("slo:objective:ratio"), legend),
    ];
    dashboard(scope, "slo", "objectives", &[slo], panels)
}
