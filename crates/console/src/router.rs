//! Which path is answered by whom.

use crate::answer::refusal;
use crate::app::{App, Shared};
use crate::{
    contracts, dead_letters, door, health, live, logs, map, measured, runs, sagas, services, sessions,
    streams, system, topics, traces,
};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use banyan_core::{Code, Error};
use banyan_gateway::Site;
use banyan_rpc::{METHOD_NOT_ALLOWED, ROUTE_NOT_FOUND};
use http::StatusCode;
use include_dir::{Dir, include_dir};
use std::sync::Arc;

pub(crate) static PAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/web/dist");

/// Paths that are no page.
pub(crate) const API: &[&str] = &["api", "errors", "metrics"];

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(system::metrics))
        .route("/errors/{reason}", get(explained))
        .merge(api())
        .method_not_allowed_fallback(not_allowed)
        .route("/api/{*path}", any(unknown))
        .with_state(app.clone())
        .merge(Site::new(&PAGES, API).router())
        .layer(middleware::from_fn_with_state(app, door::admit))
}

fn api() -> Router<Arc<App>> {
    Router::new()
        .route("/api/session", get(sessions::who).post(sessions::log_in).delete(sessions::log_out))
        .route("/api/system", get(system::system))
        .route("/api/map", get(map::map))
        .route("/api/live", get(live::live))
        .route("/api/traces", get(traces::list))
        .route("/api/traces/{id}", get(traces::trace))
        .route("/api/health", get(health::health))
        .route("/api/logs", get(logs::list))
        .route("/api/services/{service}", get(services::service))
        .route("/api/services/{service}/move", post(services::move_service))
        .route("/api/contracts/{contract}", get(contracts::contract))
        .route("/api/call", post(contracts::call))
        .route("/api/stream", post(streams::stream))
        .route("/api/config", get(system::config))
        .route("/api/config/reload", post(system::reload))
        .route("/api/topics", get(topics::list))
        .route("/api/topics/{topic}/messages", get(topics::messages))
        .route("/api/groups/{group}/seek", post(topics::seek))
        .route("/api/dead-letters", get(dead_letters::list))
        .route("/api/dead-letters/redrive", post(dead_letters::redrive))
        .route("/api/dead-letters/drop", post(dead_letters::drop))
        .route("/api/sagas", get(sagas::list))
        .route("/api/sagas/{service}/{id}", get(sagas::saga))
        .route("/api/sagas/{service}/{id}/retry", post(sagas::retry))
        .route("/api/sagas/{service}/{id}/cancel", post(sagas::cancel))
        .route("/api/metrics", get(measured::metrics))
        .route("/api/slos", get(measured::slos))
        .route("/api/runs", get(runs::list))
        .route("/api/runs/compare", get(runs::compared))
        .route("/api/invariants", get(system::invariants))
        .route("/api/audit", get(sessions::operations))
}

/// The gateway explains reasons.
async fn explained(State(app): Shared, Path(reason): Path<String>) -> Response {
    let known = reason.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    match known {
        true => Redirect::temporary(&format!("{}/errors/{reason}", app.parts.gateway)).into_response(),
        false => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn unknown(request: Request) -> Response {
    let message = format!("the console has no {}", request.uri().path());
    refusal(&Error::new(Code::NotFound, ROUTE_NOT_FOUND, message))
}

async fn not_allowed(request: Request) -> Response {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    refusal(&Error::new(Code::Unimplemented, METHOD_NOT_ALLOWED, message))
}
