//! The contracts of the system: what they say, and calls of their methods with JSON.

use crate::answer::{Answer, Body, refusal};
use crate::app::{App, Operator, Shared};
use crate::audit::Deed;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use banyan::{ConsoleRole, System};
use banyan_core::{Context, Error, Identity, Result, SpanKind};
use banyan_event_log::dead_letters::{DEAD_LETTER_TYPE, DeadLetter};
use banyan_rpc::{Idempotency, Kind, MethodInfo, contract_methods, problem};
use banyan_transcoding::Transcoder;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(15);
/// Bytes of a payload that is no JSON which are shown.
const RAW_BYTES_MAX: usize = 16 << 10;
/// The type of the events that a capture makes of a table's changes; their payload is JSON.
const CAPTURED: &str = "banyan.cdc.v1.Change";

/// What the contracts of a system say.
pub(crate) struct Contracts {
    pub(crate) messages: Transcoder,
    /// By contract and by method.
    methods: BTreeMap<&'static str, HashMap<String, &'static MethodInfo>>,
    /// The service that serves each contract.
    services: BTreeMap<&'static str, &'static str>,
}

impl Contracts {
    /// Reads the contracts that the descriptors of a system describe; that of a router has none.
    ///
    /// # Errors
    /// If they contradict each other.
    pub(crate) fn new(system: &System) -> Result<Self> {
        let (mut methods, mut services) = (BTreeMap::new(), BTreeMap::new());
        for service in system.services() {
            for contract in service.contracts() {
                services.insert(*contract, service.name());
                let described = |set: &&'static [u8]| contract_methods(set, contract).ok();
                if let Some(found) = system.descriptors().iter().find_map(described) {
                    methods.insert(*contract, found);
                }
            }
        }
        let names: Vec<&str> = methods.keys().copied().collect();
        Ok(Self { messages: Transcoder::new(system.descriptors(), &names)?, methods, services })
    }

    /// Returns the service that serves a contract.
    pub(crate) fn service_of(&self, contract: &str) -> Option<&'static str> {
        self.services.get(contract).copied()
    }

    /// Describes the methods of a contract in short; empty for one without descriptors.
    pub(crate) fn methods_of(&self, contract: &str) -> Vec<Value> {
        let methods = self.messages.methods().filter(|method| method.service == contract);
        methods
            .map(|method| {
                let rules = self.messages.rules().filter(|(of, ..)| of.path == method.path);
                let http: Vec<_> = rules.map(|(_, verb, path)| format!("{verb} {path}")).collect();
                let reads = method.idempotency == banyan_transcoding::Idempotency::NoSideEffects;
                json!({
                    "name": method.name, "input": method.input(), "output": method.output(),
                    "no_side_effects": reads, "kind": kind(method), "access": method.access.name(), "http": http,
                })
            })
            .collect()
    }

    /// Finds `CONTRACT/METHOD`.
    fn find(&self, path: &str) -> Result<&'static MethodInfo> {
        let missing =
            || Error::invalid("method", format!("there is no method {path}: expected CONTRACT/METHOD"));
        let (contract, method) = path.trim_start_matches('/').split_once('/').ok_or_else(missing)?;
        self.methods.get(contract).and_then(|methods| methods.get(method)).copied().ok_or_else(missing)
    }

    /// Shows an answer of a method, without what its contract marks as secret, with its size as JSON, in bytes.
    ///
    /// # Errors
    /// If it is not what the contract says.
    pub(crate) fn shown(&self, method: &MethodInfo, answer: &[u8]) -> Result<(Value, usize)> {
        let json = self.messages.encode_redacted(&output(self, method), answer)?;
        Ok((serde_json::from_str(&json).map_err(Error::internal)?, json.len()))
    }

    /// Shows the payload of an event, without what its contract marks as secret: members of the object that describes it.
    pub(crate) fn payload(&self, event_type: &str, payload: &[u8]) -> Value {
        if let Ok(json) = self.messages.encode_redacted(event_type, payload)
            && let Ok(value) = serde_json::from_str::<Value>(&json)
        {
            return json!({"payload": value, "payload_kind": "json", "payload_bytes": payload.len()});
        }
        if event_type == CAPTURED
            && let Ok(value) = serde_json::from_slice::<Value>(payload)
        {
            return json!({"payload": value, "payload_kind": "json", "payload_bytes": payload.len()});
        }
        if event_type == DEAD_LETTER_TYPE
            && let Ok(letter) = DeadLetter::decode(payload)
        {
            let mut shown = self.payload(&letter.envelope.event_type, &letter.envelope.payload);
            shown["payload"] = json!({
                "group": letter.group, "type": letter.envelope.event_type, "attempts": letter.attempts,
                "reason": letter.reason, "message": letter.message, "event": shown["payload"],
            });
            return shown;
        }
        let shown = &payload[..payload.len().min(RAW_BYTES_MAX)];
        json!({"payload": STANDARD.encode(shown), "payload_kind": "base64", "payload_bytes": payload.len()})
    }

    /// Tells whether an event may be edited by what is shown of it: a contract describes it, and nothing of it is hidden.
    pub(crate) fn is_editable(&self, event_type: &str, payload: &[u8]) -> bool {
        let whole = self.messages.encode_message(event_type, payload);
        whole.is_ok_and(|whole| {
            self.messages.encode_redacted(event_type, payload).is_ok_and(|shown| shown == whole)
        })
    }
}

pub(crate) async fn contract(State(app): Shared, Path(name): Path<String>) -> Answer {
    let described = app.contracts.messages.describe(&name);
    Answer(described.ok_or_else(|| Error::not_found("described contract", &name)))
}

/// A call that an operator makes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    /// `CONTRACT/METHOD`.
    method: String,
    /// Its request, as JSON.
    #[serde(default = "empty")]
    message: Value,
    /// The id of the user in whose name it is made; the platform's own if it is absent.
    #[serde(default, rename = "as")]
    user: Option<String>,
}

fn empty() -> Value {
    json!({})
}

pub(crate) async fn call(
    State(app): Shared,
    Extension(who): Extension<Operator>,
    Body(call): Body<Call>,
) -> Response {
    let prepared = match prepared(&app, call, Kind::Unary, CALL_MAX) {
        Ok(prepared) => prepared,
        Err(error) => return refusal(&error),
    };
    let (trace_id, deed, calling) = (prepared.trace_id.clone(), prepared.deed(), app.clone());
    let done = app.act(&who, deed, async move {
        let Prepared { method, request, cx, trace_id, .. } = prepared;
        let channel = calling.parts.directory.channel(method.service);
        // The trace begins here: a request that has no first span is no example of anything.
        let span = cx.begin_here(0, SpanKind::Internal, "console call");
        let answered = channel.unary_bytes(&cx, method, request).await;
        span.end(&answered);
        let (message, _) = calling.contracts.shown(method, &answered?)?;
        Ok(json!({"message": message, "trace_id": trace_id}))
    });
    match done.await {
        Ok(answer) => Json(answer).into_response(),
        // Its instance is the trace in which it failed.
        Err(error) => problem(&error, &trace_id).into_response(),
    }
}

/// A call that can be made.
pub(crate) struct Prepared {
    pub(crate) method: &'static MethodInfo,
    pub(crate) request: Bytes,
    pub(crate) cx: Context,
    pub(crate) trace_id: String,
    /// The request without what its contract marks as secret.
    shown: Value,
    user: Option<String>,
}

impl Prepared {
    /// What the call is to who may make it, and to the audit log.
    pub(crate) fn deed(&self) -> Deed {
        let reads = self.method.idempotency == Idempotency::NoSideEffects;
        Deed {
            action: "call",
            needs: if reads { ConsoleRole::Operator } else { ConsoleRole::Admin },
            target: self.method.path.trim_start_matches('/').to_owned(),
            arguments: json!({"message": self.shown, "as": self.user, "trace_id": self.trace_id}),
        }
    }
}

/// Finds the method, which has to be of this kind, and encodes the request.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`], naming `method` or the field of the message.
pub(crate) fn prepared(app: &App, call: Call, kind: Kind, lasts_max: Duration) -> Result<Prepared> {
    let contracts = &app.contracts;
    let method = contracts.find(&call.method)?;
    if method.kind != kind {
        let why = match method.kind {
            Kind::Unary => "answers once: call it with /api/call",
            Kind::ServerStreaming => "answers with a stream: follow it with /api/stream",
            Kind::ClientStreaming | Kind::Bidirectional => {
                "takes a stream of messages, and the console sends one: call it with a gRPC client at the gateway"
            }
        };
        return Err(Error::invalid("method", why));
    }
    let input = input(contracts, method);
    let request = contracts.messages.decode_message(&input, &call.message.to_string());
    let request = request.map_err(|error| within("message", &error))?;
    let shown = contracts.messages.encode_redacted(&input, &request);
    let shown = shown.ok().and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    let identity = match call.user.as_deref() {
        Some(user) => Identity::user(user, &[]),
        None => Identity::service("operator"),
    };
    let cx = Context::new(&app.parts.env, identity).with_timeout(lasts_max);
    let trace_id = format!("{:032x}", cx.trace().trace_id);
    Ok(Prepared { method, request, cx, trace_id, shown, user: call.user })
}

/// Names which sides of a method are streams.
fn kind(method: &banyan_transcoding::Method) -> &'static str {
    match (method.client_streaming, method.server_streaming) {
        (false, false) => "unary",
        (false, true) => "server_streaming",
        (true, false) => "client_streaming",
        (true, true) => "bidirectional",
    }
}

fn input(contracts: &Contracts, method: &MethodInfo) -> String {
    described(contracts, method, banyan_transcoding::Method::input)
}

fn output(contracts: &Contracts, method: &MethodInfo) -> String {
    described(contracts, method, banyan_transcoding::Method::output)
}

fn described(
    contracts: &Contracts,
    of: &MethodInfo,
    part: fn(&banyan_transcoding::Method) -> &str,
) -> String {
    let method = contracts.messages.methods().find(|method| method.path == of.path);
    method.map(|method| part(method).to_owned()).unwrap_or_default()
}

/// Names the fields of an error below the one that holds them.
pub(crate) fn within(field: &str, error: &Error) -> Error {
    let Some((first, more)) = error.violations().split_first() else { return error.clone() };
    let path = |inner: &str| if inner.is_empty() { field.to_owned() } else { format!("{field}.{inner}") };
    more.iter().fold(Error::invalid(path(&first.field), &first.description), |error, violation| {
        error.with_violation(banyan_core::FieldViolation {
            field: path(&violation.field),
            description: violation.description.clone(),
        })
    })
}
