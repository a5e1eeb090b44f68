//! Reads the query of a request into the fields that neither path nor body binds.

use crate::binding::{Binding, Body};
use crate::violations::Violations;
use crate::{percent, text};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use std::collections::BTreeSet;

/// The most parameters one query may have.
pub(crate) const PARAMETERS_MAX: usize = 1_000;
/// The most names one parameter's field path may have.
const FIELD_PATH_DEPTH_MAX: usize = 32;

/// Sets the fields that `query` names, and notes what is wrong with it; it is percent-encoded and without its question
/// mark.
pub(crate) fn read(
    binding: &Binding,
    query: &str,
    message: &mut DynamicMessage,
    violations: &mut Violations,
) {
    let mut seen = BTreeSet::new();
    for (count, parameter) in query.split('&').filter(|parameter| !parameter.is_empty()).enumerate() {
        if count == PARAMETERS_MAX {
            return violations.push("query", &format!("has more than {PARAMETERS_MAX} parameters"));
        }
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let Some(name) = percent::decode_query(name) else {
            violations.push("query", "has a name that is not percent-encoded UTF-8");
            continue;
        };
        match resolve(binding, &name) {
            Ok(fields) => {
                if let Err(why) = read_one(&fields, value, message, &mut seen) {
                    violations.push_spelled(&json_path(&fields), &name, &why);
                }
            }
            Err(why) => violations.push(&name, &why),
        }
    }
}

fn read_one(
    fields: &[FieldDescriptor],
    value: &str,
    message: &mut DynamicMessage,
    seen: &mut BTreeSet<Vec<u32>>,
) -> Result<(), String> {
    let [.., last] = fields else { return Ok(()) };
    let value = percent::decode_query(value).ok_or(NOT_DECODED)?;
    let numbers: Vec<u32> = fields.iter().map(FieldDescriptor::number).collect();
    if !seen.insert(numbers) && !last.is_list() {
        return Err("is given twice".to_owned());
    }
    set(message, fields, text::parse(last, &value)?)
}

/// Returns the path of a field as JSON names it.
pub(crate) fn json_path(fields: &[FieldDescriptor]) -> String {
    fields.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".")
}

pub(crate) const NOT_DECODED: &str = "is not percent-encoded UTF-8";

/// Finds the field that a parameter names, in lowerCamelCase or as the contract names it.
pub(crate) fn resolve(binding: &Binding, name: &str) -> Result<Vec<FieldDescriptor>, String> {
    const UNKNOWN: &str = "is not a parameter of this request";
    let mut fields = Vec::new();
    let mut message: Option<MessageDescriptor> = Some(binding.method.input.clone());
    for part in name.split('.') {
        let within = message.take().ok_or(UNKNOWN)?;
        let field = within
            .get_field_by_name(part)
            .or_else(|| within.get_field_by_json_name(part))
            .filter(|_| fields.len() < FIELD_PATH_DEPTH_MAX)
            .ok_or(UNKNOWN)?;
        if let Kind::Message(inner) = field.kind()
            && !text::is_leaf(&field.kind())
        {
            if field.is_list() || field.is_map() || text::is_well_known(inner.full_name()) {
                return Err("cannot be given in the query".to_owned());
            }
            message = Some(inner);
        }
        fields.push(field);
    }
    match &binding.body {
        Body::Whole => Err("belongs into the body".to_owned()),
        Body::Field(body) if fields[0] == *body => Err("belongs into the body".to_owned()),
        _ if binding.variables.iter().any(|bound| bound.fields == fields) => {
            Err("is given in the path".to_owned())
        }
        _ if message.is_some() => Err("is a message: name its fields".to_owned()),
        _ => Ok(fields),
    }
}

/// Sets a field inside of messages, or appends to it if it is repeated; refuses a second field of a oneof.
pub(crate) fn set(
    message: &mut DynamicMessage,
    fields: &[FieldDescriptor],
    value: Value,
) -> Result<(), String> {
    let Some((field, inner)) = fields.split_first() else {
        return Ok(());
    };
    if let Some(oneof) = field.containing_oneof()
        && let Some(other) = oneof.fields().find(|other| other != field && message.has_field(other))
    {
        return Err(format!("excludes {}, which is given too", other.json_name()));
    }
    match message.get_field_mut(field) {
        Value::Message(within) if !inner.is_empty() => set(within, inner, value),
        Value::List(list) => {
            list.push(value);
            Ok(())
        }
        place => {
            *place = value;
            Ok(())
        }
    }
}
