//! `doctor`: whether the engines of a configuration are there, and can do what the system asks of them.

use super::run::error_of;
use crate::args::{Globals, RunArgs};
use crate::central::{self, Central};
use crate::output::Output;
use crate::problem::Problem;
use anyhow::Result;
use banyan::{Config, DoctorOptions, EngineReport, Report, System};
use banyan_core::{Check, Env, Error, Finding, Reason, Verdict};
use banyan_identity::SOURCE_UNAVAILABLE;
use clap::Args;
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// At least one check of `doctor` failed.
const DOCTOR_FAILED: Reason = Reason::new("DOCTOR_FAILED");
/// Columns of a progress line that a narrow terminal still shows on one line.
const PROGRESS_COLUMNS: usize = 72;

/// The end of the help.
const EXAMPLES: &str = "\
Takes the arguments of `run`, and examines what they make of the configuration. Nothing is changed that stays, and no secret \
is shown. It ends with 0, or with 1 if a check failed; a warning is no failure.

Examples:
  doctor                               what the system keeps on this machine
  doctor --profile fleet               every server that the profile names
  doctor --profile fleet --timeout 3   give up on an engine after three seconds
  doctor --json                        for a program: check, subject, verdict, found, next_step";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Seconds that the examination of one engine may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) async fn run(system: &System, args: DoctorArgs, globals: Globals) -> Result<()> {
    let env = Env::default();
    let beneath = args.run.config(&globals)?;
    // What a central source has holds as it does for `run`; without it, the rest is worth examining still.
    let (config, source) = match central::read(&args.run, &globals, system, &env).await {
        Ok((config, central)) => (config, central.map(|central| read(&central))),
        Err(error) if beneath.source.url.is_some() => {
            let source = unread(&beneath, error);
            (beneath, Some(source))
        }
        Err(error) => return Err(error),
    };
    let options = DoctorOptions { limit: Duration::from_secs(args.timeout), ..DoctorOptions::new(env) };
    let progress = Progress::new(globals.json);
    let report =
        system.examine(config, &options, &|part, done, total| progress.show(part, done, total)).await;
    // Leases of what was read to reach the engines are not left behind.
    system.release_secrets(options.limit).await;
    progress.clear();
    let mut report = report?;
    report.engines.splice(0..0, source);
    let text = text(&report, Paint { colours: colours() });
    Output::new(globals.json)?.value(&json_of(&report, globals.profile.as_deref()), &text)?;
    match report.count(Verdict::Fail) {
        0 => Ok(()),
        failed => {
            let message = format!("{failed} {} failed", if failed == 1 { "check" } else { "checks" });
            let error = Error::failed_precondition(DOCTOR_FAILED, message);
            Err(Problem::new(error, "do what stands under each failed check, and run doctor again").into())
        }
    }
}

/// Reports a central source that was read, or whose copy was.
fn read(central: &Central) -> EngineReport {
    let snapshot = central.snapshot();
    let (keys, revision) = (snapshot.entries.len(), snapshot.revision);
    let finding = match central.is_copy() {
        false => Finding::ok(Check::Reachable, "source", format!("{keys} keys at revision {revision}")),
        true => {
            let found =
                format!("does not answer; the copy of {keys} keys at revision {revision} stands for it");
            Finding::warn(Check::Reachable, "source", found, "start the source")
        }
    };
    source_report(central.source().place().to_owned(), finding)
}

/// Reports a central source that was not read, or has what is not valid.
fn unread(config: &Config, error: anyhow::Error) -> EngineReport {
    let (error, next) = match error.downcast::<Problem>() {
        Ok(problem) => (problem.error().clone(), problem.next_step().to_owned()),
        Err(error) => (error_of(error), "correct what the source has, or its URL".to_owned()),
    };
    let check = if error.is(SOURCE_UNAVAILABLE) { Check::Reachable } else { Check::Configuration };
    let found = format!("{}; the rest is examined without what it has", error.message());
    // As it may be shown: without a password.
    let shown = serde_json::to_value(config).ok();
    let place = shown.and_then(|shown| Some(shown["source"]["url"].as_str()?.to_owned()));
    source_report(place.unwrap_or_default(), Finding::fail(check, "source", found, next))
}

fn source_report(engine: String, finding: Finding) -> EngineReport {
    EngineReport { engine, used_by: vec!["central configuration".to_owned()], findings: vec![finding] }
}

/// One line on a terminal that says how far it is.
struct Progress {
    shown: bool,
}

impl Progress {
    fn new(json: bool) -> Self {
        Self { shown: !json && std::io::stderr().is_terminal() }
    }

    fn show(&self, part: &str, done: usize, total: usize) {
        if self.shown {
            let line: String =
                format!("examined {done} of {total}: {part}").chars().take(PROGRESS_COLUMNS).collect();
            // Who does not see it misses nothing.
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{line}");
        }
    }

    fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// Tells whether standard output takes colours (<https://no-color.org>).
fn colours() -> bool {
    let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    unset("NO_COLOR") && !dumb && std::io::stdout().is_terminal()
}

/// Colours, if there are any.
#[derive(Clone, Copy)]
struct Paint {
    colours: bool,
}

impl Paint {
    fn verdict(self, verdict: Verdict) -> String {
        let code = match verdict {
            Verdict::Ok => "32",
            Verdict::Unknown => "36",
            Verdict::Warn => "33",
            Verdict::Fail => "31;1",
        };
        self.paint(&format!("{:<7}", verdict.name()), code)
    }

    fn paint(self, text: &str, code: &str) -> String {
        match self.colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

fn text(report: &Report, paint: Paint) -> String {
    let all = || report.engines.iter().flat_map(|engine| &engine.findings);
    let width = |of: &dyn Fn(&Finding) -> usize| all().map(of).max().unwrap_or_default();
    let checks = width(&|finding| finding.check.name().chars().count());
    let subjects = width(&|finding| finding.subject.chars().count());
    let mut lines = Vec::new();
    for EngineReport { engine, used_by, findings } in &report.engines {
        lines.push(format!("{}  {}", paint.paint(engine, "1"), paint.paint(&used_by.join(", "), "2")));
        for Finding { check, subject, verdict, found, next_step } in findings {
            let verdict = paint.verdict(*verdict);
            let line = format!("  {verdict}  {:<checks$}  {subject:<subjects$}  {found}", check.name());
            lines.push(line.trim_end().to_owned());
            if let Some(next) = next_step {
                lines.push(format!(
                    "  {:7}  {:checks$}  {:subjects$}  {}",
                    "",
                    "",
                    "",
                    paint.paint(&format!("next: {next}"), "1")
                ));
            }
        }
        lines.push(String::new());
    }
    let counted = [Verdict::Fail, Verdict::Warn, Verdict::Unknown, Verdict::Ok]
        .into_iter()
        .map(|verdict| (verdict, report.count(verdict)))
        .filter(|(verdict, count)| *count > 0 || *verdict == Verdict::Ok)
        .map(|(verdict, count)| format!("{count} {}", verdict.name()));
    lines.push(counted.collect::<Vec<_>>().join(", "));
    lines.join("\n")
}

fn json_of(report: &Report, profile: Option<&str>) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "check": finding.check.name(), "subject": finding.subject, "verdict": finding.verdict.name(),
            "found": finding.found, "next_step": finding.next_step,
        })
    };
    let engine = |engine: &EngineReport| {
        json!({
            "engine": engine.engine, "used_by": engine.used_by, "verdict": engine.verdict().name(),
            "findings": engine.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    };
    let verdict = report.engines.iter().map(EngineReport::verdict).max().unwrap_or(Verdict::Ok);
    json!({
        "profile": profile, "verdict": verdict.name(),
        "engines": report.engines.iter().map(engine).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let next = "GRANT CREATE ON SCHEMA public TO shop;";
        let findings = vec![
            Finding::ok(Check::Reachable, "server", "answers in 0.3 ms"),
            Finding::fail(Check::Permissions, "make tables", "permission denied", next),
        ];
        let used_by = vec!["store of users".to_owned(), "store of orders".to_owned()];
        Report { engines: vec![EngineReport { engine: "postgres://h:5432".to_owned(), used_by, findings }] }
    }

    #[test]
    fn findings_line_up_under_their_engine() {
        let expected = "\
postgres://h:5432  store of users, store of orders
  ok       reachable    server       answers in 0.3 ms
  fail     permissions  make tables  permission denied
                                     next: GRANT CREATE ON SCHEMA public TO shop;

1 fail, 1 ok";
        assert_eq!(text(&report(), Paint { colours: false }), expected);
        let coloured = text(&report(), Paint { colours: true });
        assert!(coloured.contains("\x1b[31;1mfail") && coloured.contains("\x1b[32mok"), "{coloured}");
    }

    #[test]
    fn a_source_that_is_away_is_a_finding_without_its_password() {
        let config = Config::parse("source.url = 'etcd://u:hunter2@h/shop'").unwrap();
        let away = Error::new(banyan_core::Code::Unavailable, SOURCE_UNAVAILABLE, "h did not answer");
        let report = unread(&config, Problem::new(away, "start the source").into());
        assert_eq!(report.engine, "etcd://u:[redacted]@h/shop");
        let [Finding { check, verdict, next_step, .. }] = &report.findings[..] else { panic!("{report:?}") };
        assert_eq!((*check, *verdict), (Check::Reachable, Verdict::Fail));
        assert_eq!(next_step.as_deref(), Some("start the source"));
    }

    #[test]
    fn a_program_reads_the_same() {
        let json = json_of(&report(), Some("fleet"));
        assert_eq!((json["profile"].as_str(), json["verdict"].as_str()), (Some("fleet"), Some("fail")));
        let finding = &json["engines"][0]["findings"][1];
        assert_eq!(finding["next_step"], "GRANT CREATE ON SCHEMA public TO shop;");
        assert_eq!(
            (finding["check"].as_str(), finding["verdict"].as_str()),
            (Some("permissions"), Some("fail"))
        );
    }
}
