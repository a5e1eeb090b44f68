//! Which path is answered by whom.

use crate::answer::refusal;
use crate::{ConsoleParts, system, traces};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use banyan_core::{Code, Error};
use banyan_gateway::Site;
use banyan_rpc::ROUTE_NOT_FOUND;
use http::{StatusCode, header};
use include_dir::{Dir, include_dir};
use std::sync::Arc;

static PAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/web/dist");

/// Paths that are no page.
const API: &[&str] = &["api", "errors", "metrics"];

/// The state of every endpoint.
pub(crate) type Parts = State<Arc<ConsoleParts>>;

pub(crate) fn router(parts: Arc<ConsoleParts>) -> Router {
    Router::new()
        .route("/metrics", get(system::metrics))
        .route("/errors/{reason}", get(explained))
        .route("/api/system", get(system::system))
        .route("/api/traces", get(traces::list))
        .route("/api/traces/{id}", get(traces::trace))
        .route("/api/{*path}", any(unknown))
        .with_state(parts)
        .merge(Site::new(&PAGES, API).router())
        .layer(middleware::from_fn(only_by_its_own_name))
}

/// The gateway explains reasons.
async fn explained(State(parts): Parts, Path(reason): Path<String>) -> Response {
    let known = reason.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    match known {
        true => Redirect::temporary(&format!("{}/errors/{reason}", parts.gateway)).into_response(),
        false => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn unknown(request: Request) -> Response {
    let path = request.uri().path().to_owned();
    refusal(&Error::new(Code::NotFound, ROUTE_NOT_FOUND, format!("the console has no {path}")))
}

/// Refuses requests that were sent to another name: DNS rebinding.
async fn only_by_its_own_name(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    match name {
        "127.0.0.1" | "localhost" => next.run(request).await,
        _ => refusal(&Error::permission_denied("the console answers only as 127.0.0.1 or localhost")),
    }
}
