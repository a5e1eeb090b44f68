//! One answer from several services, in part if some of them fail.

use crate::gate::{Asked, Gate};
use axum::Router;
use axum::extract::Extension;
use axum::response::Response;
use axum::routing::get;
use banyan_core::{Context, Error, Identity, Payload, Result};
use banyan_rpc::{AggregateRoute, Directory, MethodInfo, Peer, problem};
use banyan_transcoding::{Access, Transcoder};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a part may take before the answer goes out without it.
const PART_TIMEOUT: Duration = Duration::from_secs(3);

type MakeRequest = dyn Fn(&Identity) -> Bytes + Send + Sync;

/// A part of an aggregated answer: a call made for the signed-in caller.
#[derive(Clone)]
pub struct Part {
    name: &'static str,
    method: &'static MethodInfo,
    request: Arc<MakeRequest>,
}

impl Part {
    /// Puts what `method` answers to `request` under the key `name`.
    pub fn new<Req: Payload>(
        name: &'static str,
        method: &'static MethodInfo,
        request: impl Fn(&Identity) -> Req + Send + Sync + 'static,
    ) -> Self {
        Self { name, method, request: Arc::new(move |identity| request(identity).to_bytes()) }
    }
}

/// A `GET` route that asks several services at once for a signed-in caller.
///
/// The answer has a key for each part that came in time, and `errors` with one entry for each that did not.
#[derive(Clone)]
pub struct Aggregate {
    path: &'static str,
    description: &'static str,
    parts: Vec<Part>,
}

impl Aggregate {
    pub fn new(path: &'static str, parts: impl IntoIterator<Item = Part>) -> Self {
        Self { path, description: "", parts: parts.into_iter().collect() }
    }

    /// Says what the route answers, in CommonMark, for the OpenAPI document. The first sentence is its summary.
    pub fn description(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    pub(crate) fn describe(&self) -> AggregateRoute {
        let key_and_path = |part: &Part| (part.name.to_owned(), part.method.path.to_owned());
        AggregateRoute {
            path: self.path.to_owned(),
            description: self.description.to_owned(),
            access: Access::User,
            parts: self.parts.iter().map(key_and_path).collect(),
        }
    }

    pub(crate) fn router(&self, gate: Arc<Gate>, directory: Directory, messages: Arc<Transcoder>) -> Router {
        let parts: Arc<[Part]> = self.parts.clone().into();
        let route = self.path;
        let answer = move |Extension(cx): Extension<Context>,
                           Extension(Peer(peer)): Extension<Peer>,
                           headers: HeaderMap| {
            let (gate, directory, messages, parts) =
                (gate.clone(), directory.clone(), messages.clone(), parts.clone());
            async move {
                let (correlation_id, mut told) = (cx.correlation_id().to_owned(), HeaderMap::new());
                let asked =
                    Asked { route, access: Access::User, headers: &headers, peer, own_credentials: false };
                let collected = async {
                    let cx = gate.pass(asked, cx, &mut told).await?;
                    collect(&directory, &messages, &parts, cx).await
                };
                let mut response = match collected.await {
                    Ok(value) => json_response(&value),
                    Err(error) => problem(&error, &correlation_id),
                };
                response.headers_mut().extend(told);
                response
            }
        };
        Router::new().route(self.path, get(answer))
    }
}

async fn collect(directory: &Directory, messages: &Transcoder, parts: &[Part], cx: Context) -> Result<Value> {
    let calls = parts.iter().map(|part| {
        let cx = cx.with_timeout(PART_TIMEOUT);
        async move {
            let channel = directory.channel(part.method.service);
            let answer = channel.unary_bytes(&cx, part.method, (part.request)(cx.identity())).await?;
            encode(messages, part.method, &answer)
        }
    });
    let mut answer = Map::new();
    let mut errors = Vec::new();
    let mut first = None;
    for (part, outcome) in parts.iter().zip(futures::future::join_all(calls).await) {
        match outcome {
            Ok(value) => drop(answer.insert(part.name.to_owned(), value)),
            Err(error) => {
                tracing::warn!(part = part.name, ?error, "a part of an aggregated answer is missing");
                errors.push(json!({
                    "part": part.name, "code": error.code().name(), "reason": error.reason(), "detail": error.message(),
                }));
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if answer.is_empty() => return Err(error),
        _ => answer.insert("errors".to_owned(), Value::Array(errors)),
    };
    Ok(Value::Object(answer))
}

fn encode(messages: &Transcoder, method: &MethodInfo, answer: &[u8]) -> Result<Value> {
    let described = messages.methods().find(|m| m.path == method.path);
    let described = described.ok_or_else(|| Error::internal(format!("{} is not described", method.path)))?;
    let json = messages.encode_message(described.output(), answer)?;
    serde_json::from_str(&json).map_err(Error::internal)
}

fn json_response(value: &Value) -> Response {
    let mut response = Response::new(value.to_string().into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
