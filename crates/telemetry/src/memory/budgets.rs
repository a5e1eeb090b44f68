//! How the objectives of a system stand: what is left of their error budgets, and how fast it goes.

use super::read::Reader;
use crate::slo::{Indicator, Objective};
use banyan_core::Result;
use serde::Serialize;
use std::collections::HashMap;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// The times over which the burn rate is told, in milliseconds: five minutes, an hour, six hours.
const BURN_MS: [u64; 3] = [5 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS];

/// How an objective stands. As JSON:
///
/// ```json
/// {"name": "checkout", "indicator": "availability", "objective": 0.99, "metric": "http.server.request.duration",
///  "window_hours": 24, "good": 990, "total": 1000, "share": 0.99, "budget_left": 0.0,
///  "burn": {"5m": null, "1h": 0.5, "6h": 1.0}, "state": "spent"}
/// ```
///
/// The indicator of a latency is `{"latency": {"ms": 800}}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SloStatus {
    pub name: String,
    pub indicator: Indicator,
    pub objective: f64,
    pub metric: String,
    /// The hours that it is judged over: of what the local memory has of them.
    pub window_hours: u64,
    /// Of a latency, what is within the bucket of the threshold is taken to be spread evenly.
    pub good: u64,
    pub total: u64,
    /// The share that was good, 0 to 1; 1 without any work.
    pub share: f64,
    /// What is left of what may go wrong in the window: 1 is all of it, 0 nothing; less than 0 is what went wrong beyond it.
    pub budget_left: f64,
    pub burn: Burn,
    pub state: BudgetState,
}

/// How fast the budget goes: at 1 it is spent exactly when the window is over. Absent where there was no work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Burn {
    #[serde(rename = "5m")]
    pub five_minutes: Option<f64>,
    #[serde(rename = "1h")]
    pub hour: Option<f64>,
    #[serde(rename = "6h")]
    pub six_hours: Option<f64>,
}

/// What the numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetState {
    /// There was no such work in the window.
    NoData,
    Ok,
    /// In the last five minutes and the last hour more went wrong than the objective allows.
    Burning,
    /// Nothing is left.
    Spent,
}

/// Good and all work in the window, and in each of the times of [`BURN_MS`].
#[derive(Clone, Default)]
struct Counted {
    window: (f64, u64),
    burn: [(f64, u64); BURN_MS.len()],
}

impl Reader {
    /// Judges objectives at the moment `now_ms`.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn slos(&self, objectives: &[Objective], now_ms: u64) -> Result<Vec<SloStatus>> {
        let mut counted = vec![Counted::default(); objectives.len()];
        let mut wanted: HashMap<i64, Vec<(usize, bool)>> = HashMap::new();
        for stored in self.stored(None)? {
            for (at, objective) in objectives.iter().enumerate() {
                if stored.name == objective.metric && stored.fits(&objective.labels) {
                    wanted.entry(stored.id).or_default().push((at, stored.failed()));
                }
            }
        }
        let longest = objectives.iter().map(Objective::local_hours).max().unwrap_or(0);
        let since = |ms: u64| now_ms.saturating_sub(ms);
        let begin = since((longest * HOUR_MS).max(BURN_MS[2]));
        self.scan(begin, now_ms.saturating_add(1), |at_ms, series, step| {
            let Some(of) = wanted.get(&series) else { return Ok(()) };
            let values = step()?.values;
            for (at, failed) in of {
                let good = match objectives[*at].indicator {
                    Indicator::Availability if *failed => 0.0,
                    Indicator::Availability => values.count as f64,
                    Indicator::Latency { ms } => values.at_most(ms as f64 / 1e3),
                };
                let add = |(had, all): &mut (f64, u64)| {
                    *had += good;
                    *all += values.count;
                };
                if at_ms >= since(objectives[*at].local_hours() * HOUR_MS) {
                    add(&mut counted[*at].window);
                }
                let burns = counted[*at].burn.iter_mut().zip(BURN_MS);
                burns.filter(|(_, ms)| at_ms >= since(*ms)).for_each(|(counted, _)| add(counted));
            }
            Ok(())
        })?;
        Ok(objectives.iter().zip(counted).map(|(objective, counted)| judged(objective, &counted)).collect())
    }
}

fn judged(objective: &Objective, counted: &Counted) -> SloStatus {
    let allowed = 1.0 - objective.objective;
    let (good, total) = counted.window;
    // Several times what the objective allows: what went wrong, by what may.
    let burnt = |(good, total): (f64, u64)| {
        (total > 0).then(|| ((total as f64 - good) / total as f64 / allowed).max(0.0))
    };
    let [five_minutes, hour, six_hours] = counted.burn.map(burnt);
    let spent = burnt(counted.window);
    let budget_left = 1.0 - spent.unwrap_or(0.0);
    let fast = |burn: Option<f64>| burn.is_some_and(|burn| burn > 1.0);
    // What is computed from shares is not exact: a budget is spent only if another failure would not fit.
    let state = match spent {
        None => BudgetState::NoData,
        Some(_) if budget_left < 1e-9 => BudgetState::Spent,
        Some(_) if fast(five_minutes) && fast(hour) => BudgetState::Burning,
        Some(_) => BudgetState::Ok,
    };
    SloStatus {
        name: objective.name.clone(),
        indicator: objective.indicator,
        objective: objective.objective,
        metric: objective.metric.clone(),
        window_hours: objective.local_hours(),
        good: good.round() as u64,
        total,
        share: if total == 0 { 1.0 } else { good / total as f64 },
        budget_left,
        burn: Burn { five_minutes, hour, six_hours },
        state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::{Slo, objectives};
    use std::collections::BTreeMap;

    fn status(good: f64, total: u64, burn: [(f64, u64); 3]) -> SloStatus {
        let slo = Slo { http: Some("*".into()), objective: Some(0.99), ..Slo::default() };
        let objective = &objectives(&BTreeMap::from([("edge".to_owned(), slo)]))[0];
        judged(objective, &Counted { window: (good, total), burn })
    }

    #[test]
    fn a_budget_is_what_may_go_wrong() {
        let quiet = [(0.0, 0); 3];
        let half = status(995.0, 1_000, quiet);
        assert!((half.budget_left - 0.5).abs() < 1e-9 && half.state == BudgetState::Ok, "{half:?}");
        assert_eq!(half.burn, Burn::default());
        assert_eq!(status(990.0, 1_000, quiet).state, BudgetState::Spent);
        let over = status(970.0, 1_000, quiet);
        assert!((over.budget_left + 2.0).abs() < 1e-9, "{over:?}");
        let none = status(0.0, 0, quiet);
        assert_eq!((none.state, none.share, none.budget_left), (BudgetState::NoData, 1.0, 1.0));
        let burning = status(9_990.0, 10_000, [(90.0, 100), (95.0, 100), (9_990.0, 10_000)]);
        assert_eq!(burning.state, BudgetState::Burning);
        assert!((burning.burn.five_minutes.unwrap() - 10.0).abs() < 1e-9);
        let over_again = status(9_990.0, 10_000, [(100.0, 100), (95.0, 100), (9_990.0, 10_000)]);
        assert_eq!(over_again.state, BudgetState::Ok);
    }
}
