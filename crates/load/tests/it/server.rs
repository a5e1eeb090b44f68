//! A server that answers as it is told.

use axum::Router;
use axum::extract::{Json, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use banyan_core::{Clock, Tasks};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// What came, and how it is answered.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: AtomicU64,
    pub(crate) registered: AtomicU64,
    pub(crate) looks: AtomicU64,
    pub(crate) keys: Mutex<BTreeSet<String>>,
    pub(crate) traces: Mutex<Vec<String>>,
    /// Nobody is answered between these two moments.
    pub(crate) stalled: Mutex<Option<(Instant, Instant)>>,
    /// How many requests to register are refused first.
    pub(crate) refusals: AtomicU64,
}

/// A running server. Dropping it ends it.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) seen: Arc<Seen>,
    tasks: Tasks,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        Self::serve(listener, url)
    }

    /// Answers requests that come in by `listener`.
    pub(crate) fn serve<L: axum::serve::Listener<Addr: std::fmt::Debug>>(listener: L, url: String) -> Self {
        let seen = Arc::new(Seen::default());
        let app = Router::new()
            .route("/", get(answer))
            .route("/slow/{ms}", get(slow))
            .route("/fail/{status}", get(fail))
            .route("/users", post(register))
            .route("/items", get(items))
            .route("/orders", post(order))
            .route("/orders/{id}", get(look))
            .with_state(seen.clone());
        let tasks = Tasks::new();
        tasks.spawn_until_stopped(
            "server",
            async move { axum::serve(listener, app).await.expect("it serves") },
        );
        Self { url, seen, tasks }
    }

    /// Answers nobody from a moment on for a while.
    pub(crate) fn stall(&self, after: Duration, length: Duration) {
        let from = Clock::default().now() + after;
        *self.seen.stalled.lock().expect("no test panicked with it") = Some((from, from + length));
    }
}

async fn answer(State(seen): State<Arc<Seen>>, headers: HeaderMap) -> Json<Value> {
    seen.requests.fetch_add(1, Ordering::Relaxed);
    if let Some(trace) = headers.get("traceparent") {
        let trace = trace.to_str().expect("a traceparent is ASCII").to_owned();
        seen.traces.lock().expect("no test panicked with it").push(trace);
    }
    let stalled = *seen.stalled.lock().expect("no test panicked with it");
    if let Some((from, to)) = stalled
        && Clock::default().now() >= from
    {
        tokio::time::sleep_until(to).await;
    }
    Json(json!({"ok": true}))
}

async fn slow(State(seen): State<Arc<Seen>>, Path(ms): Path<u64>) -> &'static str {
    seen.requests.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "slow"
}

async fn fail(Path(status): Path<u16>) -> (StatusCode, Json<Value>) {
    let status = StatusCode::from_u16(status).expect("a test asks for a status");
    (status, Json(json!({"status": status.as_u16(), "reason": "TOLD_TO"})))
}

async fn register(State(seen): State<Arc<Seen>>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    if seen.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"reason": "UNAVAILABLE"})));
    }
    let number = seen.registered.fetch_add(1, Ordering::Relaxed);
    (
        StatusCode::CREATED,
        Json(json!({"token": format!("{}-{number}", body["name"].as_str().unwrap_or_default())})),
    )
}

async fn items() -> Json<Value> {
    Json(json!({"items": [{"id": "a/1"}, {"id": "b 2"}]}))
}

/// Takes an order of somebody who has registered, under a key that nobody has used.
async fn order(
    State(seen): State<Arc<Seen>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let fresh = seen.keys.lock().expect("no test panicked with it").insert(header("idempotency-key"));
    let known = header("authorization").starts_with("Bearer user-");
    let whole = body["quantity"].as_i64().is_some_and(|n| (1..=3).contains(&n)) && body["item"].is_string();
    match fresh && known && whole {
        true => (StatusCode::CREATED, Json(json!({"id": header("idempotency-key"), "card": body["card"]}))),
        false => (StatusCode::BAD_REQUEST, Json(json!({"reason": "BAD_ORDER", "body": body}))),
    }
}

/// Shows an order: done at the third look at any.
async fn look(State(seen): State<Arc<Seen>>, Path(_): Path<String>) -> Json<Value> {
    let looks = seen.looks.fetch_add(1, Ordering::Relaxed);
    Json(json!({"state": if looks % 3 == 2 { "DONE" } else { "PENDING" }}))
}
