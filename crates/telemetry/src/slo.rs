//! Service level objectives: what share of the work must go well, and how fast.

use banyan_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Objectives in one configuration.
const SLOS_MAX: usize = 100;
/// Letters of a name: it becomes part of the names of Prometheus rules.
const NAME_MAX: usize = 64;
/// The window of the local memory, if none is configured.
const LOCAL_HOURS: u64 = 24;
/// The window of what is exported to Prometheus, if none is configured: 30 days.
const EXPORTED_HOURS: u64 = 30 * 24;

/// The codes of a failure that is not the caller's: what counts against an objective. A refusal does not.
pub const FAILURE_CODES: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

/// A section `[slo.NAME]`: one of `http`, `rpc`, `consumer` and `saga` says which work is meant.
///
/// Work is named exactly, by its beginning and `*`, or by `*` alone for all of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slo {
    /// Requests at the edge: `POST /v1/orders`, a route template with any method, `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Calls of a method, as the service that answers sees them: `shop.orders.v1.OrderService/PlaceOrder`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc: Option<String>,
    /// Attempts of a consumer group to handle an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Attempts of the steps, commits and undos of a workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saga: Option<String>,
    /// Only the work of this service; of all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The share of the work that must not fail, for example 0.99; at least 0.5 and less than 1. What is refused (a declined
    /// card, an unknown order) has not failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<f64>,
    /// How long the work may take, in milliseconds; 1 to 3,600,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// The share of the work that must not take longer; at least 0.5 and less than 1.
    pub latency_objective: f64,
    /// The hours over which the objective holds; 1 to 8,784. When absent: 24 in the local memory, 720 in what is exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_hours: Option<u64>,
    /// Whether it holds: `false` takes back one that is built in.
    pub enabled: bool,
}

impl Default for Slo {
    fn default() -> Self {
        Self {
            http: None,
            rpc: None,
            consumer: None,
            saga: None,
            service: None,
            objective: None,
            latency_ms: None,
            latency_objective: 0.99,
            window_hours: None,
            enabled: true,
        }
    }
}

/// One promise: a share of certain work goes well. A section makes one or two of them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Objective {
    /// The name of its section.
    pub name: String,
    pub indicator: Indicator,
    /// The share that must be good; at least 0.5 and less than 1.
    pub objective: f64,
    /// The metric that has the work, by its name in `docs/specs/telemetry.md`.
    pub metric: String,
    /// What the labels of its series must be.
    pub labels: Vec<(String, Matching)>,
    /// As it was configured.
    pub window_hours: Option<u64>,
}

/// What makes work good.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Indicator {
    /// It did not fail.
    Availability,
    /// It took at most so many milliseconds, however it ended.
    Latency { ms: u64 },
}

/// What the value of a label must be.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    Exactly(String),
    /// It begins so.
    Beginning(String),
}

impl Matching {
    /// Reads a value, or its beginning and `*`.
    pub fn of(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self::Beginning(beginning.to_owned()),
            None => Self::Exactly(text.to_owned()),
        }
    }

    /// Tells whether `value` is meant.
    pub fn fits(&self, value: &str) -> bool {
        match self {
            Self::Exactly(text) => value == text,
            Self::Beginning(text) => value.starts_with(text.as_str()),
        }
    }

    /// Returns whether every value is meant.
    pub fn is_any(&self) -> bool {
        matches!(self, Self::Beginning(text) if text.is_empty())
    }
}

impl Objective {
    /// Tells whether work of the outcome that a label says has failed.
    pub fn is_failure(label: &str, value: &str) -> bool {
        match label {
            "http.response.status_code" => value.starts_with('5'),
            "rpc.response.status_code" => FAILURE_CODES.contains(&value),
            _ => false,
        }
    }

    /// Returns the label that says how the work ended.
    pub fn outcome_label(&self) -> &'static str {
        match self.metric.starts_with("http.") {
            true => "http.response.status_code",
            false => "rpc.response.status_code",
        }
    }

    /// Returns over how many hours the local memory judges it.
    pub fn local_hours(&self) -> u64 {
        self.window_hours.unwrap_or(LOCAL_HOURS)
    }

    /// Returns over how many hours it is judged where history is kept for months.
    pub fn exported_hours(&self) -> u64 {
        self.window_hours.unwrap_or(EXPORTED_HOURS)
    }
}

/// Returns what a configuration promises: 99 % of the requests at the edge do not fail, and 99 % take at most a second, if it
/// has no section.
pub fn objectives(configured: &BTreeMap<String, Slo>) -> Vec<Objective> {
    if configured.is_empty() {
        let edge = Slo {
            http: Some("*".to_owned()),
            objective: Some(0.99),
            latency_ms: Some(1_000),
            ..Slo::default()
        };
        return edge.objectives("edge");
    }
    let enabled = configured.iter().filter(|(_, slo)| slo.enabled);
    enabled.flat_map(|(name, slo)| slo.objectives(name)).collect()
}

/// Checks every section.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`], naming the key from `slo.` on.
pub fn check(configured: &BTreeMap<String, Slo>) -> Result<()> {
    if configured.len() > SLOS_MAX {
        return Err(Error::invalid("slo", format!("must be at most {SLOS_MAX} sections")));
    }
    configured.iter().try_for_each(|(name, slo)| slo.check(name))
}

impl Slo {
    fn check(&self, name: &str) -> Result<()> {
        let wrong = |field: &str, problem: String| {
            let field = if field.is_empty() { format!("slo.{name}") } else { format!("slo.{name}.{field}") };
            Err(Error::invalid(field, problem))
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
            let problem =
                format!("its name must be 1 to {NAME_MAX} lower-case letters, digits, hyphens, underscores");
            return wrong("", problem);
        }
        let named: Vec<_> = self.work().into_iter().filter_map(|(key, text)| Some((key, text?))).collect();
        match named.as_slice() {
            [(key, text)] => {
                let stars = text.matches('*').count();
                if text.is_empty() || stars > 1 || (stars == 1 && !text.ends_with('*')) {
                    return wrong(key, "must be a name, the beginning of one and `*`, or `*`".to_owned());
                }
            }
            [] => {
                return wrong("", "says not which work is meant: set http, rpc, consumer or saga".to_owned());
            }
            [(first, _), (second, _), ..] => {
                return wrong(second, format!("cannot stand beside {first}: an objective is of one of them"));
            }
        }
        if self.objective.is_none() && self.latency_ms.is_none() {
            return wrong("", "promises nothing: set objective, latency_ms, or both".to_owned());
        }
        let shares = [("objective", self.objective), ("latency_objective", Some(self.latency_objective))];
        for (key, share) in shares {
            if let Some(share) = share.filter(|share| !(0.5..1.0).contains(share)) {
                return wrong(key, format!("must be at least 0.5 and less than 1, is {share}"));
            }
        }
        let bounds = [("latency_ms", self.latency_ms, 3_600_000), ("window_hours", self.window_hours, 8_784)];
        for (key, value, max) in bounds {
            if let Some(value) = value.filter(|value| !(1..=max).contains(value)) {
                return wrong(key, format!("must be between 1 and {max}, is {value}"));
            }
        }
        Ok(())
    }

    fn work(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("http", self.http.as_deref()),
            ("rpc", self.rpc.as_deref()),
            ("consumer", self.consumer.as_deref()),
            ("saga", self.saga.as_deref()),
        ]
    }

    fn objectives(&self, name: &str) -> Vec<Objective> {
        let Some((key, text)) = self.work().into_iter().find_map(|(key, text)| Some((key, text?))) else {
            return Vec::new();
        };
        let (metric, mut labels) = match key {
            "http" => ("http.server.request.duration", route(text)),
            "rpc" => ("rpc.server.call.duration", vec![("rpc.method", Matching::of(text))]),
            "consumer" => {
                ("messaging.process.duration", vec![("messaging.consumer.group.name", Matching::of(text))])
            }
            _ => ("banyan.saga.operation.duration", vec![("banyan.saga.workflow", Matching::of(text))]),
        };
        labels.extend(self.service.iter().map(|name| ("service.name", Matching::Exactly(name.clone()))));
        labels.retain(|(_, matching)| !matching.is_any());
        let labels: Vec<_> = labels.into_iter().map(|(label, m)| (label.to_owned(), m)).collect();
        let one = |indicator, objective| Objective {
            name: name.to_owned(),
            indicator,
            objective,
            metric: metric.to_owned(),
            labels: labels.clone(),
            window_hours: self.window_hours,
        };
        let availability = self.objective.map(|share| one(Indicator::Availability, share));
        let latency = self.latency_ms.map(|ms| one(Indicator::Latency { ms }, self.latency_objective));
        availability.into_iter().chain(latency).collect()
    }
}

/// Reads `METHOD TEMPLATE`, or a template alone.
fn route(text: &str) -> Vec<(&'static str, Matching)> {
    match text.split_once(' ') {
        Some((method, template)) => {
            vec![("http.request.method", Matching::of(method)), ("http.route", Matching::of(template.trim()))]
        }
        None => vec![("http.route", Matching::of(text))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> Slo {
        Slo {
            http: Some("POST /v1/orders".into()),
            objective: Some(0.999),
            latency_ms: Some(800),
            ..Slo::default()
        }
    }

    fn of(slo: Slo) -> BTreeMap<String, Slo> {
        BTreeMap::from([("checkout".to_owned(), slo)])
    }

    #[test]
    fn a_section_promises_what_it_says() {
        check(&of(checkout())).expect("it is valid");
        let found = objectives(&of(checkout()));
        let [available, fast] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((available.indicator, available.objective), (Indicator::Availability, 0.999));
        assert_eq!((fast.indicator, fast.objective), (Indicator::Latency { ms: 800 }, 0.99));
        assert_eq!((fast.local_hours(), fast.exported_hours()), (24, 720));
        let exactly = |text: &str| Matching::Exactly(text.into());
        assert_eq!(fast.labels[0], ("http.request.method".to_owned(), exactly("POST")));
        assert_eq!(fast.labels[1], ("http.route".to_owned(), exactly("/v1/orders")));
        assert!(objectives(&of(Slo { enabled: false, ..checkout() })).is_empty());
        let saga = Slo { http: None, saga: Some("*".into()), service: Some("orders".into()), ..checkout() };
        assert_eq!(objectives(&of(saga))[0].labels, [("service.name".to_owned(), exactly("orders"))]);
    }

    #[test]
    fn without_a_section_the_edge_is_promised() {
        let found = objectives(&BTreeMap::new());
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|one| one.labels.is_empty() && one.name == "edge"));
        assert!(Objective::is_failure(found[0].outcome_label(), "503"));
        assert!(!Objective::is_failure(found[0].outcome_label(), "404"));
        assert!(Objective::is_failure("rpc.response.status_code", "UNAVAILABLE"));
        assert!(!Objective::is_failure("rpc.response.status_code", "ABORTED"));
    }

    #[test]
    fn a_mistake_names_its_key() {
        let wrong = |slo: Slo| check(&of(slo)).unwrap_err().violations()[0].field.clone();
        assert_eq!(wrong(Slo { http: None, ..checkout() }), "slo.checkout");
        assert_eq!(wrong(Slo { http: Some("/v1/*/x".into()), ..checkout() }), "slo.checkout.http");
        assert_eq!(wrong(Slo { rpc: Some("*".into()), ..checkout() }), "slo.checkout.rpc");
        assert_eq!(wrong(Slo { objective: Some(1.0), ..checkout() }), "slo.checkout.objective");
        assert_eq!(wrong(Slo { latency_objective: 99.0, ..checkout() }), "slo.checkout.latency_objective");
        assert_eq!(wrong(Slo { latency_ms: Some(0), ..checkout() }), "slo.checkout.latency_ms");
        assert_eq!(wrong(Slo { window_hours: Some(0), ..checkout() }), "slo.checkout.window_hours");
        let nothing = Slo { objective: None, latency_ms: None, ..checkout() };
        assert_eq!(wrong(nothing), "slo.checkout");
        let unnamed = BTreeMap::from([("Check out".to_owned(), checkout())]);
        assert_eq!(check(&unnamed).unwrap_err().violations()[0].field, "slo.Check out");
    }
}
