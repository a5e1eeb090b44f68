//! Sagas as the control contract shows them.

use crate::contract as api;
use banyan::saga::{SagaFilter, Sagas};
use banyan_core::{Context, Result};
use std::collections::BTreeMap;

/// Sagas on a page unless the request says otherwise.
const PAGE_DEFAULT: u32 = 50;
/// Sagas on a page at most.
const PAGE_MAX: u32 = 500;

pub(crate) async fn list(
    cx: &Context,
    engines: &BTreeMap<&'static str, Sagas>,
    req: &api::ListSagasRequest,
) -> Result<api::ListSagasResponse> {
    let page = if req.page_size == 0 { PAGE_DEFAULT } else { req.page_size.min(PAGE_MAX) };
    let mut sagas = Vec::new();
    for (service, engine) in
        engines.iter().filter(|(name, _)| req.service.is_empty() || **name == req.service)
    {
        let filter = SagaFilter::new(&req.state, page)?;
        sagas.extend(engine.list(cx, filter).await?.into_iter().map(|s| summary(service, s)));
    }
    Ok(api::ListSagasResponse { sagas })
}

pub(crate) async fn get(cx: &Context, service: &str, engine: &Sagas, id: &str) -> Result<api::SagaDetail> {
    let detail = engine.get(cx, id).await?;
    let entry = |e: banyan::saga::JournalEntry| api::JournalEntry {
        seq: e.seq,
        kind: e.kind.to_string(),
        step: e.step,
        note: e.note,
        at_ms: e.at_ms,
    };
    Ok(api::SagaDetail {
        summary: Some(summary(service, detail.summary)),
        journal: detail.journal.into_iter().map(entry).collect(),
    })
}

fn summary(service: &str, saga: banyan::saga::SagaSummary) -> api::SagaSummary {
    api::SagaSummary {
        service: service.to_owned(),
        id: saga.id,
        workflow: saga.workflow,
        state: saga.state.to_string(),
        step: saga.step,
        failure: saga.failure,
        created_ms: saga.created_ms,
        updated_ms: saga.updated_ms,
    }
}
