//! Expressions over the measurements of a system, whether Prometheus keeps their histograms as native ones or as classic
//! buckets: what it does not have is an empty operand of `or`.

use crate::metrics::CLASSIC_POWERS;
use crate::slo::{FAILURE_CODES, Indicator, Matching, Objective};

/// What is measured of one kind of work, as Prometheus has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// What recording rules call one line of it.
    pub(crate) level: &'static str,
    /// The histogram, in seconds.
    pub(crate) metric: &'static str,
    /// The labels that tell one kind of this work from another.
    pub(crate) by: &'static [&'static str],
    /// The labels that say who is to be told of its errors.
    pub(crate) owner: &'static [&'static str],
    /// What a failure has, as a matcher.
    outcome: &'static str,
}

/// Requests at the edge.
pub(crate) const EDGE: Work = Work {
    level: "route",
    metric: "http_server_request_duration_seconds",
    by: &["http_request_method", "http_route"],
    owner: &["service_name"],
    outcome: "http_response_status_code",
};
/// Calls as the service that answers sees them.
pub(crate) const CALLS: Work = Work {
    level: "method",
    metric: "rpc_server_call_duration_seconds",
    by: &["service_name", "rpc_method"],
    owner: &["service_name"],
    outcome: RPC_OUTCOME,
};
/// Attempts of consumers.
pub(crate) const CONSUMERS: Work = Work {
    level: "group",
    metric: "messaging_process_duration_seconds",
    by: &["messaging_consumer_group_name", "messaging_destination_name"],
    owner: &["messaging_consumer_group_name"],
    outcome: RPC_OUTCOME,
};
/// Attempts of saga steps, commits and undos.
pub(crate) const SAGAS: Work = Work {
    level: "operation",
    metric: "banyan_saga_operation_duration_seconds",
    by: &["banyan_saga_workflow", "banyan_saga_operation"],
    owner: &["banyan_saga_workflow"],
    outcome: RPC_OUTCOME,
};
/// Events on their way from the outbox to the log.
pub(crate) const PUBLISHING: Work = Work {
    level: "topic",
    metric: "messaging_client_operation_duration_seconds",
    by: &["messaging_destination_name"],
    owner: &["messaging_destination_name"],
    outcome: RPC_OUTCOME,
};
/// Transactions and reads of stores.
pub(crate) const STORES: Work = Work {
    level: "store",
    metric: "db_client_operation_duration_seconds",
    by: &["service_name", "db_operation_name"],
    owner: &["service_name"],
    outcome: RPC_OUTCOME,
};

/// All kinds.
pub(crate) const WORK: [Work; 6] = [EDGE, CALLS, CONSUMERS, SAGAS, PUBLISHING, STORES];

const RPC_OUTCOME: &str = "rpc_response_status_code";

impl Work {
    /// The matcher of what failed and is not the caller's to blame.
    pub(crate) fn failed(&self) -> String {
        failed(self.outcome)
    }
}

fn failed(outcome: &str) -> String {
    match outcome {
        RPC_OUTCOME => format!("{outcome}=~\"{}\"", FAILURE_CODES.join("|")),
        _ => format!("{outcome}=~\"5..\""),
    }
}

/// Joins matchers to what stands between braces.
pub(crate) fn joined(matchers: &[&str]) -> String {
    matchers.iter().filter(|matcher| !matcher.is_empty()).copied().collect::<Vec<_>>().join(", ")
}

/// How many a second, over `window`.
pub(crate) fn rate(metric: &str, matchers: &str, window: &str, by: &[&str]) -> String {
    let by = by.join(", ");
    format!(
        "sum by ({by}) (histogram_count(rate({metric}{{{matchers}}}[{window}])) or rate({metric}_count{{{matchers}}}[{window}]))"
    )
}

/// The share that failed, over `window`; 0 where nothing did, and nothing where nothing was done.
pub(crate) fn failed_share(work: &Work, matchers: &str, window: &str, by: &[&str]) -> String {
    let all = rate(work.metric, matchers, window, by);
    let failed = rate(work.metric, &joined(&[matchers, &work.failed()]), window, by);
    share(&failed, &all)
}

/// `part` of `all`, where `part` may have no series yet.
fn share(part: &str, all: &str) -> String {
    format!("(({part} or 0 * {all}) / {all}) >= 0")
}

/// The seconds that a share of the work did not exceed, over `window`.
pub(crate) fn quantile(quantile: f64, metric: &str, matchers: &str, window: &str, by: &[&str]) -> String {
    let classic: Vec<_> = by.iter().copied().chain(["le"]).collect();
    format!(
        "(histogram_quantile({quantile}, sum by ({}) (rate({metric}{{{matchers}}}[{window}]))) \
         or histogram_quantile({quantile}, sum by ({}) (rate({metric}_bucket{{{matchers}}}[{window}])))) >= 0",
        by.join(", "),
        classic.join(", ")
    )
}

/// The share of an objective's work that was not good, over `window`.
pub(crate) fn bad_share(objective: &Objective, job: &str, window: &str) -> String {
    let metric = metric(objective);
    let matchers = matchers(objective, job);
    match objective.indicator {
        Indicator::Availability => {
            let failures = failed(&spelled(objective.outcome_label()));
            let failed = rate(&metric, &joined(&[&matchers, &failures]), window, &["job"]);
            share(&failed, &rate(&metric, &matchers, window, &["job"]))
        }
        Indicator::Latency { ms } => {
            let seconds = ms as f64 / 1e3;
            let bound = classic_bound(seconds);
            format!(
                "((1 - histogram_fraction(0, {seconds}, sum by (job) (rate({metric}{{{matchers}}}[{window}])))) \
                 or (1 - sum by (job) (rate({metric}_bucket{{{matchers}, le=~\"{bound}\"}}[{window}])) \
                 / sum by (job) (rate({metric}_count{{{matchers}}}[{window}])))) >= 0"
            )
        }
    }
}

/// The seconds that the promised share of a latency objective's work did not exceed.
pub(crate) fn promised_quantile(objective: &Objective, job: &str, window: &str) -> String {
    quantile(objective.objective, &metric(objective), &matchers(objective, job), window, &["job"])
}

fn metric(objective: &Objective) -> String {
    format!("{}_seconds", spelled(&objective.metric))
}

/// The matchers of an objective's work.
pub(super) fn matchers(objective: &Objective, job: &str) -> String {
    let own = objective.labels.iter().map(|(label, matching)| {
        let label = spelled(label);
        match matching {
            Matching::Exactly(text) => format!("{label}={}", quoted(text)),
            Matching::Beginning(text) => format!("{label}=~{}", quoted(&format!("{}.*", literal(text)))),
        }
    });
    std::iter::once(format!("job={}", quoted(job))).chain(own).collect::<Vec<_>>().join(", ")
}

/// Puts a text in quotes, as PromQL does.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Escapes what means something in a regular expression.
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

/// The lowest bound of a classic bucket that is not below `seconds`; `None` if the last one is.
pub(super) fn classic_le(seconds: f64) -> Option<f64> {
    CLASSIC_POWERS.map(|power| f64::from(power).exp2()).find(|bound| *bound >= seconds)
}

/// The same as a regular expression, in the two ways in which it is spelled.
fn classic_bound(seconds: f64) -> String {
    match classic_le(seconds) {
        // Newer Prometheus servers say 1.0 for what was exposed as 1.
        Some(bound) if bound.fract() == 0.0 => format!("{bound}(\\\\.0)?"),
        Some(bound) => literal(&bound.to_string()).replace('\\', "\\\\"),
        None => "\\\\+Inf".to_owned(),
    }
}

pub(super) fn spelled(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_the_next_power_of_two() {
        assert_eq!(classic_bound(0.8), "1(\\\\.0)?");
        assert_eq!(classic_bound(0.2), "0\\\\.25");
        assert_eq!(classic_bound(100.0), "\\\\+Inf");
    }

    #[test]
    fn an_objective_becomes_matchers() {
        let objective = Objective {
            name: "checkout".into(),
            indicator: Indicator::Availability,
            objective: 0.999,
            metric: "http.server.request.duration".into(),
            labels: vec![
                ("http.request.method".into(), Matching::Exactly("POST".into())),
                ("http.route".into(), Matching::Beginning("/v1/orders.".into())),
            ],
            window_hours: None,
        };
        let expected = r#"job="shop", http_request_method="POST", http_route=~"/v1/orders\\..*""#;
        assert_eq!(matchers(&objective, "shop"), expected);
        let bad = bad_share(&objective, "shop", "5m");
        assert!(bad.contains(r#"http_response_status_code=~"5..""#), "{bad}");
    }
}
