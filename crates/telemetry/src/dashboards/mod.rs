//! Dashboards for Grafana, as its JSON model (schema 39, Grafana 10.4 and later; later ones migrate it when they load it).
//!
//! They ask for what every system measures, whether Prometheus keeps histograms as native ones or as classic buckets; the one of
//! objectives asks for what [`crate::rules`] record.

mod boards;

use crate::rules::Scope;
use serde_json::{Value, json};

/// The version of Grafana's model.
const SCHEMA: u32 = 39;
/// Columns of Grafana's grid, and the height of a panel in its rows.
const COLUMNS: usize = 24;
const HEIGHT: usize = 8;
const STAT_HEIGHT: usize = 4;

/// One dashboard.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// What its file is called, without the ending.
    pub name: &'static str,
    pub json: Value,
}

/// Makes all dashboards.
pub fn dashboards(scope: &Scope) -> Vec<Dashboard> {
    boards::all(scope)
}

/// What is drawn in one panel.
struct Panel {
    title: &'static str,
    about: &'static str,
    kind: Kind,
    unit: Unit,
    lines: Vec<Line>,
}

/// An expression, and what its lines are called.
struct Line {
    expr: String,
    legend: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Lines over time, a third of the width.
    Time,
    /// Numbers as they are now, a sixth of the width.
    Stat,
}

#[derive(Clone, Copy)]
enum Unit {
    PerSecond,
    Share,
    Seconds,
    Bytes,
    Count,
    Cores,
}

impl Unit {
    fn id(self) -> &'static str {
        match self {
            Self::PerSecond => "ops",
            Self::Share => "percentunit",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::Count | Self::Cores => "short",
        }
    }
}

/// A variable that the reader chooses: the values of a label.
struct Choice {
    name: &'static str,
    title: &'static str,
    /// The series that have the label.
    metric: &'static str,
    label: &'static str,
}

fn dashboard(
    scope: &Scope,
    name: &'static str,
    title: &str,
    choices: &[Choice],
    panels: Vec<Panel>,
) -> Dashboard {
    let mut place = Place::default();
    let panels: Vec<_> = panels.iter().enumerate().map(|(at, panel)| place.panel(at, panel)).collect();
    let json = json!({
        "uid": uid(&scope.system, name),
        "title": format!("{}: {title}", scope.system),
        "tags": ["banyan", scope.system],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "links": [{
            "title": "Dashboards of this system", "type": "dashboards", "tags": ["banyan", scope.system],
            "asDropdown": true, "includeVars": false, "keepTime": true,
        }],
        "templating": {"list": variables(scope, choices)},
        "panels": panels,
    });
    Dashboard { name, json }
}

/// At most 40 characters, as Grafana wants it.
fn uid(system: &str, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let system: String = system.chars().map(plain).take(24).collect();
    format!("banyan-{system}-{name}").chars().take(40).collect()
}

fn variables(scope: &Scope, choices: &[Choice]) -> Vec<Value> {
    let source = json!({
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        "current": {}, "hide": 0, "includeAll": false, "multi": false, "options": [], "refresh": 1, "regex": "",
    });
    let one = |choice: &Choice| {
        let query = format!("label_values({}{{{}}}, {})", choice.metric, scope.matcher(), choice.label);
        json!({
            "name": choice.name, "label": choice.title, "type": "query",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "definition": query, "query": {"qryType": 1, "query": query, "refId": "choices"},
            "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
            "includeAll": true, "multi": true, "allValue": ".*",
            "hide": 0, "options": [], "refresh": 2, "regex": "", "sort": 1,
        })
    };
    std::iter::once(source).chain(choices.iter().map(one)).collect()
}

/// Where the next panel goes.
#[derive(Default)]
struct Place {
    x: usize,
    y: usize,
    /// The height of the row that is being filled.
    height: usize,
}

impl Place {
    fn panel(&mut self, at: usize, panel: &Panel) -> Value {
        let (kind, width, height) = match panel.kind {
            Kind::Time => ("timeseries", COLUMNS / 3, HEIGHT),
            Kind::Stat => ("stat", COLUMNS / 6, STAT_HEIGHT),
        };
        if self.x + width > COLUMNS || (self.x > 0 && height != self.height) {
            self.y += self.height;
            self.x = 0;
        }
        self.height = height;
        let place = json!({"x": self.x, "y": self.y, "w": width, "h": height});
        self.x += width;
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        let target = |(at, line): (usize, &Line)| {
            json!({
                "refId": char::from(b'A' + at as u8).to_string(),
                "datasource": source, "expr": line.expr, "legendFormat": line.legend,
                "editorMode": "code", "range": panel.kind == Kind::Time, "instant": panel.kind == Kind::Stat,
                "exemplar": panel.kind == Kind::Time && line.expr.contains("histogram_quantile"),
            })
        };
        let targets: Vec<_> = panel.lines.iter().enumerate().map(target).collect();
        let mut json = json!({
            "id": at + 1, "type": kind, "title": panel.title, "description": panel.about,
            "datasource": source, "gridPos": place, "targets": targets,
            "fieldConfig": {
                "defaults": {"unit": panel.unit.id(), "min": 0, "color": {"mode": "palette-classic"}},
                "overrides": [],
            },
        });
        json["options"] = match panel.kind {
            Kind::Time => json!({
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Kind::Stat => json!({
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                "colorMode": "value", "graphMode": "area", "textMode": "auto",
            }),
        };
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Pace;
    use crate::slo::objectives;
    use std::collections::{BTreeMap, BTreeSet};

    fn all() -> Vec<Dashboard> {
        let objectives = objectives(&BTreeMap::new());
        dashboards(&Scope { system: "shop".into(), job: "shop".into(), objectives, pace: Pace::Steady })
    }

    #[test]
    fn panels_do_not_overlap_and_fit() {
        for Dashboard { name, json } in all() {
            let mut taken = BTreeSet::new();
            for panel in json["panels"].as_array().expect("panels") {
                let at = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
                assert!(at("x") + at("w") <= COLUMNS as u64, "{name}: {panel}");
                for cell in (at("x")..at("x") + at("w"))
                    .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
                {
                    assert!(taken.insert(cell), "{name}: {} overlaps", panel["title"]);
                }
                assert!(!panel["targets"].as_array().expect("targets").is_empty(), "{name}: {panel}");
            }
        }
    }

    #[test]
    fn dashboards_have_ids_of_their_own_and_know_their_variables() {
        let all = all();
        let ids: BTreeSet<_> = all.iter().map(|board| board.json["uid"].as_str().expect("a text")).collect();
        assert_eq!(ids.len(), all.len());
        assert!(ids.iter().all(|id| id.len() <= 40));
        for board in &all {
            let text = board.json.to_string();
            let list = board.json["templating"]["list"].as_array().expect("a list");
            let known: Vec<_> = list.iter().filter_map(|variable| variable["name"].as_str()).collect();
            for used in text.split("=~\\\"$").skip(1) {
                let name: String = used.chars().take_while(char::is_ascii_alphanumeric).collect();
                assert!(known.contains(&name.as_str()), "{}: ${name} is no variable", board.name);
            }
        }
    }
}
