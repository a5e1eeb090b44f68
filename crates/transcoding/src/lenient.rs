//! Looks through a JSON body that was refused already, for everything else that is wrong with it.

use crate::json;
use crate::text;
use crate::tracked::DEPTH_MAX;
use crate::violations::Violations;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde_json::{Map, Value as Json};

/// Notes what is wrong with the body of a whole message; returns what is right with it.
pub(crate) fn read(message: &MessageDescriptor, body: &[u8], violations: &mut Violations) -> DynamicMessage {
    match serde_json::from_slice(body) {
        Ok(Json::Object(object)) => Reader { violations }.message(message, &object, "", 0),
        _ => DynamicMessage::new(message.clone()),
    }
}

/// Notes what is wrong with the body of one field; returns its message with what is right.
pub(crate) fn read_field(
    field: &FieldDescriptor,
    body: &[u8],
    violations: &mut Violations,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(field.parent_message().clone());
    if let Ok(body) = serde_json::from_slice(body)
        && let Some(value) = (Reader { violations }).field(field, &body, field.json_name(), 0)
    {
        message.set_field(field, value);
    }
    message
}

struct Reader<'v> {
    violations: &'v mut Violations,
}

impl Reader<'_> {
    fn message(
        &mut self,
        message: &MessageDescriptor,
        object: &Map<String, Json>,
        at: &str,
        depth: usize,
    ) -> DynamicMessage {
        let mut read = DynamicMessage::new(message.clone());
        if depth == DEPTH_MAX {
            return read;
        }
        for (key, value) in object {
            if self.violations.is_full() {
                break;
            }
            let place = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
            let field = message.get_field_by_json_name(key).or_else(|| message.get_field_by_name(key));
            let Some(field) = field else {
                // In brackets stands the name of an extension.
                if !key.starts_with('[') {
                    self.violations.push(&place(key), &json::not_a_field_of(message));
                }
                continue;
            };
            if let Some(value) = self.field(&field, value, &place(field.json_name()), depth) {
                read.set_field(&field, value);
            }
        }
        read
    }

    /// Reads a field's value, unless it is wrong or `null`.
    fn field(&mut self, field: &FieldDescriptor, value: &Json, at: &str, depth: usize) -> Option<Value> {
        let Some(message) = plain_message(field) else {
            return self.leaf(field, value, at);
        };
        match value {
            Json::Object(object) if !field.is_list() => {
                Some(Value::Message(self.message(&message, object, at, depth + 1)))
            }
            Json::Array(items) if field.is_list() => {
                let read = items.iter().enumerate().map(|(index, item)| {
                    let at = format!("{at}[{index}]");
                    if let Json::Object(object) = item {
                        return Value::Message(self.message(&message, object, &at, depth + 2));
                    }
                    self.violations.push(&at, json::NOT_AN_OBJECT);
                    // Keeps the place of those that follow.
                    Value::Message(DynamicMessage::new(message.clone()))
                });
                Some(Value::List(read.collect()))
            }
            _ => self.leaf(field, value, at),
        }
    }

    /// Reads a value as the strict reader does.
    fn leaf(&mut self, field: &FieldDescriptor, value: &Json, at: &str) -> Option<Value> {
        match json::read_field(field, value) {
            Ok(mut message) => message.take_field(field),
            Err(refusal) => {
                let inside = refusal.field.strip_prefix(field.json_name()).unwrap_or_default();
                self.violations.push(&format!("{at}{inside}"), &refusal.description);
                None
            }
        }
    }
}

/// Returns the message that a field holds, once or in a list, if its keys are fields.
fn plain_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if !field.is_map() && !text::is_well_known(message.full_name()) => {
            Some(message)
        }
        _ => None,
    }
}
