//! `sagas`: what runs, what is stuck, and what to do about it.

use crate::args::Globals;
use crate::output::{Output, table, time};
use crate::remote::Remote;
use anyhow::Result;
use banyan_control::contract::{
    CancelSagaRequest, GetSagaRequest, ListSagasRequest, ListSagasResponse, RetrySagaRequest, SagaDetail,
    SagaSummary,
};
use clap::{Args, Subcommand};

/// Sagas that are shown at most: with one more, which tells whether there are more, they still fit a page of the contract.
const LIMIT_MAX: u32 = 499;
const LIMIT: u32 = 50;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  sagas --limit 5 --state parked            of all services
  sagas show orders ORDER_ID                one saga with its journal
  sagas retry orders ORDER_ID               a parked one runs again")]
pub(crate) struct SagasArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Subcommand)]
enum Verb {
    /// List sagas, those changed last first; without a command, this is what happens.
    List(ListArgs),
    /// Show one saga with its journal.
    Show(Named),
    /// Let a parked saga run again.
    Retry(Named),
    /// Stop a saga and compensate what it did.
    Cancel {
        #[command(flatten)]
        saga: Named,
        /// Why; kept in the journal.
        #[arg(long, default_value = "CANCELLED_BY_OPERATOR")]
        reason: String,
    },
}

#[derive(Args)]
struct Named {
    /// The service whose saga it is.
    service: String,
    /// Its id, as `sagas list` shows it; an order's saga has the order's id.
    id: String,
}

#[derive(Args)]
struct ListArgs {
    /// Only those of this service.
    #[arg(long)]
    service: Option<String>,
    /// Only those in this state.
    #[arg(long, value_parser = ["running", "compensating", "completed", "compensated", "parked"], ignore_case = true)]
    state: Option<String>,
    /// How many at most; it says so if there are more.
    #[arg(long, default_value_t = LIMIT, value_parser = clap::value_parser!(u32).range(1..=i64::from(LIMIT_MAX)))]
    limit: u32,
}

pub(crate) async fn run(args: SagasArgs, globals: Globals) -> Result<()> {
    let remote = Remote::find(&globals.data()?)?;
    let output = Output::new(globals.json)?;
    let (control, cx) = (remote.control()?, remote.context());
    match args.verb.unwrap_or(Verb::List(args.list)) {
        Verb::List(list) => {
            let request = ListSagasRequest {
                service: list.service.unwrap_or_default(),
                state: list.state.unwrap_or_default().to_uppercase(),
                page_size: list.limit + 1,
            };
            let mut answer = control.list_sagas(&cx, request).await?;
            let limit = list.limit as usize;
            let more = answer.sagas.len() > limit;
            answer.sagas.truncate(limit);
            let text = |answer: &ListSagasResponse| list_text(answer, more);
            output.message_with("ListSagasResponse", &answer, &[("more", more.into())], text)
        }
        Verb::Show(Named { service, id }) => {
            let saga = control.get_saga(&cx, GetSagaRequest { service, id }).await?;
            output.message("SagaDetail", &saga, detail_text)
        }
        Verb::Retry(Named { service, id }) => {
            let answer = control.retry_saga(&cx, RetrySagaRequest { service, id: id.clone() }).await?;
            output.message("RetrySagaResponse", &answer, |_| format!("saga {id} runs again"))
        }
        Verb::Cancel { saga: Named { service, id }, reason } => {
            let answer =
                control.cancel_saga(&cx, CancelSagaRequest { service, id: id.clone(), reason }).await?;
            output.message("CancelSagaResponse", &answer, |_| format!("saga {id} is being compensated"))
        }
    }
}

fn list_text(answer: &ListSagasResponse, more: bool) -> String {
    if answer.sagas.is_empty() {
        return "no sagas".to_owned();
    }
    let row = |s: &SagaSummary| {
        let s = s.clone();
        vec![s.service, s.workflow, s.id, s.state, s.step, time(s.updated_ms), s.failure]
    };
    let rows: Vec<_> = answer.sagas.iter().map(row).collect();
    let mut text = table(&["SERVICE", "WORKFLOW", "ID", "STATE", "STEP", "UPDATED", "FAILURE"], &rows);
    if more {
        text.push_str(&format!(
            "\n\nThere are more than these {}: --limit shows up to {LIMIT_MAX}; --service and --state narrow the list.",
            rows.len()
        ));
    }
    text
}

fn detail_text(saga: &SagaDetail) -> String {
    let Some(summary) = &saga.summary else { return "no such saga".to_owned() };
    let rows: Vec<_> = saga
        .journal
        .iter()
        .map(|e| vec![e.seq.to_string(), time(e.at_ms), e.kind.clone(), e.step.clone(), e.note.clone()])
        .collect();
    let mut text = format!("{} {} of {}: {}\n", summary.workflow, summary.id, summary.service, summary.state);
    if !summary.failure.is_empty() {
        text.push_str(&format!("{}\n", summary.failure));
    }
    text + "\n" + &table(&["#", "AT", "KIND", "STEP", "NOTE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        sagas: SagasArgs,
    }

    #[test]
    fn the_limit_is_bounded_and_needs_no_word_list() {
        let parse = |text: &str| Cli::try_parse_from(text.split(' ')).map(|cli| cli.sagas);
        assert_eq!(parse("sagas --limit 3").unwrap().list.limit, 3);
        assert!(
            matches!(parse("sagas list --limit 499").unwrap().verb, Some(Verb::List(l)) if l.limit == 499)
        );
        for bad in ["sagas --limit 0", "sagas --limit 500", "sagas --state done", "sagas --limit 3 show a b"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_says_that_there_is_more() {
        let one = ListSagasResponse { sagas: vec![SagaSummary::default()] };
        assert!(list_text(&one, true).contains("more than these 1"));
        assert!(!list_text(&one, false).contains("more"));
    }
}
