//! JSON Schemas of messages, in the form canonical proto3 JSON gives them.

use crate::behavior::{is_output_only, is_required};
use crate::openapi::comments::Comments;
use crate::text;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// The schemas that the document needs, by the full name of their message or enum.
pub(crate) struct Schemas<'a> {
    comments: &'a Comments,
    components: Map<String, Value>,
    /// Messages that are referred to and not described yet.
    waiting: Vec<MessageDescriptor>,
}

impl<'a> Schemas<'a> {
    pub(crate) fn new(comments: &'a Comments) -> Self {
        Self { comments, components: Map::new(), waiting: Vec::new() }
    }

    /// Returns every schema that was referred to, directly or not.
    pub(crate) fn finish(mut self) -> Map<String, Value> {
        while let Some(message) = self.waiting.pop() {
            let schema = self.describe_message(&message, &[]);
            self.components.insert(message.full_name().to_owned(), schema);
        }
        self.components
    }

    /// Returns the schema of a message: a reference, or the JSON form of a well-known type.
    pub(crate) fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message) {
            return schema;
        }
        let name = message.full_name();
        if !self.components.contains_key(name) {
            self.components.insert(name.to_owned(), Value::Null);
            self.waiting.push(message.clone());
        }
        reference(name)
    }

    /// Returns the schema of a message in which the fields at `paths` may be missing, because they are given elsewhere.
    pub(crate) fn message_without(
        &mut self,
        message: &MessageDescriptor,
        paths: &[&[FieldDescriptor]],
    ) -> Value {
        if paths.is_empty() {
            return self.message(message);
        }
        self.describe_message(message, paths)
    }

    /// Returns the schema of a field, a message in which the fields at `paths` may be missing if there are any.
    pub(crate) fn field_without(&mut self, field: &FieldDescriptor, paths: &[&[FieldDescriptor]]) -> Value {
        match field.kind() {
            Kind::Message(message) if !paths.is_empty() => {
                let schema = self.describe_message(&message, paths);
                self.annotate(schema, field)
            }
            _ => self.field(field),
        }
    }

    /// Returns the schema of a field's value, without its description.
    pub(crate) fn value(&mut self, field: &FieldDescriptor) -> Value {
        if let Kind::Message(entry) = field.kind()
            && entry.is_map_entry()
        {
            let values = self.kind(&entry.map_entry_value_field().kind());
            return json!({"type": "object", "additionalProperties": values});
        }
        let schema = self.kind(&field.kind());
        if field.is_list() { json!({"type": "array", "items": schema}) } else { schema }
    }

    /// Returns the schema of a field with what its contract says about it.
    pub(crate) fn field(&mut self, field: &FieldDescriptor) -> Value {
        let schema = self.value(field);
        self.annotate(schema, field)
    }

    fn annotate(&self, mut schema: Value, field: &FieldDescriptor) -> Value {
        if let Some(description) = self.describe_field(field) {
            schema["description"] = description.into();
        }
        if is_output_only(field) {
            schema["readOnly"] = true.into();
        }
        if is_deprecated(field) {
            schema["deprecated"] = true.into();
        }
        schema
    }

    /// Returns the comment of a field, and which fields of its oneof it excludes.
    pub(crate) fn describe_field(&self, field: &FieldDescriptor) -> Option<String> {
        let comment = self.comments.of(&field.parent_message().parent_file(), field.path());
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        let excluded = oneof.map(|oneof| {
            let others = oneof.fields().filter(|other| other != field);
            let names: Vec<String> = others.map(|other| format!("`{}`", other.json_name())).collect();
            format!("Excludes {}.", names.join(", "))
        });
        match (comment, excluded.filter(|text| text != "Excludes .")) {
            (Some(comment), Some(excluded)) => Some(format!("{comment}\n\n{excluded}")),
            (comment, excluded) => excluded.or_else(|| comment.map(str::to_owned)),
        }
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(kind) if kind.full_name() == "google.protobuf.NullValue" => json!({"type": "null"}),
            Kind::Enum(kind) => {
                if !self.components.contains_key(kind.full_name()) {
                    let schema = self.describe_enum(kind);
                    self.components.insert(kind.full_name().to_owned(), schema);
                }
                reference(kind.full_name())
            }
            scalar => self::scalar(scalar),
        }
    }

    /// Describes a message; the fields at the paths `elsewhere` are given somewhere else.
    fn describe_message(&mut self, message: &MessageDescriptor, elsewhere: &[&[FieldDescriptor]]) -> Value {
        let mut properties = Map::new();
        let mut required: Vec<&str> = Vec::new();
        let fields: Vec<FieldDescriptor> = message.fields().collect();
        for field in &fields {
            let inside = within(field, elsewhere);
            if elsewhere.iter().any(|path| *path == [field.clone()]) {
                continue;
            }
            properties.insert(field.json_name().to_owned(), self.field_without(field, &inside));
            if is_required(field) && inside.is_empty() {
                required.push(field.json_name());
            }
        }
        let mut schema = json!({"type": "object"});
        if !properties.is_empty() {
            schema["properties"] = properties.into();
        }
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if let Some(comment) = self.comments.of(&message.parent_file(), message.path()) {
            schema["description"] = comment.into();
        }
        if message.descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated()) {
            schema["deprecated"] = true.into();
        }
        schema
    }

    fn describe_enum(&self, kind: &EnumDescriptor) -> Value {
        let file = kind.parent_file();
        let names: Vec<String> = kind.values().map(|value| value.name().to_owned()).collect();
        let own = self.comments.of(&file, kind.path()).map(str::to_owned);
        let of_values: Vec<String> = kind
            .values()
            .filter_map(|value| {
                let comment = self.comments.of(&file, value.path())?.replace('\n', " ");
                Some(format!("- `{}`: {comment}", value.name()))
            })
            .collect();
        let of_values = Some(of_values.join("\n")).filter(|text| !text.is_empty());
        let description: Vec<String> = own.into_iter().chain(of_values).collect();
        let mut schema = json!({"type": "string", "enum": names});
        if !description.is_empty() {
            schema["description"] = description.join("\n\n").into();
        }
        schema
    }
}

/// Returns what follows `field` in those of the `paths` that lead through it.
pub(crate) fn within<'p>(
    field: &FieldDescriptor,
    paths: &[&'p [FieldDescriptor]],
) -> Vec<&'p [FieldDescriptor]> {
    let inside = paths.iter().filter_map(|path| path.split_first().filter(|(first, _)| *first == field));
    inside.map(|(_, rest)| rest).filter(|rest| !rest.is_empty()).collect()
}

pub(crate) fn is_deprecated(field: &FieldDescriptor) -> bool {
    field.field_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated())
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn scalar(kind: &Kind) -> Value {
    match kind {
        Kind::Double => json!({"type": "number", "format": "double"}),
        Kind::Float => json!({"type": "number", "format": "float"}),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
        Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({"type": "string", "format": "int64"}),
        Kind::Uint64 | Kind::Fixed64 => json!({"type": "string", "format": "uint64"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::String | Kind::Message(_) | Kind::Enum(_) => json!({"type": "string"}),
    }
}

/// Returns the schema of a type that has a JSON form of its own.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    let name = message.full_name();
    if text::is_wrapper(name) {
        let mut schema = scalar(&message.get_field_by_name("value")?.kind());
        schema["type"] = json!([schema["type"], "null"]);
        return Some(schema);
    }
    if !text::is_well_known(name) {
        return None;
    }
    Some(match name.rsplit('.').next()? {
        "Timestamp" => json!({"type": "string", "format": "date-time"}),
        "Duration" => json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"}),
        "FieldMask" => json!({"type": "string", "examples": ["title,author.name"]}),
        "Struct" => json!({"type": "object", "additionalProperties": true}),
        "ListValue" => json!({"type": "array", "items": {}}),
        "Empty" => json!({"type": "object", "additionalProperties": false}),
        "Any" => json!({
            "type": "object",
            "properties": {"@type": {"type": "string", "examples": ["type.googleapis.com/google.protobuf.Duration"]}},
            "required": ["@type"],
            "additionalProperties": true,
        }),
        _ => json!({}),
    })
}
