//! One operation of the document: an HTTP rule with its parameters, body and responses.

use crate::Transcoder;
use crate::behavior::is_required;
use crate::binding::{Binding, Body};
use crate::method::{Access, Idempotency, Method};
use crate::openapi::AggregateRoute;
use crate::openapi::comments::{Comments, summary};
use crate::openapi::path::PathTemplate;
use crate::openapi::schema::{self, Schemas, is_deprecated};
use crate::text;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// Name of the schema and of the response of every error.
pub(crate) const PROBLEM: &str = "Problem";
/// The most names a query parameter's field path has in the document.
const FIELD_PATH_DEPTH_MAX: usize = 4;

/// Describes operations and gives each an id of its own.
pub(crate) struct Operations<'a, 's> {
    comments: &'a Comments,
    schemas: &'s mut Schemas<'a>,
    /// `Service_Method` of more than one method.
    ambiguous: HashSet<String>,
    /// How many operations a method has so far.
    counts: HashMap<String, usize>,
}

impl<'a, 's> Operations<'a, 's> {
    pub(crate) fn new(transcoder: &Transcoder, comments: &'a Comments, schemas: &'s mut Schemas<'a>) -> Self {
        let (mut seen, mut ambiguous) = (HashSet::new(), HashSet::new());
        for method in transcoder.methods() {
            if !seen.insert(short_id(method)) {
                ambiguous.insert(short_id(method));
            }
        }
        Self { comments, schemas, ambiguous, counts: HashMap::new() }
    }

    pub(crate) fn describe(&mut self, binding: &Binding, path: &PathTemplate) -> Value {
        let method = &binding.method;
        let mut operation = json!({
            "operationId": self.operation_id(method),
            "tags": [method.service],
            "security": security(method.access),
            "x-banyan-access": method.access.name(),
            "responses": {
                "200": self.response(method),
                "default": {"$ref": format!("#/components/responses/{PROBLEM}")},
            },
        });
        let descriptor = &method.descriptor;
        if let Some(comment) = self.comments.of(&descriptor.parent_file(), descriptor.path()) {
            operation["summary"] = summary(comment).into();
            operation["description"] = comment.into();
        }
        if descriptor.method_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated()) {
            operation["deprecated"] = true.into();
        }
        let parameters = self.parameters(binding, path);
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = self.request_body(binding) {
            operation["requestBody"] = body;
        }
        operation
    }

    fn operation_id(&mut self, method: &Method) -> String {
        let short = short_id(method);
        let id = if self.ambiguous.contains(&short) { method.full_name().replace('.', "_") } else { short };
        let count = self.counts.entry(id.clone()).or_default();
        *count += 1;
        if *count == 1 { id } else { format!("{id}_{count}") }
    }

    fn parameters(&mut self, binding: &Binding, path: &PathTemplate) -> Vec<Value> {
        let mut parameters: Vec<Value> = path
            .parameters(&binding.template)
            .map(|parameter| self.path_parameter(binding, &parameter))
            .collect();
        if !matches!(binding.body, Body::Whole) {
            self.query_parameters(binding, &binding.method.input, &mut Vec::new(), &mut parameters);
        }
        let reads = matches!(binding.http_method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
        if !reads && binding.method.idempotency != Idempotency::NoSideEffects {
            parameters.push(json!({
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Makes a repeated request return the first one's response instead of acting twice.",
                "schema": {"type": "string"},
            }));
        }
        parameters
    }

    fn path_parameter(&mut self, binding: &Binding, parameter: &super::path::Parameter<'_>) -> Value {
        let mut described =
            json!({"name": parameter.name, "in": "path", "required": true, "schema": {"type": "string"}});
        let mut notes: Vec<String> = Vec::new();
        if let Some(field) = parameter.variable.map(|at| &binding.variables[at]) {
            let [.., last] = field.fields.as_slice() else { return described };
            if parameter.part {
                notes.push(format!("Part of `{}`.", field.text));
            } else {
                described["schema"] = self.schemas.value(last);
            }
            notes.extend(self.schemas.describe_field(last));
        }
        if parameter.rest {
            notes.push("May have several segments; their slashes are not encoded.".to_owned());
        }
        if !notes.is_empty() {
            described["description"] = notes.join("\n\n").into();
        }
        described
    }

    /// Describes each field below `message` that a query can set; `within` is the way to it.
    fn query_parameters(
        &mut self,
        binding: &Binding,
        message: &MessageDescriptor,
        within: &mut Vec<FieldDescriptor>,
        parameters: &mut Vec<Value>,
    ) {
        for field in message.fields() {
            let in_body = within.is_empty() && matches!(&binding.body, Body::Field(body) if *body == field);
            let recursive = within.iter().any(|outer| outer.parent_message() == field.parent_message());
            if in_body || recursive || within.len() == FIELD_PATH_DEPTH_MAX {
                continue;
            }
            within.push(field.clone());
            let in_path = binding.variables.iter().any(|bound| bound.fields == *within);
            match field.kind() {
                _ if in_path => {}
                kind if text::is_leaf(&kind) => parameters.push(self.query_parameter(&field, within)),
                Kind::Message(inner)
                    if !field.is_list() && !field.is_map() && !text::is_well_known(inner.full_name()) =>
                {
                    self.query_parameters(binding, &inner, within, parameters);
                }
                _ => {}
            }
            within.pop();
        }
    }

    fn query_parameter(&mut self, field: &FieldDescriptor, path: &[FieldDescriptor]) -> Value {
        let name = path.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".");
        let mut parameter = json!({"name": name, "in": "query", "schema": self.schemas.value(field)});
        if let Some(description) = self.schemas.describe_field(field) {
            parameter["description"] = description.into();
        }
        if path.iter().all(is_required) {
            parameter["required"] = true.into();
        }
        if is_deprecated(field) {
            parameter["deprecated"] = true.into();
        }
        parameter
    }

    fn request_body(&mut self, binding: &Binding) -> Option<Value> {
        let method = &binding.method;
        let bound: Vec<&[FieldDescriptor]> =
            binding.variables.iter().map(|path| path.fields.as_slice()).collect();
        let schema = match &binding.body {
            Body::Nothing => return None,
            Body::Whole => self.schemas.message_without(&method.input, &bound),
            Body::Field(field) => self.schemas.field_without(field, &schema::within(field, &bound)),
        };
        Some(json!({"required": true, "content": content(method.client_streaming, schema)}))
    }

    fn response(&mut self, method: &Method) -> Value {
        let schema = match &method.response_body {
            None => self.schemas.message(&method.output),
            Some(field) => self.schemas.field(field),
        };
        json!({"description": "OK", "content": content(method.server_streaming, schema)})
    }
}

fn short_id(method: &Method) -> String {
    format!("{}_{}", method.descriptor.parent_service().name(), method.name)
}

fn content(streaming: bool, schema: Value) -> Value {
    // A stream is one JSON value a line.
    let media_type = if streaming { "application/x-ndjson" } else { "application/json" };
    json!({media_type: {"schema": schema}})
}

fn security(access: Access) -> Value {
    match access {
        Access::User | Access::Admin => json!([{"bearer": []}]),
        Access::Public | Access::Internal => json!([]),
    }
}

/// Describes a route that answers with `parts`: the schemas of the methods' responses.
pub(crate) fn aggregate(route: &AggregateRoute, parts: Map<String, Value>) -> Value {
    let mut properties = parts;
    properties.insert(
        "errors".to_owned(),
        json!({
            "type": "array",
            "description": "The parts that are missing, and why.",
            "items": {
                "type": "object",
                "properties": {
                    "part": {"type": "string"},
                    "code": {"type": "string", "examples": ["UNAVAILABLE"]},
                    "reason": {"type": "string", "description": "Stable reason code."},
                    "detail": {"type": "string"},
                },
                "required": ["part", "code", "reason", "detail"],
            },
        }),
    );
    let schema = json!({"type": "object", "properties": properties, "required": ["errors"]});
    let name = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    json!({
        "operationId": format!("Get{}", route.path.chars().map(name).collect::<String>()),
        "summary": summary(&route.description),
        "description": route.description,
        "security": security(route.access),
        "x-banyan-access": route.access.name(),
        "responses": {
            "200": {"description": "OK", "content": content(false, schema)},
            "default": {"$ref": format!("#/components/responses/{PROBLEM}")},
        },
    })
}

/// Returns the schema of an error (RFC 9457).
pub(crate) fn problem() -> Value {
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "description": "The page of the reason."},
            "title": {"type": "string"},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": {"type": "string"},
            "instance": {"type": "string", "description": "The correlation id of the request."},
            "reason": {"type": "string", "description": "Stable reason code.", "examples": ["INVALID_FIELD"]},
            "violations": {
                "type": "array",
                "description": "What is wrong with which fields.",
                "items": {
                    "type": "object",
                    "properties": {
                        "field": {"type": "string", "examples": ["items[2].quantity"]},
                        "description": {"type": "string"},
                    },
                    "required": ["field", "description"],
                },
            },
        },
        "required": ["type", "title", "status", "detail", "reason"],
    })
}

pub(crate) fn problem_response() -> Value {
    json!({
        "description": "An error",
        "content": {"application/problem+json": {"schema": {"$ref": format!("#/components/schemas/{PROBLEM}")}}},
    })
}
