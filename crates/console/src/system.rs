//! The system as it is: its processes, its services, its configuration's state, its measurements.

use crate::answer::Answer;
use crate::router::Parts;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use banyan_control::contract::GetSystemRequest;
use banyan_core::{Context, Identity, Result};
use banyan_telemetry::metrics::{Exposition, expose};
use http::{HeaderMap, header};
use serde_json::{Value, json};

/// What scrapers ask for.
pub(crate) async fn metrics(State(parts): Parts, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = Exposition::accepted(accept);
    let measured = parts.memory.as_ref().map(|memory| memory.measured()).unwrap_or_default();
    ([(header::CONTENT_TYPE, form.content_type())], expose(&measured, form)).into_response()
}

pub(crate) async fn system(State(parts): Parts) -> Answer {
    let cx = Context::new(&parts.env, Identity::service("operator"));
    let shown = async {
        let status = parts.control.get_system(&cx, GetSystemRequest {}).await?;
        let processes: Vec<_> = status
            .processes
            .iter()
            .map(|p| {
                json!({"process": p.process, "pid": p.pid, "address": p.address, "state": p.state,
                       "restarts": p.restarts, "restart_reason": p.restart_reason})
            })
            .collect();
        let services: Vec<_> = status
            .services
            .iter()
            .map(|s| json!({"service": s.service, "state": s.state, "processes": s.processes, "contracts": s.contracts}))
            .collect();
        Ok(
            json!({"system": status.name, "gateway": parts.gateway, "processes": processes, "services": services}),
        )
    };
    let shown: Result<Value> = shown.await;
    shown.into()
}
