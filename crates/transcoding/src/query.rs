//! Reads the query of a request into the fields that neither path nor body binds.

use crate::binding::{Binding, Body};
use crate::{percent, text};
use banyan_core::{Error, Result};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use std::collections::BTreeSet;

/// The most parameters one query may have.
const PARAMETERS_MAX: usize = 1_000;
/// The most names one parameter's field path may have.
const FIELD_PATH_DEPTH_MAX: usize = 32;

/// Sets the fields that `query` names; it is percent-encoded and without its question mark.
///
/// # Errors
/// `InvalidArgument` that names the parameter.
pub(crate) fn read(binding: &Binding, query: &str, message: &mut DynamicMessage) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (count, parameter) in query.split('&').filter(|parameter| !parameter.is_empty()).enumerate() {
        if count == PARAMETERS_MAX {
            return Err(Error::invalid("query", format!("has more than {PARAMETERS_MAX} parameters")));
        }
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let Some(name) = percent::decode_query(name) else {
            return Err(Error::invalid("query", "has a name that is not percent-encoded UTF-8"));
        };
        let refuse = |why: String| invalid(&name, why);
        let value = percent::decode_query(value).ok_or_else(|| refuse(NOT_DECODED.to_owned()))?;
        let fields = resolve(binding, &name).map_err(refuse)?;
        let [.., last] = fields.as_slice() else { continue };
        let numbers: Vec<u32> = fields.iter().map(FieldDescriptor::number).collect();
        if !seen.insert(numbers) && !last.is_list() {
            return Err(refuse("is given twice".to_owned()));
        }
        let parsed = text::parse(last, &value).map_err(refuse)?;
        set(message, &fields, parsed).map_err(refuse)?;
    }
    Ok(())
}

pub(crate) const NOT_DECODED: &str = "is not percent-encoded UTF-8";

/// Makes the error for a field whose name came from outside, which bounds it.
pub(crate) fn invalid(field: &str, description: String) -> Error {
    Error::invalid(crate::json::shorten(field), crate::json::shorten(&description))
}

/// Finds the field that a parameter names, in lowerCamelCase or as the contract names it.
fn resolve(binding: &Binding, name: &str) -> Result<Vec<FieldDescriptor>, String> {
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
        return Err(format!("excludes {}, which is given too", other.name()));
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
