//! What the option `google.api.field_behavior` (<https://google.aip.dev/203>) says of fields.

use crate::method::read_option;
use crate::violations::Violations;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};
use std::collections::{HashMap, HashSet};

const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;

/// Knows the required fields of every message, and which messages can hold one of those.
#[derive(Debug)]
pub(crate) struct Required {
    fields: HashMap<String, Vec<FieldDescriptor>>,
    holders: HashSet<String>,
}

impl Required {
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let mut fields: HashMap<String, Vec<FieldDescriptor>> = HashMap::new();
        for message in pool.all_messages() {
            let required: Vec<_> = message.fields().filter(is_required).collect();
            if !required.is_empty() {
                fields.insert(message.full_name().to_owned(), required);
            }
        }
        let mut holders: HashSet<String> = fields.keys().cloned().collect();
        loop {
            let found: Vec<String> = pool
                .all_messages()
                .filter(|message| !holders.contains(message.full_name()) && holds(message, &holders))
                .map(|message| message.full_name().to_owned())
                .collect();
            if found.is_empty() {
                return Self { fields, holders };
            }
            holders.extend(found);
        }
    }

    /// Notes each required field that `message`, or a message in it, does not have.
    pub(crate) fn check(&self, message: &DynamicMessage, violations: &mut Violations) {
        self.visit(message, "", violations);
    }

    fn visit(&self, message: &DynamicMessage, at: &str, violations: &mut Violations) {
        let descriptor = message.descriptor();
        if violations.is_full() || !self.holders.contains(descriptor.full_name()) {
            return;
        }
        let place = |field: &FieldDescriptor| match at {
            "" => field.json_name().to_owned(),
            at => format!("{at}.{}", field.json_name()),
        };
        for field in self.fields.get(descriptor.full_name()).into_iter().flatten() {
            if is_missing(message, field) {
                let place = place(field);
                if !violations.touch(&place) {
                    violations.push(&place, describe(field));
                }
            }
        }
        for (field, value) in message.fields() {
            if matches!(field.kind(), Kind::Message(inner) if self.holders.contains(inner.full_name())) {
                self.visit_value(value, &place(&field), violations);
            }
        }
    }

    fn visit_value(&self, value: &Value, at: &str, violations: &mut Violations) {
        match value {
            Value::Message(message) => self.visit(message, at, violations),
            Value::List(values) => {
                for (index, value) in values.iter().enumerate() {
                    self.visit_value(value, &format!("{at}[{index}]"), violations);
                }
            }
            Value::Map(entries) => {
                for (key, value) in entries {
                    self.visit_value(value, &format!("{at}.{}", key_text(key)), violations);
                }
            }
            _ => {}
        }
    }
}

/// Tells whether a request without the field is refused.
pub(crate) fn is_required(field: &FieldDescriptor) -> bool {
    has(field, REQUIRED)
}

/// Tells whether the field is ignored in requests.
pub(crate) fn is_output_only(field: &FieldDescriptor) -> bool {
    has(field, OUTPUT_ONLY)
}

fn has(field: &FieldDescriptor, behavior: i32) -> bool {
    // Most fields have no options, and reading them is not free.
    if field.field_descriptor_proto().options.is_none() {
        return false;
    }
    let behaviors = read_option(field.parent_pool(), &field.options(), "google.api.field_behavior");
    let behaviors = behaviors.as_ref().and_then(Value::as_list).unwrap_or_default();
    behaviors.iter().any(|value| value.as_enum_number() == Some(behavior))
}

fn holds(message: &MessageDescriptor, holders: &HashSet<String>) -> bool {
    let is_holder = |kind: Kind| matches!(&kind, Kind::Message(inner) if holders.contains(inner.full_name()));
    message.fields().any(|field| is_holder(field.kind()))
}

/// A field without presence is missing when it has its default value, as in the binary form; `false` is a value.
fn is_missing(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    let says_nothing = field.kind() == Kind::Bool && !field.supports_presence() && !field.is_list();
    !says_nothing && !message.has_field(field)
}

fn describe(field: &FieldDescriptor) -> &'static str {
    match field.kind() {
        _ if field.is_list() || field.is_map() => "is required and must not be empty",
        Kind::Message(_) | Kind::String | Kind::Bytes | Kind::Enum(_) | Kind::Bool => "is required",
        _ if field.supports_presence() => "is required",
        _ => "is required and must not be 0",
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}
