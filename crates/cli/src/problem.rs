//! What a command says when it fails: what happened, under which stable reason, and what to do next.

use banyan_core::{Code, Error, Reason};
use banyan_gateway::is_platform_reason;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// A failure that no reason of its own describes.
const COMMAND_FAILED: Reason = Reason::new("COMMAND_FAILED");
/// What a program that was killed by SIGPIPE leaves in a shell: 128 and the number of the signal.
const CLOSED_EXIT: u8 = 141;
/// How arguments that make no sense end, as clap ends them.
const USAGE_EXIT: u8 = 2;

/// An error together with what its user can do about it.
#[derive(Debug)]
pub struct Problem {
    error: Error,
    next_step: String,
    usage: bool,
}

impl Problem {
    /// Adds the next step to an error: one sentence, with the command to type if there is one.
    pub fn new(error: Error, next_step: impl Into<String>) -> Self {
        Self { error, next_step: next_step.into(), usage: false }
    }

    /// Refuses an argument, for example `--group`, before anything is done.
    pub fn usage(
        argument: impl Into<String>,
        problem: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self::usage_of(Error::invalid(argument, problem), next_step)
    }

    /// Makes an error the fault of an argument.
    pub(crate) fn usage_of(error: Error, next_step: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(error, next_step) }
    }

    pub fn error(&self) -> &Error {
        &self.error
    }

    pub fn next_step(&self) -> &str {
        &self.next_step
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error.message())
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

/// Whoever read our standard output has gone: no failure of ours.
#[derive(Debug)]
pub(crate) struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output is closed")
    }
}

impl std::error::Error for OutputClosed {}

/// Returns the name this program was called by.
pub(crate) fn program_name() -> String {
    let called = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = called.as_deref().and_then(std::path::Path::file_name).and_then(std::ffi::OsStr::to_str);
    name.unwrap_or("banyan").to_owned()
}

/// Prints why a command failed to standard error, and returns how the program ends.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    if error.is::<OutputClosed>() {
        return ExitCode::from(CLOSED_EXIT);
    }
    print(&Shown::of(error), json);
    match error.downcast_ref::<Problem>() {
        Some(problem) if problem.usage => ExitCode::from(USAGE_EXIT),
        _ => ExitCode::FAILURE,
    }
}

/// Prints what is wrong with the arguments, or the help that was asked for, and returns how the program ends.
pub(crate) fn report_usage(error: &clap::Error, json: bool) -> ExitCode {
    let help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if json && !help {
        print(&Shown::of_usage(error), true);
    } else {
        // Nobody is left to be told that nobody listens.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE_EXIT))
}

/// An error as it is shown.
#[derive(Debug, PartialEq)]
struct Shown {
    code: &'static str,
    reason: String,
    message: String,
    /// The argument or the key of the configuration that is wrong.
    field: Option<String>,
    next_step: String,
}

impl Shown {
    fn of(error: &anyhow::Error) -> Self {
        let mut message = String::new();
        let (mut known, mut next_step) = (None, None);
        for cause in error.chain() {
            let text = match (cause.downcast_ref::<Problem>(), cause.downcast_ref::<Error>()) {
                (Some(problem), _) => {
                    next_step = Some(problem.next_step.clone());
                    known = Some(&problem.error);
                    problem.error.message().to_owned()
                }
                (None, Some(error)) => {
                    known = Some(error);
                    error.message().to_owned()
                }
                (None, None) => cause.to_string(),
            };
            // Some errors show their cause themselves.
            if !message.contains(&text) {
                let colon = if message.is_empty() { "" } else { ": " };
                message.push_str(&format!("{colon}{text}"));
            }
            if known.is_some() {
                break;
            }
        }
        let reason = known.map_or(COMMAND_FAILED.as_str(), Error::reason).to_owned();
        Self {
            code: known.map_or(Code::Unknown, Error::code).name(),
            next_step: next_step.unwrap_or_else(|| format!("see {}", page(&reason))),
            reason,
            message,
            field: known.and_then(|error| error.violations().first()).map(|v| v.field.clone()),
        }
    }

    fn of_usage(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let mut paragraphs = text.split("\n\n").map(|paragraph| {
            let words: Vec<_> = paragraph.split_whitespace().collect();
            words.join(" ")
        });
        let message = paragraphs.next().unwrap_or_default();
        let tip = paragraphs.find_map(|text| text.strip_prefix("tip: ").map(str::to_owned));
        let field = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(argument)) => Some(argument.clone()),
            Some(ContextValue::Strings(arguments)) => arguments.first().cloned(),
            _ => None,
        };
        Self {
            code: Code::InvalidArgument.name(),
            reason: Reason::INVALID_FIELD.as_str().to_owned(),
            message: message.trim_start_matches("error: ").to_owned(),
            field,
            next_step: tip.unwrap_or_else(|| "--help shows the arguments".to_owned()),
        }
    }

    fn json(&self) -> Value {
        let mut object = Map::new();
        for (key, value) in [("code", self.code), ("reason", &self.reason), ("message", &self.message)] {
            object.insert(key.to_owned(), json!(value));
        }
        if let Some(field) = &self.field {
            object.insert("field".to_owned(), json!(field));
        }
        object.insert("next_step".to_owned(), json!(self.next_step));
        Value::Object(object)
    }

    fn text(&self) -> String {
        let Self { reason, message, next_step, .. } = self;
        format!("error: {message}\n  next: {next_step}\n  reason: {reason} ({})", page(reason))
    }
}

/// Returns where a reason is explained: a system's own only by itself.
fn page(reason: &str) -> String {
    match is_platform_reason(reason) {
        true => format!("docs/errors/{reason}.md"),
        false => format!("/errors/{reason} of the system's gateway"),
    }
}

fn print(shown: &Shown, json: bool) {
    let text = if json { shown.json().to_string() } else { shown.text() };
    // As with the help: there is no further place to complain to.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn an_error_has_a_reason_a_field_and_a_next_step() {
        let problem = Problem::usage("--group", "names no service", "write --group back=orders");
        let shown = Shown::of(&anyhow!(problem));
        let expected = json!({"code": "INVALID_ARGUMENT", "reason": "INVALID_FIELD", "field": "--group",
            "message": "--group: names no service", "next_step": "write --group back=orders"});
        assert_eq!(shown.json(), expected);
        assert_eq!(page("CARD_DECLINED"), "/errors/CARD_DECLINED of the system's gateway");
        let text = "error: --group: names no service\n  next: write --group back=orders\n  \
                    reason: INVALID_FIELD (docs/errors/INVALID_FIELD.md)";
        assert_eq!(shown.text(), text);
    }

    #[test]
    fn what_was_attempted_is_part_of_the_message() {
        let refused = Error::not_found("service", "paymens").with_source("secret");
        let shown = Shown::of(&Err::<(), _>(refused).context("cannot move").unwrap_err());
        assert_eq!(shown.message, "cannot move: there is no service \"paymens\"");
        assert_eq!((shown.code, shown.next_step.as_str()), ("NOT_FOUND", "see docs/errors/NOT_FOUND.md"));
        let shown =
            Shown::of(&anyhow!("disk on fire").context("cannot save").context("cannot save: disk on fire"));
        assert_eq!(
            (shown.reason.as_str(), shown.message.as_str()),
            ("COMMAND_FAILED", "cannot save: disk on fire")
        );
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        assert_eq!(report(&anyhow!(OutputClosed), false), ExitCode::from(141));
        assert_eq!(report(&anyhow!("x"), false), ExitCode::FAILURE);
    }

    #[test]
    fn wrong_arguments_are_objects_too() {
        let command = clap::Command::new("shop").arg(clap::Arg::new("port").long("port"));
        let shown = Shown::of_usage(&command.try_get_matches_from(["shop", "--prot", "1"]).unwrap_err());
        assert_eq!(shown.message, "unexpected argument '--prot' found");
        assert_eq!(shown.field.as_deref(), Some("--prot"));
        assert!(shown.next_step.contains("--port"), "{}", shown.next_step);
    }
}
