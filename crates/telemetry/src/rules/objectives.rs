//! Error budgets: how much of them is left, and how fast they burn, over several windows at once (Google's SRE workbook,
//! chapter 5, table 5-8).

use super::promql::{bad_share, promised_quantile, quoted};
use super::{Pace, Rule, RuleKind, Scope};
use crate::slo::{Indicator, Objective};
use std::collections::BTreeMap;

/// Minutes of the window that the table is for: 30 days.
const TABLE_MIN: f64 = 30.0 * 24.0 * 60.0;
/// The shortest windows over which a share means something, in minutes: a few scrapes, and a few of those.
const SHORT_MIN: f64 = 2.0;
const LONG_MIN: f64 = 10.0;

/// One line of the table: so much of the budget in the long window is too much, if it goes on in the short one.
struct Burn {
    long_min: f64,
    short_min: f64,
    /// Of the whole budget.
    share: f64,
    page: bool,
}

const BURNS: [Burn; 4] = [
    Burn { long_min: 60.0, short_min: 5.0, share: 0.02, page: true },
    Burn { long_min: 360.0, short_min: 30.0, share: 0.05, page: true },
    Burn { long_min: 1_440.0, short_min: 120.0, share: 0.10, page: false },
    Burn { long_min: 4_320.0, short_min: 360.0, share: 0.10, page: false },
];

/// Two windows, and how many times as fast as allowed the budget may burn in them.
struct Pair {
    long: String,
    short: String,
    factor: f64,
    page: bool,
}

/// What is computed all the time of every objective.
pub(super) fn recorded(scope: &Scope) -> Vec<Rule> {
    scope.objectives.iter().flat_map(|objective| recorded_of(scope, objective)).collect()
}

/// The alerts of every objective.
pub(super) fn alerts(scope: &Scope) -> Vec<Rule> {
    let latency = scope.objectives.iter().filter_map(|objective| slow(scope, objective));
    let burning =
        scope.objectives.iter().flat_map(|objective| [true, false].map(|page| burns(scope, objective, page)));
    latency.chain(burning).collect()
}

fn recorded_of(scope: &Scope, objective: &Objective) -> Vec<Rule> {
    let mut windows: BTreeMap<u64, String> = BTreeMap::new();
    for window in pairs(scope, objective).into_iter().flat_map(|pair| [pair.long, pair.short]) {
        windows.insert(seconds(&window), window);
    }
    let shortest = scope.pace.window();
    windows.insert(seconds(shortest), shortest.to_owned());
    let named = |rule: Rule| {
        let rule = rule.labelled("job", &scope.job);
        rule.labelled("slo", &objective.name).labelled("indicator", indicator(objective))
    };
    let mut rules: Vec<_> = windows
        .values()
        .map(|window| {
            let name = format!("slo:sli_error:ratio_rate{window}");
            named(Rule::record(name, bad_share(objective, &scope.job, window)))
        })
        .collect();
    let all = budget_window(scope, objective);
    let budget = budget(objective);
    let spent =
        format!("avg_over_time(slo:sli_error:ratio_rate{shortest}{{{}}}[{all}])", selector(scope, objective));
    rules.push(named(Rule::record("slo:objective:ratio".into(), format!("vector({})", objective.objective))));
    rules.push(named(Rule::record("slo:error_budget_left:ratio".into(), format!("1 - {spent} / {budget}"))));
    rules
}

fn burns(scope: &Scope, objective: &Objective, page: bool) -> Rule {
    let selector = selector(scope, objective);
    let budget = budget(objective);
    let too_fast = pairs(scope, objective).into_iter().filter(|pair| pair.page == page).map(|pair| {
        let Pair { long, short, factor, .. } = pair;
        let limit = format!("{} * {budget}", rounded(factor));
        let series = |window: &str| format!("slo:sli_error:ratio_rate{window}{{{selector}}} > {limit}");
        format!("({}\n  and {})", series(&long), series(&short))
    });
    let expr = too_fast.collect::<Vec<_>>().join("\nor\n");
    let (name, severity) =
        if page { ("ErrorBudgetBurnsFast", "critical") } else { ("ErrorBudgetBurns", "warning") };
    let summary = format!(
        "The error budget of {} ({}) burns faster than it lasts: {{{{ $value | humanizePercentage }}}} is bad, {}% may be",
        objective.name,
        indicator(objective),
        rounded(budget * 100.0)
    );
    Rule {
        kind: RuleKind::Alert { name, hold: if scope.pace == Pace::Quick { "1s" } else { "1m" } },
        expr,
        labels: alert_labels(severity, objective),
        annotations: vec![("summary", summary), ("description", super::alerts::LOOK.to_owned())],
    }
}

fn alert_labels(severity: &str, objective: &Objective) -> Vec<(&'static str, String)> {
    vec![
        ("severity", severity.to_owned()),
        ("slo", objective.name.clone()),
        ("indicator", indicator(objective).to_owned()),
    ]
}

/// Tells whether a page is sent when nothing is good: whether the budget can burn so fast at all.
pub(super) fn burns_at(scope: &Scope, objective: &Objective) -> bool {
    let budget = budget(objective);
    pairs(scope, objective).iter().any(|pair| pair.page && pair.factor * budget < 1.0)
}

/// The promised quantile is over what was promised.
fn slow(scope: &Scope, objective: &Objective) -> Option<Rule> {
    let Indicator::Latency { ms } = objective.indicator else { return None };
    let quantile = promised_quantile(objective, &scope.job, scope.pace.window());
    let summary = format!(
        "p{} of {} is {{{{ $value | humanizeDuration }}}}, and should be at most {ms} ms",
        rounded(objective.objective * 100.0),
        objective.name
    );
    Some(Rule {
        kind: RuleKind::Alert { name: "SlowerThanPromised", hold: scope.pace.hold() },
        expr: format!("({quantile}) > {}", ms as f64 / 1e3),
        labels: alert_labels("warning", objective),
        annotations: vec![("summary", summary), ("description", super::alerts::LOOK.to_owned())],
    })
}

/// The windows of the table, for the window of this objective.
fn pairs(scope: &Scope, objective: &Objective) -> Vec<Pair> {
    let whole_min = objective.exported_hours() as f64 * 60.0;
    let one = |burn: &Burn| {
        if scope.pace == Pace::Quick {
            // The factors are those of the table; a burst of errors is seen in seconds.
            let long_s = (burn.long_min / 2.0).min(120.0);
            let pair = (format!("{long_s}s"), format!("{}s", (burn.short_min * 3.0).clamp(10.0, 30.0)));
            return Pair {
                long: pair.0,
                short: pair.1,
                factor: burn.share * TABLE_MIN / burn.long_min,
                page: burn.page,
            };
        }
        let scale = whole_min / TABLE_MIN;
        let long = (burn.long_min * scale).round().max(LONG_MIN);
        let short = (burn.short_min * scale).round().max(SHORT_MIN);
        // Where the window had to be longer, the same share of the budget is a slower fire.
        let factor = (burn.share * whole_min / long).max(1.0);
        Pair { long: minutes(long), short: minutes(short), factor, page: burn.page }
    };
    BURNS.iter().map(one).collect()
}

fn budget_window(scope: &Scope, objective: &Objective) -> String {
    match scope.pace {
        Pace::Steady => minutes(objective.exported_hours() as f64 * 60.0),
        Pace::Quick => "10m".to_owned(),
    }
}

/// Whole days, hours or minutes.
fn minutes(minutes: f64) -> String {
    let whole = minutes as u64;
    match whole {
        _ if whole.is_multiple_of(1_440) => format!("{}d", whole / 1_440),
        _ if whole.is_multiple_of(60) => format!("{}h", whole / 60),
        _ => format!("{whole}m"),
    }
}

fn seconds(window: &str) -> u64 {
    let (number, unit) = window.split_at(window.len() - 1);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => 86_400,
    };
    number.parse::<u64>().unwrap_or_default() * factor
}

fn selector(scope: &Scope, objective: &Objective) -> String {
    let [job, slo] = [&scope.job, &objective.name].map(|text| quoted(text));
    format!("job={job}, slo={slo}, indicator=\"{}\"", indicator(objective))
}

pub(super) fn indicator(objective: &Objective) -> &'static str {
    match objective.indicator {
        Indicator::Availability => "availability",
        Indicator::Latency { .. } => "latency",
    }
}

fn budget(objective: &Objective) -> f64 {
    rounded(1.0 - objective.objective)
}

/// Without what binary fractions add: 1 - 0.99 is 0.01.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::objectives;

    fn scope(pace: Pace) -> Scope {
        Scope { system: "shop".into(), job: "shop".into(), objectives: objectives(&BTreeMap::new()), pace }
    }

    #[test]
    fn thirty_days_have_the_windows_of_the_workbook() {
        let scope = scope(Pace::Steady);
        let pairs = pairs(&scope, &scope.objectives[0]);
        let lines: Vec<_> = pairs
            .iter()
            .map(|p| format!("{} {} {} {}", p.long, p.short, rounded(p.factor), p.page))
            .collect();
        assert_eq!(lines, ["1h 5m 14.4 true", "6h 30m 6 true", "1d 2h 3 false", "3d 6h 1 false"]);
    }

    #[test]
    fn a_short_window_has_windows_that_scrapes_can_fill() {
        let mut scope = scope(Pace::Steady);
        scope.objectives[0].window_hours = Some(24);
        let pairs = pairs(&scope, &scope.objectives[0]);
        assert!(pairs.iter().all(|p| seconds(&p.short) >= 120 && seconds(&p.long) > seconds(&p.short)));
        assert!(pairs.iter().all(|p| p.factor >= 1.0));
    }

    #[test]
    fn objectives_of_one_name_keep_their_series_apart() {
        let rules = recorded(&scope(Pace::Steady));
        let left: Vec<_> = rules
            .iter()
            .filter(|r| r.kind == RuleKind::Record("slo:error_budget_left:ratio".into()))
            .collect();
        assert_eq!(left.len(), 2);
        assert_ne!(left[0].labels, left[1].labels);
        assert!(left[0].expr.contains("[30d]") && left[0].expr.ends_with("/ 0.01"), "{}", left[0].expr);
    }
}
