//! The transcoder: what ties routes, queries, JSON and messages together.

use crate::behavior::Required;
use crate::binding::{Binding, Body, FieldPath};
use crate::method::{Access, Method, read_option};
use crate::nesting::Nesting;
use crate::redact::redact;
use crate::routes::{Match, RouteMatch, Routes};
use crate::violations::Violations;
use crate::{descriptors, json, lenient, query, spelling, text};
use banyan_core::{Error, Result};
use bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};
use std::sync::Arc;

/// Speaks HTTP/JSON for the services it exposes. Built once and shared; everything it needs per request is prepared.
#[derive(Debug)]
pub struct Transcoder {
    pub(crate) pool: DescriptorPool,
    pub(crate) methods: Vec<Method>,
    pub(crate) bindings: Vec<Arc<Binding>>,
    routes: Routes,
    nesting: Nesting,
    required: Required,
}

impl Transcoder {
    /// Builds a transcoder for the `services` (full names) that the `descriptors` (encoded `FileDescriptorSet`s, each
    /// with its imports) define. A file may occur in several sets.
    ///
    /// # Errors
    /// `InvalidArgument`: a set that cannot be read or contradicts another, an unknown service, an HTTP rule that does
    /// not fit its method (names the method and the option), two rules for the same requests (names both methods).
    pub fn new(descriptors: &[&[u8]], services: &[&str]) -> Result<Self> {
        let internal: Vec<_> = services.iter().map(|service| (*service, Access::Internal)).collect();
        Self::with_access(descriptors, &internal)
    }

    /// Builds a transcoder as [`Transcoder::new`] does, for services each with the access of those methods that do not
    /// say it themselves: for contracts that were written without the option `banyan.v1.access`.
    ///
    /// # Errors
    /// As [`Transcoder::new`].
    pub fn with_access(descriptors: &[&[u8]], services: &[(&str, Access)]) -> Result<Self> {
        let pool = descriptors::merge(descriptors)?;
        let mut transcoder = Self {
            nesting: Nesting::new(&pool),
            required: Required::new(&pool),
            pool,
            methods: Vec::new(),
            bindings: Vec::new(),
            routes: Routes::default(),
        };
        for (service, access) in services {
            transcoder.expose(service, *access)?;
        }
        Ok(transcoder)
    }

    /// Returns the full names of the messages that the descriptors make events of this topic (`banyan.v1.event`).
    pub fn events_of(&self, topic: &str) -> Vec<String> {
        let event_name = |message: &MessageDescriptor| {
            let option = read_option(&self.pool, &message.options(), "banyan.v1.event");
            let said = option.as_ref().and_then(Value::as_message)?.get_field_by_name("topic")?.into_owned();
            (said.as_str() == Some(topic)).then(|| message.full_name().to_owned())
        };
        self.pool.all_messages().filter_map(|message| event_name(&message)).collect()
    }

    fn expose(&mut self, name: &str, unsaid: Access) -> Result<()> {
        let service = self
            .pool
            .get_service_by_name(name)
            .ok_or_else(|| Error::invalid("services", format!("there is no service {name}")))?;
        for descriptor in service.methods() {
            let method = Method::new(&descriptor, unsaid);
            for binding in Binding::read_all(&method)? {
                let binding = Arc::new(binding);
                self.routes.add(binding.clone()).map_err(|other| {
                    let option = format!("{} (google.api.http)", method.full_name());
                    let (http_method, path) = (&binding.http_method, &binding.path);
                    let taken = format!("{} ({})", other.method.full_name(), other.path);
                    Error::invalid(option, format!("{http_method} {path:?} is taken by {taken}"))
                })?;
                self.bindings.push(binding);
            }
            self.methods.push(method);
        }
        Ok(())
    }

    /// Returns every exposed method, also those without an HTTP rule.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter()
    }

    /// Returns every HTTP rule: its method, its HTTP method and the template of its path, for example
    /// `/v1/orders/{order_id}`.
    pub fn rules(&self) -> impl Iterator<Item = (&Method, &str, &str)> {
        self.bindings.iter().map(|binding| (&binding.method, &*binding.http_method, &*binding.path))
    }

    /// Finds the method for an HTTP method (in upper case) and a percent-encoded path without query.
    pub fn route(&self, http_method: &str, path: &str) -> RouteMatch {
        self.routes.find(http_method, path)
    }

    /// Reads a request: JSON body, path and query (percent-encoded, without its question mark) into one message.
    ///
    /// # Errors
    /// `InvalidArgument` that names all fields that are wrong, unknown, or required (`google.api.field_behavior`) and
    /// missing, at most 16: by their JSON paths, those of path and query as the client spells them. `body` alone if the
    /// body is not JSON at all.
    pub fn decode_request(&self, matched: &Match, query: Option<&str>, body: &[u8]) -> Result<Bytes> {
        let binding = &matched.binding;
        let mut violations = Violations::default();
        let mut message = read_body(binding, body, &mut violations)?;
        for (field, value) in binding.variables.iter().zip(&matched.values) {
            if let Err(why) = bind(&mut message, field, value.as_deref()) {
                violations.push_spelled(&query::json_path(&field.fields), &field.text, &why);
            }
        }
        if let Some(query) = query {
            query::read(binding, query, &mut message, &mut violations);
        }
        self.required.check(&message, &mut violations);
        violations.into_result()?;
        Ok(json::to_protobuf(&message))
    }

    /// Gives the fields that a service's `error` names the spelling of the client whose request was `matched` and had
    /// this `query`: their JSON paths, and those of path and query as the client spells them.
    ///
    /// What the error names and the request does not have stays as it is.
    pub fn respell(&self, matched: &Match, query: Option<&str>, error: Error) -> Error {
        spelling::respell(&matched.binding, query, error)
    }

    /// Writes a response of `method` as JSON, or the part of it that its `response_body` names.
    ///
    /// # Errors
    /// `Internal` if `protobuf` is not such a response or has no canonical JSON form.
    pub fn encode_response(&self, method: &Method, protobuf: &[u8]) -> Result<Bytes> {
        let mut message = DynamicMessage::decode(method.output.clone(), protobuf).map_err(Error::internal)?;
        self.nesting.check(&message).map_err(Error::internal)?;
        let json = match &method.response_body {
            None => json::encode(&message),
            Some(field) => json::encode_field(&mut message, field),
        };
        json.map(Bytes::from).map_err(Error::internal)
    }

    /// Writes any message of the contracts as JSON.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown name, `DataLoss` if `protobuf` is not such a message.
    pub fn encode_message(&self, name: &str, protobuf: &[u8]) -> Result<String> {
        let message = self.decode_any(name, protobuf)?;
        serde_json::to_string(&message).map_err(|error| not_a(name, error.to_string()))
    }

    /// Writes any message of the contracts as JSON for people to look at: without what its contract marks as secret
    /// (`debug_redact`).
    ///
    /// # Errors
    /// As [`Transcoder::encode_message`].
    pub fn encode_redacted(&self, name: &str, protobuf: &[u8]) -> Result<String> {
        let mut message = self.decode_any(name, protobuf)?;
        redact(&mut message);
        serde_json::to_string(&message).map_err(|error| not_a(name, error.to_string()))
    }

    fn decode_any(&self, name: &str, protobuf: &[u8]) -> Result<DynamicMessage> {
        let message = DynamicMessage::decode(self.message(name)?, protobuf)
            .map_err(|error| not_a(name, error.to_string()))?;
        self.nesting.check(&message).map_err(|error| not_a(name, error))?;
        Ok(message)
    }

    /// Reads any message of the contracts from JSON.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown name, and as [`Transcoder::decode_request`].
    pub fn decode_message(&self, name: &str, json: &str) -> Result<Bytes> {
        let mut violations = Violations::default();
        let message = self.message(name)?;
        let decoded = json::decode(&message, json.as_bytes()).unwrap_or_else(|first| {
            violations.push(&first.field, &first.description);
            lenient::read(&message, json.as_bytes(), &mut violations)
        });
        violations.into_result()?;
        Ok(json::to_protobuf(&decoded))
    }

    fn message(&self, name: &str) -> Result<MessageDescriptor> {
        let message = self.pool.get_message_by_name(name);
        message
            .ok_or_else(|| Error::invalid("message", json::shorten(&format!("there is no message {name}"))))
    }
}

fn not_a(name: &str, error: String) -> Error {
    Error::data_loss(format!("this is not a {name}: {error}"))
}

/// Reads what the body holds, and notes what is wrong with it.
///
/// # Errors
/// `InvalidArgument` of the body as a whole, if there is nothing to read.
fn read_body(binding: &Binding, body: &[u8], violations: &mut Violations) -> Result<DynamicMessage> {
    let input = &binding.method.input;
    let decoded = match &binding.body {
        Body::Nothing if !body.is_empty() => {
            return Err(Error::invalid("body", "this request has no body"));
        }
        _ if body.is_empty() => return Ok(DynamicMessage::new(input.clone())),
        Body::Nothing | Body::Whole => json::decode(input, body),
        Body::Field(field) => json::decode_field(field, body),
    };
    decoded.or_else(|first| {
        violations.push(&first.field, &first.description);
        match &binding.body {
            _ if first.whole => {
                std::mem::take(violations).into_result().map(|()| DynamicMessage::new(input.clone()))
            }
            Body::Field(field) => Ok(lenient::read_field(field, body, violations)),
            Body::Nothing | Body::Whole => Ok(lenient::read(input, body, violations)),
        }
    })
}

/// Sets the field that a path variable is bound to. The body may repeat the value but not contradict it.
fn bind(message: &mut DynamicMessage, path: &FieldPath, value: Option<&str>) -> Result<(), String> {
    let [.., last] = path.fields.as_slice() else {
        return Ok(());
    };
    let value = text::parse(last, value.ok_or(query::NOT_DECODED)?)?;
    match present(message, &path.fields) {
        Some(given) if *given == value => Ok(()),
        Some(_) => Err("differs between path and body".to_owned()),
        None => query::set(message, &path.fields, value),
    }
}

/// Returns the value of a field inside of messages, if it is set.
fn present<'m>(message: &'m DynamicMessage, fields: &[prost_reflect::FieldDescriptor]) -> Option<&'m Value> {
    let (field, inner) = fields.split_first()?;
    let (_, value) = message.fields().find(|(set, _)| set == field)?;
    match value {
        Value::Message(within) if !inner.is_empty() => present(within, inner),
        value => Some(value),
    }
}
