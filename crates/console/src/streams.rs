//! Calls of methods that answer with a stream: each answer goes to the browser as it comes (server-sent events), bounded in
//! number, size and time, until who called stops it or his session ends. How it ended is told and noted.

use crate::answer::{Body, refusal};
use crate::app::{App, Operator, Shared};
use crate::contracts::{Call, Prepared, prepared};
use crate::door;
use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use banyan_core::{BoxFuture, Error, Result, SpanKind};
use banyan_rpc::{Kind, Streaming, problem};
use futures::StreamExt;
use http::HeaderMap;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Streams at once.
const STREAMS_MAX: usize = 16;
/// Answers of one stream; it is ended with the last of them.
const ANSWERS_MAX: u64 = 1_000;
/// Bytes of the answers of one stream, as JSON.
const ANSWERS_BYTES_MAX: usize = 16 << 20;
/// How long one goes on.
const LASTS_MAX: Duration = Duration::from_secs(300);
/// How much longer its deadline is: whoever answers is not told that he was late.
const GRACE: Duration = Duration::from_secs(5);
/// Answers that a slow browser may be behind; then whoever answers waits.
const BEHIND_MAX: usize = 16;
/// How long a slow browser may take until it is told how it ended.
const LAST_MAX: Duration = Duration::from_secs(2);
/// How often a stream without answers says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Bytes of a problem.
const PROBLEM_BYTES_MAX: usize = 1 << 20;

/// The places of streams.
pub(crate) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

/// What a browser is told.
type Told = (&'static str, Value);

/// Why a stream ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There are no more answers.
    Whole,
    /// Who called wants no more.
    Stopped,
    Session,
    Console,
    Number,
    Size,
    Time,
}

/// One that goes on.
struct Stream {
    app: Arc<App>,
    prepared: Prepared,
    told: mpsc::Sender<Told>,
    /// Over when who called may not look any more.
    ended: BoxFuture<'static, ()>,
    _place: OwnedSemaphorePermit,
    answers: u64,
    /// Whether the browser was told of anything: before that, a failure is the answer to its request.
    has_begun: bool,
}

pub(crate) async fn stream(
    State(app): Shared,
    Extension(who): Extension<Operator>,
    headers: HeaderMap,
    Body(call): Body<Call>,
) -> Response {
    let Some(ended) = door::admitted_until(&app, &headers) else {
        return refusal(&door::nobody());
    };
    let prepared = match prepared(&app, call, Kind::ServerStreaming, LASTS_MAX + GRACE) {
        Ok(prepared) => prepared,
        Err(error) => return refusal(&error),
    };
    let Ok(place) = app.streams.0.clone().try_acquire_owned() else {
        let message = format!("already {STREAMS_MAX} calls are followed: stop one");
        return refusal(&Error::overloaded(message));
    };
    let (trace_id, deed) = (prepared.trace_id.clone(), prepared.deed());
    let (told, receiver) = mpsc::channel(BEHIND_MAX);
    let stream =
        Stream { app: app.clone(), prepared, told, ended, _place: place, answers: 0, has_begun: false };
    let acting = async move { app.act(&who, deed, stream.run()).await };
    match begun(acting, receiver).await {
        Ok(events) => Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response(),
        // Its instance is the trace in which it failed.
        Err(error) => problem(&error, &trace_id).into_response(),
    }
}

/// Waits until there is something to tell; then the deed goes on by itself.
async fn begun(
    deed: impl Future<Output = Result<Value>>,
    mut receiver: mpsc::Receiver<Told>,
) -> Result<impl futures::Stream<Item = Result<Event, Infallible>>> {
    tokio::pin!(deed);
    let first = tokio::select! {
        biased;
        first = receiver.recv() => match first {
            Some(first) => first,
            // Refused, or it failed before there was anything to follow.
            None => return Err(deed.await.err().unwrap_or_else(|| Error::internal("the stream never began"))),
        },
        ended = &mut deed => {
            ended?;
            receiver.recv().await.ok_or_else(|| Error::internal("the stream never began"))?
        }
    };
    let rest =
        futures::stream::unfold(
            receiver,
            |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
        );
    let events = futures::stream::once(std::future::ready(first)).chain(rest);
    Ok(events.map(|(name, value)| Ok(Event::default().event(name).data(value.to_string()))))
}

impl Stream {
    /// Follows it to its end.
    ///
    /// # Errors
    /// What it fails with; [`banyan_core::Code::Cancelled`] if it was ended before it was over, which the browser is not told as
    /// a failure.
    async fn run(mut self) -> Result<Value> {
        // The trace begins here: a request that has no first span is no example of anything.
        let span = self.prepared.cx.begin_here(0, SpanKind::Internal, "console call");
        let outcome = self.follow().await;
        let answers = self.answers;
        let noted = match &outcome {
            Ok(End::Whole) => Ok(json!({"answers": answers})),
            Ok(end) => Err(Error::cancelled(format!("{}; answers so far: {answers}", end.says()))),
            Err(error) => Err(error.clone()),
        };
        span.end(&noted);
        let last = match &outcome {
            Ok(end) => Some(("end", json!({"why": end.name(), "says": end.says(), "answers": answers}))),
            Err(error) if self.has_begun => Some(("problem", written(error, &self.prepared.trace_id).await)),
            Err(_) => None,
        };
        if let Some(last) = last {
            // Who has stopped it does not hear of it, and a slow browser does not keep the call.
            let _ = tokio::time::timeout(LAST_MAX, self.told.send(last)).await;
        }
        noted
    }

    async fn follow(&mut self) -> Result<End> {
        let Self { app, prepared, told, answers, has_begun, .. } = self;
        let ended = std::mem::replace(&mut self.ended, Box::pin(std::future::pending()));
        let over = async {
            tokio::select! {
                () = told.closed() => End::Stopped,
                () = ended => End::Session,
                () = app.tasks.stopping() => End::Console,
                () = tokio::time::sleep(LASTS_MAX) => End::Time,
            }
        };
        let following = async {
            let Prepared { method, cx, trace_id, request, .. } = prepared;
            let channel = app.parts.directory.channel(method.service);
            let request = Streaming::of([request.clone()]);
            let mut stream = channel.streaming_bytes(cx, method, request).await?;
            let tell = async |name, value| told.send((name, value)).await.is_ok();
            if !tell("begun", json!({"trace_id": trace_id})).await {
                return Ok(End::Stopped);
            }
            *has_begun = true;
            let mut bytes = 0;
            while let Some(answer) = stream.message().await? {
                let (message, size) = app.contracts.shown(method, &answer)?;
                *answers += 1;
                bytes += size;
                if !tell("answer", json!({"number": *answers, "message": message})).await {
                    return Ok(End::Stopped);
                }
                if *answers == ANSWERS_MAX {
                    return Ok(End::Number);
                }
                if bytes > ANSWERS_BYTES_MAX {
                    return Ok(End::Size);
                }
            }
            Ok(End::Whole)
        };
        tokio::select! {
            biased;
            end = over => Ok(end),
            outcome = following => outcome,
        }
    }
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Stopped => "stopped",
            Self::Session => "session",
            Self::Console => "console",
            Self::Number => "number",
            Self::Size => "size",
            Self::Time => "time",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Whole => "there are no more answers",
            Self::Stopped => "who called stopped it",
            Self::Session => "the session ended",
            Self::Console => "the console stopped",
            Self::Number => "the console follows 1,000 answers at most",
            Self::Size => "the console follows 16 MiB of answers at most",
            Self::Time => "the console follows a call for 5 minutes at most",
        }
    }
}

/// Writes a problem as an answer has it.
async fn written(error: &Error, trace_id: &str) -> Value {
    let body = axum::body::Body::new(problem(error, trace_id).into_body());
    let bytes = axum::body::to_bytes(body, PROBLEM_BYTES_MAX).await.unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
