//! Bounds how deep messages are nested through `google.protobuf.Any`.
//!
//! The protobuf decoder bounds direct nesting, but what an `Any` holds is decoded anew: a few kilobytes can hold
//! thousands of levels, and writing them as JSON would exhaust the stack.

use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};
use std::collections::HashSet;

/// The most messages inside each other, counted through every `Any`.
const DEPTH_MAX: usize = 64;

const ANY: &str = "google.protobuf.Any";

/// Knows which messages can hold an `Any`, directly or not, so that the others need no check.
#[derive(Debug)]
pub(crate) struct Nesting {
    holders: HashSet<String>,
}

impl Nesting {
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let mut holders = HashSet::from([ANY.to_owned()]);
        loop {
            let found: Vec<String> = pool
                .all_messages()
                .filter(|message| !holders.contains(message.full_name()) && holds(message, &holders))
                .map(|message| message.full_name().to_owned())
                .collect();
            if found.is_empty() {
                return Self { holders };
            }
            holders.extend(found);
        }
    }

    /// Fails with the reason if `message` is nested too deep, or an `Any` in it cannot be read.
    pub(crate) fn check(&self, message: &DynamicMessage) -> Result<(), String> {
        self.visit(message, 0)
    }

    fn visit(&self, message: &DynamicMessage, depth: usize) -> Result<(), String> {
        let descriptor = prost_reflect::ReflectMessage::descriptor(message);
        if !self.holders.contains(descriptor.full_name()) {
            return Ok(());
        }
        if depth == DEPTH_MAX {
            return Err(format!("is nested deeper than {DEPTH_MAX} levels"));
        }
        if descriptor.full_name() == ANY {
            return self.visit_any(message, &descriptor, depth);
        }
        let fields = message.fields().map(|(_, value)| value);
        let extensions = message.extensions().map(|(_, value)| value);
        fields.chain(extensions).try_for_each(|value| self.visit_value(value, depth))
    }

    fn visit_value(&self, value: &Value, depth: usize) -> Result<(), String> {
        match value {
            Value::Message(message) => self.visit(message, depth + 1),
            Value::List(values) => values.iter().try_for_each(|value| self.visit_value(value, depth)),
            Value::Map(values) => values.values().try_for_each(|value| self.visit_value(value, depth)),
            _ => Ok(()),
        }
    }

    fn visit_any(
        &self,
        any: &DynamicMessage,
        descriptor: &MessageDescriptor,
        depth: usize,
    ) -> Result<(), String> {
        let (type_url, value) = (any.get_field_by_name("type_url"), any.get_field_by_name("value"));
        let type_url = type_url.as_ref().and_then(|value| value.as_str()).unwrap_or_default();
        let name = type_url.rsplit('/').next().unwrap_or_default();
        let message = descriptor.parent_pool().get_message_by_name(name);
        let Some(message) = message.filter(|message| self.holders.contains(message.full_name())) else {
            return Ok(());
        };
        let bytes = value.as_ref().and_then(|value| value.as_bytes()).cloned().unwrap_or_default();
        let message = DynamicMessage::decode(message, bytes).map_err(|error| format!("{name}: {error}"))?;
        self.visit(&message, depth + 1)
    }
}

fn holds(message: &MessageDescriptor, holders: &HashSet<String>) -> bool {
    let is_holder = |kind: Kind| matches!(&kind, Kind::Message(inner) if holders.contains(inner.full_name()));
    message.fields().any(|field| is_holder(field.kind()))
        || message.extensions().any(|extension| is_holder(extension.kind()))
}
