//! Messages for people to look at, without what the contract marks as secret (`debug_redact`).

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, Value};

/// What stands in the place of a secret text.
const REDACTED: &str = "***";

/// Takes the secrets out of `message`, at every depth. Texts become `***`, everything else is cleared.
pub(crate) fn redact(message: &mut DynamicMessage) {
    let fields: Vec<FieldDescriptor> = message.fields().map(|(field, _)| field).collect();
    for field in fields {
        if is_secret(&field) {
            if field.is_list() || field.is_map() || !matches!(field.kind(), Kind::String) {
                message.clear_field(&field);
            } else {
                message.set_field(&field, Value::String(REDACTED.to_owned()));
            }
        } else if matches!(field.kind(), Kind::Message(_)) {
            redact_value(message.get_field_mut(&field));
        }
    }
}

fn redact_value(value: &mut Value) {
    match value {
        Value::Message(message) => redact(message),
        Value::List(items) => items.iter_mut().for_each(redact_value),
        Value::Map(entries) => {
            let entries: &mut std::collections::HashMap<MapKey, Value> = entries;
            entries.values_mut().for_each(redact_value);
        }
        _ => {}
    }
}

/// Tells whether the contract marks the field with `debug_redact`.
fn is_secret(field: &FieldDescriptor) -> bool {
    let options = field.options();
    let secret = options.get_field_by_name("debug_redact").and_then(|value| value.as_bool());
    secret.unwrap_or(false)
}
