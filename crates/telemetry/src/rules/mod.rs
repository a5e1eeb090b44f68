//! Rules for a Prometheus server: what it computes all the time, and what it alerts of.
//!
//! They are made of the objectives of a system (`[slo.NAME]`) and of what every system measures.

mod alerts;
mod objectives;
pub(crate) mod promql;
mod unit_tests;
mod yaml;

use crate::slo::Objective;
use promql::{WORK, joined, quoted};

/// What rules are made for.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The system's name.
    pub system: String,
    /// The `job_name` under which Prometheus scrapes it.
    pub job: String,
    pub objectives: Vec<Objective>,
    pub pace: Pace,
}

/// How long things have to be wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Minutes and hours, for work.
    #[default]
    Steady,
    /// Seconds, to try alerts out: they fire, and end, while one watches.
    Quick,
}

/// A file of rules.
#[derive(Clone, Debug)]
pub struct RuleFile {
    about: Vec<String>,
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    name: String,
    interval: &'static str,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    kind: RuleKind,
    expr: String,
    labels: Vec<(&'static str, String)>,
    annotations: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug, PartialEq)]
enum RuleKind {
    Record(String),
    Alert {
        name: &'static str,
        /// How long it must be so, as Prometheus writes it.
        hold: &'static str,
    },
}

impl Pace {
    fn interval(self) -> &'static str {
        match self {
            Self::Steady => "30s",
            Self::Quick => "1s",
        }
    }

    /// Over how long rates are taken.
    pub(crate) fn window(self) -> &'static str {
        match self {
            Self::Steady => "5m",
            Self::Quick => "15s",
        }
    }

    /// How long an alert waits.
    fn hold(self) -> &'static str {
        match self {
            Self::Steady => "5m",
            Self::Quick => "3s",
        }
    }
}

impl Scope {
    /// Makes the rules.
    pub fn rules(&self) -> RuleFile {
        let about = vec![
            format!(
                "Rules of the system {:?}, made by `export prometheus-rules`; make them anew when its [slo] changes.",
                self.system
            ),
            format!("They are for what Prometheus scrapes as: job_name: {}", self.job),
        ];
        let groups = vec![
            self.group("work", self.recorded()),
            self.group("slo", objectives::recorded(self)),
            self.group("alerts", alerts::all(self)),
            self.group("slo-alerts", objectives::alerts(self)),
        ];
        RuleFile { about, groups: groups.into_iter().filter(|group| !group.rules.is_empty()).collect() }
    }

    /// Makes tests of the rules in the file `rules`, for `promtool test rules`.
    ///
    /// They are for [`Pace::Steady`].
    pub fn unit_tests(&self, rules: &str) -> String {
        unit_tests::of(self, rules)
    }

    fn group(&self, name: &str, rules: Vec<Rule>) -> Group {
        Group { name: format!("{}-{name}", self.system), interval: self.pace.interval(), rules }
    }

    /// The matcher of what belongs to this system.
    pub(crate) fn matcher(&self) -> String {
        format!("job={}", quoted(&self.job))
    }

    /// Rate, errors and duration of every kind of work.
    fn recorded(&self) -> Vec<Rule> {
        let (window, matcher) = (self.pace.window(), self.matcher());
        let one = |work: &promql::Work| {
            let by: Vec<_> = ["job"].iter().chain(work.by).copied().collect();
            let owner: Vec<_> = ["job"].iter().chain(work.owner).copied().collect();
            let name = work.metric.trim_end_matches("_duration_seconds");
            let (level, metric) = (work.level, work.metric);
            [
                Rule::record(
                    format!("{level}:{name}:rate{window}"),
                    promql::rate(metric, &joined(&[&matcher]), window, &by),
                ),
                Rule::record(
                    format!("owner:{name}_errors:ratio_rate{window}"),
                    promql::failed_share(work, &matcher, window, &owner),
                ),
                Rule::record(
                    format!("{level}:{metric}:p99_rate{window}"),
                    promql::quantile(0.99, metric, &matcher, window, &by),
                ),
            ]
        };
        WORK.iter().flat_map(one).collect()
    }
}

impl Rule {
    fn record(name: String, expr: String) -> Self {
        Self { kind: RuleKind::Record(name), expr, labels: Vec::new(), annotations: Vec::new() }
    }

    fn labelled(mut self, name: &'static str, value: &str) -> Self {
        self.labels.push((name, value.to_owned()));
        self
    }
}

impl RuleFile {
    /// Writes the file as Prometheus reads it.
    pub fn to_yaml(&self) -> String {
        yaml::of(self)
    }

    /// Returns the names of the alerts.
    pub fn alerts(&self) -> Vec<&'static str> {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        let mut names: Vec<_> = rules
            .filter_map(|rule| match &rule.kind {
                RuleKind::Alert { name, .. } => Some(*name),
                RuleKind::Record(_) => None,
            })
            .collect();
        names.dedup();
        names
    }
}
