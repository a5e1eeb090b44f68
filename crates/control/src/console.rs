//! The console's server: what operators and scrapers of this machine ask the root, over HTTP.
//!
//! It listens on loopback only, and answers only requests that name it so: a page of somebody else in the operator's
//! browser cannot reach it under another name.

use crate::supervisor::Supervisor;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use banyan_core::{Code, Error, Result, Tasks};
use banyan_telemetry::metrics::{Exposition, expose};
use banyan_telemetry::{Filter, Memory};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Traces in a list, if the question does not say.
const LIMIT_DEFAULT: usize = 100;

/// What the console shows.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) system: &'static str,
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) memory: Option<Memory>,
}

/// Starts the server on `port` of 127.0.0.1, or on any free port if it is 0; it ends with `tasks`.
///
/// # Errors
/// [`Code::Unavailable`] if the port is taken.
pub(crate) async fn start(shown: Shown, port: u16, tasks: &Tasks) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        Error::unavailable(format!("the console cannot listen on 127.0.0.1:{port}")).with_source(error)
    })?;
    let address = listener.local_addr().map_err(Error::internal)?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/system", get(system))
        .route("/api/traces", get(traces))
        .route("/api/traces/{id}", get(trace))
        .layer(middleware::from_fn(only_by_its_own_name))
        .with_state(shown);
    let stopping = tasks.clone();
    tasks.spawn("console", async move {
        let served =
            axum::serve(listener, router).with_graceful_shutdown(async move { stopping.stopping().await });
        if let Err(error) = served.await {
            tracing::warn!(?error, "the console ended");
        }
    });
    Ok(address)
}

/// Refuses requests that were sent to another name: DNS rebinding.
async fn only_by_its_own_name(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    match name {
        "127.0.0.1" | "localhost" => next.run(request).await,
        _ => (StatusCode::FORBIDDEN, "the console answers only as 127.0.0.1 or localhost").into_response(),
    }
}

async fn metrics(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = Exposition::accepted(accept);
    let measured = shown.memory.map(|memory| memory.measured()).unwrap_or_default();
    ([(header::CONTENT_TYPE, form.content_type())], expose(&measured, form)).into_response()
}

async fn system(State(shown): State<Shown>) -> Response {
    let (processes, services) = shown.supervisor.status();
    let processes: Vec<_> = processes
        .iter()
        .map(|p| json!({"process": p.process, "pid": p.pid, "state": p.state, "restarts": p.restarts}))
        .collect();
    let services: Vec<_> = services
        .iter()
        .map(|s| json!({"service": s.service, "state": s.state, "processes": s.processes, "contracts": s.contracts}))
        .collect();
    Json(json!({"system": shown.system, "processes": processes, "services": services})).into_response()
}

/// The question of a list of traces.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TracesQuery {
    service: Option<String>,
    failed: bool,
    min_ms: u64,
    name: Option<String>,
    since_ms: u64,
    limit: usize,
}

impl Default for TracesQuery {
    fn default() -> Self {
        Self { service: None, failed: false, min_ms: 0, name: None, since_ms: 0, limit: LIMIT_DEFAULT }
    }
}

async fn traces(State(shown): State<Shown>, Query(query): Query<TracesQuery>) -> Response {
    let TracesQuery { service, failed, min_ms: ms_min, name, since_ms, limit } = query;
    let filter = Filter { service, failed, ms_min, name, since_ms, limit };
    let listed = ask(shown.memory, move |memory| memory.reader()?.list(&filter)).await;
    answer(listed.map(|traces| json!({ "traces": traces })))
}

async fn trace(State(shown): State<Shown>, Path(id): Path<String>) -> Response {
    let found = ask(shown.memory, move |memory| {
        let reader = memory.reader()?;
        let Some(trace) = reader.find(&id, 1)?.first().copied() else {
            return Err(Error::not_found("kept trace", &id));
        };
        Ok(json!({"trace_id": format!("{trace:032x}"), "spans": reader.trace(trace)?}))
    });
    answer(found.await)
}

/// Asks the memory, which reads a file.
async fn ask<T: Send + 'static>(
    memory: Option<Memory>,
    question: impl FnOnce(&Memory) -> Result<T> + Send + 'static,
) -> Result<T> {
    let Some(memory) = memory else {
        return Err(Error::unavailable("nothing is recorded: telemetry.enabled is false"));
    };
    tokio::task::spawn_blocking(move || question(&memory)).await.map_err(Error::internal)?
}

fn answer(outcome: Result<serde_json::Value>) -> Response {
    match outcome {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let status = match error.code() {
                Code::InvalidArgument => StatusCode::BAD_REQUEST,
                Code::NotFound => StatusCode::NOT_FOUND,
                Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let problem =
                json!({"title": error.message(), "status": status.as_u16(), "reason": error.reason()});
            (status, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string())
                .into_response()
        }
    }
}
