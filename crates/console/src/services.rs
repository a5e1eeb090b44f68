//! One service: where it runs, what it offers, its settings; and its move to another process.

use crate::answer::{Answer, Body};
use crate::app::{App, Operator, Shared};
use crate::audit::Deed;
use crate::health;
use crate::system;
use axum::Extension;
use axum::extract::{Path, State};
use banyan::ConsoleRole;
use banyan_control::contract as api;
use banyan_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) async fn service(State(app): Shared, Path(name): Path<String>) -> Answer {
    Answer(shown(&app, &name).await)
}

async fn shown(app: &App, name: &str) -> Result<Value> {
    let (cx, control) = (app.context(), &app.parts.control);
    let status = control.get_system(&cx, api::GetSystemRequest {}).await?;
    let found = status.services.iter().find(|service| service.service == name);
    let mut shown = system::service(found.ok_or_else(|| Error::not_found("service", name))?);
    let contracts = found.map(|service| &*service.contracts).unwrap_or_default();
    let described =
        |contract: &String| json!({"name": contract, "methods": app.contracts.methods_of(contract)});
    shown["contracts"] = contracts.iter().map(described).collect();
    // What is unknown of its health hides nothing else.
    let tree = control.get_health(&cx, api::GetHealthRequest {}).await.ok();
    shown["health"] = tree.as_ref().and_then(|tree| health::of_service(tree, name)).map(health::node).into();
    let config = control.get_config(&cx, api::GetConfigRequest {}).await?;
    let own = format!("services.{name}.");
    let (store, replicas) = (format!("stores.{name}"), format!("placement.replicas.{name}"));
    let entries = config.entries.iter().filter(|entry| {
        entry.key.starts_with(&own)
            || entry.key == store
            || entry.key == replicas
            || entry.key == "stores.default"
    });
    shown["config"] = entries.map(system::entry).collect();
    Ok(shown)
}

/// Where a service is to go.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Move {
    process: String,
    /// `true`: a process that there is not yet; `false`: one that there is; absent: either.
    new: Option<bool>,
}

pub(crate) async fn move_service(
    State(app): Shared,
    Extension(who): Extension<Operator>,
    Path(service): Path<String>,
    Body(to): Body<Move>,
) -> Answer {
    let destination = match to.new {
        None => api::Destination::Unspecified,
        Some(true) => api::Destination::New,
        Some(false) => api::Destination::Existing,
    };
    let deed = Deed {
        action: "move",
        needs: ConsoleRole::Admin,
        target: service.clone(),
        arguments: json!({"process": to.process, "new": to.new}),
    };
    let request = api::MoveServiceRequest { service, process: to.process, destination: destination.into() };
    let moving = app.clone();
    let done = app.act(&who, deed, async move {
        let moved = moving.parts.control.move_service(&moving.context(), request).await?;
        Ok(json!({"paused_ms": moved.paused_ms}))
    });
    Answer(done.await)
}
