//! Rules as YAML.

use super::{Rule, RuleFile, RuleKind};
use std::fmt::Write;

pub(super) fn of(file: &RuleFile) -> String {
    let mut out = String::new();
    for line in &file.about {
        let _ = writeln!(out, "# {line}");
    }
    out.push_str("groups:\n");
    for group in &file.groups {
        let _ =
            writeln!(out, "  - name: {}\n    interval: {}\n    rules:", text(&group.name), group.interval);
        group.rules.iter().for_each(|rule| put(&mut out, rule));
    }
    out
}

fn put(out: &mut String, rule: &Rule) {
    let _ = match &rule.kind {
        RuleKind::Record(name) => writeln!(out, "      - record: {name}"),
        RuleKind::Alert { name, .. } => writeln!(out, "      - alert: {name}"),
    };
    let _ = writeln!(out, "        expr: |-\n          {}", rule.expr.replace('\n', "\n          "));
    if let RuleKind::Alert { hold, .. } = &rule.kind {
        let _ = writeln!(out, "        for: {hold}");
    }
    for (section, pairs) in [("labels", &rule.labels), ("annotations", &rule.annotations)] {
        if pairs.is_empty() {
            continue;
        }
        let _ = writeln!(out, "        {section}:");
        for (name, value) in pairs {
            let _ = writeln!(out, "          {name}: {}", text(value));
        }
    }
}

/// A text in double quotes, where YAML escapes as JSON does.
pub(super) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
