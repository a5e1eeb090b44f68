//! The system as it is: its processes, its services, its configuration, its measurements.

use crate::answer::{Answer, Body};
use crate::app::{App, Operator, Shared};
use crate::audit::Deed;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use banyan::ConsoleRole;
use banyan_control::contract as api;
use banyan_core::{Error, Result};
use banyan_telemetry::metrics::{Exposition, expose};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// Bytes of the file that an auditor writes.
const INVARIANTS_BYTES_MAX: u64 = 4 << 20;

/// What scrapers ask for.
pub(crate) async fn metrics(State(app): Shared, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = Exposition::accepted(accept);
    let measured = app.parts.memory.as_ref().map(|memory| memory.measured()).unwrap_or_default();
    ([(header::CONTENT_TYPE, form.content_type())], expose(&measured, form)).into_response()
}

pub(crate) async fn system(State(app): Shared) -> Answer {
    Answer(shown(&app).await)
}

/// Describes the system as it is now.
pub(crate) async fn shown(app: &App) -> Result<Value> {
    let status = app.parts.control.get_system(&app.context(), api::GetSystemRequest {}).await?;
    let processes: Vec<_> = status
        .processes
        .iter()
        .map(|p| {
            json!({"process": p.process, "pid": p.pid, "address": p.address, "state": p.state,
                   "version": p.version, "restarts": p.restarts, "restart_reason": p.restart_reason})
        })
        .collect();
    let services: Vec<_> = status.services.iter().map(service).collect();
    let config = status.config.unwrap_or_default();
    Ok(json!({
        "system": status.name, "gateway": app.parts.gateway, "started_ms": app.started_ms,
        "processes": processes, "services": services, "config": config_status(&config),
    }))
}

pub(crate) fn service(s: &api::ServiceStatus) -> Value {
    json!({"service": s.service, "state": s.state, "processes": s.processes, "contracts": s.contracts})
}

fn config_status(config: &api::ConfigStatus) -> Value {
    json!({
        "version": config.version, "read_ms": config.read_ms, "source": config.source,
        "source_problem": config.source_problem, "refused": config.refused, "refused_ms": config.refused_ms,
        "restart_keys": config.restart_keys,
    })
}

pub(crate) async fn config(State(app): Shared) -> Answer {
    let listed = app.parts.control.get_config(&app.context(), api::GetConfigRequest {}).await;
    Answer(listed.map(|listed| {
        let entries: Vec<_> = listed.entries.iter().map(entry).collect();
        json!({"entries": entries, "status": config_status(&listed.status.unwrap_or_default())})
    }))
}

pub(crate) fn entry(entry: &api::ConfigEntry) -> Value {
    let api::ConfigEntry { key, value, origin, takes, next } = entry;
    let next = Some(next).filter(|next| !next.is_empty());
    json!({"key": key, "value": value, "origin": origin, "takes": takes, "next": next})
}

/// Nothing: what is read again stands in the files.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

pub(crate) async fn reload(
    State(app): Shared,
    Extension(who): Extension<Operator>,
    Body(Nothing {}): Body<Nothing>,
) -> Answer {
    let deed = Deed {
        action: "reload configuration",
        needs: ConsoleRole::Admin,
        target: app.parts.system.name().to_owned(),
        arguments: json!({}),
    };
    let (reloading, cause) = (app.clone(), format!("{} in the console", who.name));
    let done = app.act(&who, deed, async move {
        let control = &reloading.parts.control;
        let answer = control.reload_config(&reloading.context(), api::ReloadConfigRequest { cause }).await?;
        let change =
            |c: &api::ConfigChange| json!({"key": c.key, "before": c.before, "after": c.after, "origin": c.origin});
        Ok(json!({
            "version": answer.version,
            "changed": answer.changed.iter().map(change).collect::<Vec<_>>(),
            "restart": answer.restart.iter().map(change).collect::<Vec<_>>(),
            "taken": answer.taken.iter().map(|t| json!({"process": t.process, "services": t.services, "problem": t.problem}))
                .collect::<Vec<_>>(),
        }))
    });
    Answer(done.await)
}

/// What an auditor of the system's own found: the file `run/invariants.json` of the data folder.
pub(crate) async fn invariants(State(app): Shared) -> Answer {
    let path = app.parts.data.join("run/invariants.json");
    let read = tokio::task::spawn_blocking(move || read_invariants(&path)).await.map_err(Error::internal);
    Answer(read.flatten())
}

fn read_invariants(path: &Path) -> Result<Value> {
    let absent = || {
        let message =
            "no auditor has written run/invariants.json in the data folder: none watches this system";
        Error::new(banyan_core::Code::NotFound, banyan_core::Reason::NOT_FOUND, message)
    };
    let size = std::fs::metadata(path).map_err(|_| absent())?.len();
    if size > INVARIANTS_BYTES_MAX {
        return Err(Error::data_loss(format!("{} is larger than 4 MiB", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(|_| absent())?;
    serde_json::from_str(&text).map_err(|error| Error::data_loss(format!("{}: {error}", path.display())))
}
