//! What goes on, as it happens: one task looks every two seconds, and every browser that follows is told (server-sent events,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>), until its session ends.

use crate::answer::refusal;
use crate::app::{App, Shared};
use crate::{door, map, system};
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use banyan_core::Error;
use banyan_telemetry::{Filter, TraceSummary};
use futures::{Stream, StreamExt};
use http::HeaderMap;
use serde_json::Value;
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};

/// Browsers that follow at once.
const FOLLOWERS_MAX: usize = 64;
/// Events that a slow browser may be behind; then it misses the oldest.
const BEHIND_MAX: usize = 256;
/// The window of the live map, in seconds.
const WINDOW_S: u64 = 60;
/// New traces that are told of at each look.
const TRACES_MAX: usize = 50;
/// Traces that began so long ago are not new any more, however late they were kept.
const RECENT_MS: u64 = 60_000;
/// How often a stream without events says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Those who follow.
pub(crate) struct Live {
    events: broadcast::Sender<(&'static str, Arc<Value>)>,
    places: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self { events: broadcast::Sender::new(BEHIND_MAX), places: Arc::new(Semaphore::new(FOLLOWERS_MAX)) }
    }
}

/// What was told last: only what is new is told.
#[derive(Default)]
struct Told {
    system: Value,
    traces: HashSet<String>,
}

/// Looks every [`map::PERIOD`] until the console ends.
pub(crate) async fn follow(app: Arc<App>) {
    let mut told = Told::default();
    loop {
        if let Some(memory) = &app.parts.memory {
            app.window.look(&memory.measured(), &app.contracts, app.parts.env.clock.now());
        }
        if app.live.events.receiver_count() > 0 {
            tell(&app, &mut told).await;
        }
        tokio::time::sleep(map::PERIOD).await;
    }
}

async fn tell(app: &App, told: &mut Told) {
    let send = |name, value: Value| drop(app.live.events.send((name, Arc::new(value))));
    match map::shown(app, WINDOW_S).await {
        Ok(map) => send("map", map),
        Err(error) => tracing::debug!(%error, "the live map cannot be drawn"),
    }
    if let Ok(system) = system::shown(app).await
        && told.system != system
    {
        told.system.clone_from(&system);
        send("system", system);
    }
    let recent = recent(app).await;
    for trace in recent.iter().rev().filter(|trace| !told.traces.contains(&trace.trace_id)) {
        send("trace", serde_json::to_value(trace).unwrap_or_default());
    }
    told.traces = recent.into_iter().map(|trace| trace.trace_id).collect();
}

/// Returns the latest traces; none where nothing is recorded.
async fn recent(app: &App) -> Vec<TraceSummary> {
    let since_ms = app.parts.env.clock.unix_ms().saturating_sub(RECENT_MS);
    let filter = Filter { since_ms, limit: TRACES_MAX, ..Filter::default() };
    app.remember(move |memory| memory.reader()?.list(&filter)).await.unwrap_or_default()
}

pub(crate) async fn live(State(app): Shared, headers: HeaderMap) -> Response {
    let Some(ended) = door::admitted_until(&app, &headers) else {
        return refusal(&door::nobody());
    };
    let Ok(place) = app.live.places.clone().try_acquire_owned() else {
        let message = format!("already {FOLLOWERS_MAX} browsers follow: close one");
        return refusal(&Error::overloaded(message));
    };
    let receiver = app.live.events.subscribe();
    let (map, system) = tokio::join!(map::shown(&app, WINDOW_S), system::shown(&app));
    let first = [("map", map), ("system", system)];
    let first = first.into_iter().filter_map(|(name, shown)| Some((name, Arc::new(shown.ok()?))));
    let stopping = app.tasks.clone();
    let events = futures::stream::iter(first)
        .chain(received(receiver))
        .map(move |event| {
            // The place is free again when the stream is dropped: when its browser has gone.
            let _place = &place;
            event
        })
        .map(|(name, value)| Ok::<_, Infallible>(Event::default().event(name).data(value.to_string())))
        .take_until(async move {
            tokio::select! {
                () = stopping.stopping() => {}
                () = ended => {}
            }
        });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn received(
    receiver: broadcast::Receiver<(&'static str, Arc<Value>)>,
) -> impl Stream<Item = (&'static str, Arc<Value>)> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(event) => return Some((event, receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}
