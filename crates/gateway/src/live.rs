//! A method that answers with a stream, as server-sent events: what a page in a browser can follow.

use crate::gate::{Asked, Gate};
use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path};
use axum::response::Response;
use axum::routing::get;
use banyan_core::{Code, Context, Error, Payload, Result, Tasks};
use banyan_rpc::{Directory, Kind, MethodInfo, Peer, Streaming, problem};
use banyan_transcoding::Transcoder;
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Streams of one route that are open at the same time at most; more are refused with `OVERLOADED`.
const STREAMS_MAX: usize = 1_000;
/// How long a stream may be silent: proxies close connections on which nothing moves.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// When a client connects again after a stream that broke off, in milliseconds.
const RETRY_MS: u64 = 1_000;
/// What a client says it has seen already.
const LAST_EVENT_ID: &str = "last-event-id";

type MakeRequest = dyn Fn(&str) -> Bytes + Send + Sync;

/// A `GET` route that answers with the messages of a server-streaming method as server-sent events, for whom the method's
/// contract admits.
///
/// Each message is an event with its JSON as data. An event `end` follows the last one, and an event `problem` a failure.
/// A stream without either was cut off, for example when the deadline of the request passed (30 s, if the client named
/// none): a client connects again. Its `Last-Event-ID` spares it a first message that it has seen.
#[derive(Clone)]
pub struct Live {
    path: &'static str,
    description: &'static str,
    method: &'static MethodInfo,
    request: Arc<MakeRequest>,
}

impl Live {
    /// Follows with `method` what the one variable of `path` names. The method sends its first message at once, or fails.
    ///
    /// # Panics
    /// If the method takes a stream or does not answer with one: a mistake in the program, found at its first start.
    pub fn new<Req: Payload>(
        path: &'static str,
        method: &'static MethodInfo,
        request: impl Fn(&str) -> Req + Send + Sync + 'static,
    ) -> Self {
        assert!(method.kind == Kind::ServerStreaming, "{} is no server-streaming method", method.path);
        Self { path, description: "", method, request: Arc::new(move |name| request(name).to_bytes()) }
    }

    /// Says what the route follows, in CommonMark, for the OpenAPI document. The first sentence is its summary.
    pub fn description(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Describes the route for the OpenAPI document.
    pub(crate) fn describe(&self, messages: &Transcoder) -> Option<(String, Value)> {
        let method = messages.methods().find(|method| method.path == self.method.path)?;
        let variable = self.path.split_once('{')?.1.split_once('}')?.0;
        let summary = self.description.split_inclusive('.').next().unwrap_or_default();
        let public = method.access == banyan_transcoding::Access::Public;
        let operation = json!({"get": {
            "operationId": format!("{}Events", self.method.name),
            "summary": summary.trim_end_matches('.'),
            "description": self.description,
            "security": if public { json!([]) } else { json!([{"bearer": []}]) },
            "x-banyan-access": method.access.name(),
            "parameters": [
                {"name": variable, "in": "path", "required": true, "schema": {"type": "string"}},
                {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
                 "description": "The id of the last event that was seen: it is not sent again."},
            ],
            "responses": {
                "200": {"description": "OK", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
                "default": {"$ref": "#/components/responses/Problem"},
            },
        }});
        Some((self.path.to_owned(), operation))
    }

    pub(crate) fn router(
        &self,
        gate: Arc<Gate>,
        directory: Directory,
        messages: Arc<Transcoder>,
        tasks: Tasks,
    ) -> Router {
        let room = Arc::new(Semaphore::new(STREAMS_MAX));
        let following = Following { live: self.clone(), gate, directory, messages, tasks, room };
        let answer = move |Extension(cx): Extension<Context>,
                           Extension(Peer(peer)): Extension<Peer>,
                           Path(name): Path<String>,
                           headers: HeaderMap| {
            let following = following.clone();
            async move {
                let (correlation_id, mut told) = (cx.correlation_id().to_owned(), HeaderMap::new());
                let answer = following.answer(cx, peer, &name, &headers, &mut told).await;
                let mut response = answer.unwrap_or_else(|error| problem(&error, &correlation_id));
                response.headers_mut().extend(told);
                response
            }
        };
        Router::new().route(self.path, get(answer))
    }
}

/// What answers the requests of one route.
#[derive(Clone)]
struct Following {
    live: Live,
    gate: Arc<Gate>,
    directory: Directory,
    messages: Arc<Transcoder>,
    /// Streams end when these stop: they would not end by themselves.
    tasks: Tasks,
    room: Arc<Semaphore>,
}

impl Following {
    async fn answer(
        &self,
        cx: Context,
        peer: std::net::IpAddr,
        name: &str,
        headers: &HeaderMap,
        told: &mut HeaderMap,
    ) -> Result<Response> {
        let method = self.live.method;
        let described = self.messages.methods().find(|described| described.path == method.path);
        let described =
            described.ok_or_else(|| Error::internal(format!("{} is not described", method.path)))?;
        // The limits of the method hold for this way to it, too.
        let asked =
            Asked { route: method.path, access: described.access, headers, peer, own_credentials: false };
        let cx = self.gate.pass(asked, cx, told).await?;
        let room = self.room.clone().try_acquire_owned();
        let room = room.map_err(|_| {
            Error::overloaded(format!("{STREAMS_MAX} streams are open already"))
                .with_retry_after(Duration::from_millis(RETRY_MS))
        })?;
        let request = Streaming::of([(self.live.request)(name)]);
        let channel = self.directory.channel(method.service);
        let mut stream = channel.streaming_bytes(&cx, method, request).await?;
        // What is refused is an answer with a status, not an event.
        let first = stream.message().await?;
        let seen = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let output = described.output().to_owned();
        let encoder = Encoder { messages: self.messages.clone(), output, seen };
        let tasks = self.tasks.clone();
        let stopping = Box::pin(async move { tasks.stopping().await });
        let events = events(first, stream, encoder, room, cx.correlation_id().to_owned());
        let events = events.take_until(stopping).map(Ok::<_, std::convert::Infallible>);
        let mut response = Response::new(Body::from_stream(events));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// Writes messages as events.
struct Encoder {
    messages: Arc<Transcoder>,
    /// Full name of the message.
    output: String,
    /// The id of the event that the client has seen last.
    seen: Option<String>,
}

impl Encoder {
    /// Returns the event; nothing if the client has seen it.
    fn event(&mut self, message: &[u8]) -> Result<String> {
        let data = self.messages.encode_message(&self.output, message)?;
        let mut hasher = DefaultHasher::new();
        message.hash(&mut hasher);
        let id = format!("{:016x}", hasher.finish());
        // Only the first can be one that was sent before.
        let repeated = self.seen.take().is_some_and(|seen| seen == id);
        Ok(if repeated { String::new() } else { format!("id: {id}\ndata: {data}\n\n") })
    }
}

/// Makes the body of an answer. It keeps its `room` until it ends or is dropped.
fn events(
    first: Option<Bytes>,
    stream: Streaming<Bytes>,
    encoder: Encoder,
    room: OwnedSemaphorePermit,
    correlation_id: String,
) -> impl Stream<Item = Bytes> + Send {
    let state = (Some((stream, encoder, room)), Some(first), correlation_id);
    let rest = stream::unfold(state, |(open, first, correlation_id)| async move {
        let (mut stream, mut encoder, room) = open?;
        let message = match first {
            Some(first) => Ok(Ok(first)),
            None => tokio::time::timeout(HEARTBEAT, stream.message()).await,
        };
        let written = match message {
            Err(_) => Ok(Some(":\n\n".to_owned())),
            Ok(message) => {
                message.and_then(|message| message.map(|message| encoder.event(&message)).transpose())
            }
        };
        let (open, text) = match written {
            Ok(Some(text)) => (Some((stream, encoder, room)), text),
            Ok(None) => (None, "event: end\ndata: {}\n\n".to_owned()),
            // The request had its time: the client comes again.
            Err(error) if error.code() == Code::DeadlineExceeded => (None, String::new()),
            Err(error) => (None, failure(&error, &correlation_id)),
        };
        Some((Bytes::from(text), (open, None, correlation_id)))
    });
    let retry = Bytes::from(format!("retry: {RETRY_MS}\n\n"));
    stream::once(std::future::ready(retry)).chain(rest).filter(|text| std::future::ready(!text.is_empty()))
}

fn failure(error: &Error, correlation_id: &str) -> String {
    let problem = json!({
        "type": format!("/errors/{}", error.reason()), "status": error.code().http_status(),
        "reason": error.reason(), "detail": error.message(), "instance": correlation_id,
    });
    format!("event: problem\ndata: {problem}\n\n")
}
