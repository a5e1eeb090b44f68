//! A guest book as axum's users write them; it knows nothing of Banyan.
//!
//! By itself it would run with `axum::serve(listener, router())`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use axum::{Json, Router};
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// The most entries the book has room for.
const ENTRIES_MAX: usize = 10_000;

#[derive(Clone, Deserialize, Serialize)]
struct Entry {
    name: String,
    text: String,
}

struct GuestBook {
    entries: Mutex<Vec<Entry>>,
    written: broadcast::Sender<Entry>,
}

type Book = State<Arc<GuestBook>>;

pub(crate) fn router() -> Router {
    let book = GuestBook { entries: Mutex::default(), written: broadcast::channel(64).0 };
    Router::new()
        .route("/", get(page))
        .route("/entries", get(list).post(write))
        .route("/entries/{number}", get(read))
        .route("/live", get(live))
        .with_state(Arc::new(book))
}

async fn page(State(book): Book) -> Html<String> {
    let count = book.entries.lock().expect("no writer panics").len();
    Html(format!("<h1>Guest book</h1><p>{count} entries</p>"))
}

async fn list(State(book): Book) -> Json<Vec<Entry>> {
    Json(book.entries.lock().expect("no writer panics").clone())
}

async fn read(State(book): Book, Path(number): Path<usize>) -> Result<Json<Entry>, StatusCode> {
    let entries = book.entries.lock().expect("no writer panics");
    entries.get(number).cloned().map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn write(State(book): Book, Json(entry): Json<Entry>) -> Result<(StatusCode, String), StatusCode> {
    let number = {
        let mut entries = book.entries.lock().expect("no writer panics");
        if entries.len() == ENTRIES_MAX {
            return Err(StatusCode::INSUFFICIENT_STORAGE);
        }
        entries.push(entry.clone());
        entries.len() - 1
    };
    // Nobody may be watching.
    let _ = book.written.send(entry);
    Ok((StatusCode::CREATED, number.to_string()))
}

async fn live(State(book): Book) -> Sse<impl Stream<Item = Result<Event, axum::Error>>> {
    let written = BroadcastStream::new(book.written.subscribe());
    Sse::new(written.filter_map(async |entry| Some(Event::default().json_data(entry.ok()?))))
}
