//! `logs`: what the processes of a system logged, with the requests it belongs to.

use super::traces::{remembered, trace_named, warn_if_unknown};
use crate::args::Globals;
use crate::output::{Output, time};
use anyhow::Result;
use banyan_telemetry::{LineFilter, Numbered};
use clap::Args;
use serde_json::json;
use std::time::Duration;

/// How often `--follow` looks for new lines.
const FOLLOW_PERIOD: Duration = Duration::from_millis(300);
/// Lines that one look of `--follow` takes.
const FOLLOW_MAX: usize = 10_000;

#[derive(Args)]
pub(crate) struct LogsArgs {
    /// Only lines of this service.
    #[arg(long)]
    service: Option<String>,
    /// Only lines at least as bad as this; what is finer than info is not kept.
    #[arg(long, value_parser = ["error", "warn", "info"], ignore_case = true)]
    level: Option<String>,
    /// Only lines of this request: what `traces show` understands.
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Only lines with this in their message or fields.
    #[arg(long, value_name = "TEXT")]
    find: Option<String>,
    /// How many, the latest ones.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Go on with new ones until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
}

pub(crate) async fn run(args: LogsArgs, globals: Globals) -> Result<()> {
    let reader = remembered(&globals)?;
    let output = Output::new(globals.json)?;
    let named = |id: &str| match reader.find(id, 1)?.is_empty() {
        // Also a trace that was not kept may have lines.
        true => reader.find_logged(id)?.map_or_else(|| trace_named(&reader, id), Ok),
        false => trace_named(&reader, id),
    };
    let trace_id = args.trace.as_deref().map(named).transpose()?;
    let mut filter = LineFilter {
        after: 0,
        level: args.level.unwrap_or_default(),
        service: args.service,
        trace_id,
        text: args.find,
        limit: args.limit as usize,
    };
    let lines = reader.lines(&filter)?;
    if lines.is_empty() {
        warn_if_unknown(&reader, filter.service.as_deref())?;
    }
    if !args.follow {
        let text = match lines.is_empty() {
            true => "no such lines were kept".to_owned(),
            false => lines.iter().map(text_of).collect::<Vec<_>>().join("\n"),
        };
        return output.value(&json!({ "lines": lines }), &text);
    }
    let mut lines = lines;
    loop {
        for line in &lines {
            output.value(&serde_json::to_value(line)?, &text_of(line))?;
            filter.after = filter.after.max(line.number);
        }
        tokio::time::sleep(FOLLOW_PERIOD).await;
        filter.limit = FOLLOW_MAX;
        lines = reader.lines(&filter)?;
    }
}

fn text_of(numbered: &Numbered) -> String {
    let line = &numbered.line;
    let service = line.service.as_deref().unwrap_or(&numbered.process);
    let fields: Vec<_> = line.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    let trace = line.trace_id.as_deref().map_or_else(String::new, |id| format!(" trace={}", &id[..16]));
    let Numbered { line, .. } = numbered;
    format!("{} {:<5} {service}: {}{}{trace}", time(line.time_ms), line.level, line.message, fields.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        logs: LogsArgs,
    }

    #[test]
    fn a_level_that_there_is_not_is_a_wrong_argument() {
        let parse = |level: &str| Cli::try_parse_from(["logs", "--level", level]).map(|cli| cli.logs.level);
        assert_eq!(parse("WARN").ok().flatten().as_deref(), Some("WARN"));
        let error = parse("wran").expect_err("there is no such level");
        assert!(
            error.exit_code() == 2 && error.to_string().contains("similar value exists: 'warn'"),
            "{error}"
        );
    }
}
