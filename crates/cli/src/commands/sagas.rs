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

#[derive(Args)]
pub(crate) struct SagasArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// List sagas, those changed last first.
    List(ListArgs),
    /// Show one saga with its journal.
    Show { service: String, id: String },
    /// Let a parked saga run again.
    Retry { service: String, id: String },
    /// Stop a saga and compensate what it did.
    Cancel {
        service: String,
        id: String,
        /// Why; kept in the journal.
        #[arg(long, default_value = "CANCELLED_BY_OPERATOR")]
        reason: String,
    },
}

#[derive(Args, Default)]
struct ListArgs {
    /// Only those of this service.
    #[arg(long)]
    service: Option<String>,
    /// Only those in this state: running, compensating, completed, compensated or parked.
    #[arg(long)]
    state: Option<String>,
    /// How many at most, for each service.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

pub(crate) async fn run(args: SagasArgs, globals: Globals) -> Result<()> {
    let remote = Remote::find(&globals.data()?)?;
    let output = Output::new(globals.json)?;
    let (control, cx) = (remote.control()?, remote.context());
    match args.verb.unwrap_or(Verb::List(ListArgs { limit: 50, ..ListArgs::default() })) {
        Verb::List(list) => {
            let request = ListSagasRequest {
                service: list.service.unwrap_or_default(),
                state: list.state.unwrap_or_default().to_uppercase(),
                page_size: list.limit,
            };
            output.message("ListSagasResponse", &control.list_sagas(&cx, request).await?, list_text)
        }
        Verb::Show { service, id } => {
            let saga = control.get_saga(&cx, GetSagaRequest { service, id }).await?;
            output.message("SagaDetail", &saga, detail_text)
        }
        Verb::Retry { service, id } => {
            let answer = control.retry_saga(&cx, RetrySagaRequest { service, id: id.clone() }).await?;
            output.message("RetrySagaResponse", &answer, |_| format!("saga {id} runs again"))
        }
        Verb::Cancel { service, id, reason } => {
            let answer =
                control.cancel_saga(&cx, CancelSagaRequest { service, id: id.clone(), reason }).await?;
            output.message("CancelSagaResponse", &answer, |_| format!("saga {id} is being compensated"))
        }
    }
}

fn list_text(answer: &ListSagasResponse) -> String {
    if answer.sagas.is_empty() {
        return "no sagas".to_owned();
    }
    let row = |s: &SagaSummary| {
        let s = s.clone();
        vec![s.service, s.workflow, s.id, s.state, s.step, time(s.updated_ms), s.failure]
    };
    let rows: Vec<_> = answer.sagas.iter().map(row).collect();
    table(&["SERVICE", "WORKFLOW", "ID", "STATE", "STEP", "UPDATED", "FAILURE"], &rows)
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
