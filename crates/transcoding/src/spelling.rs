//! The names of fields at the HTTP edge. A service names a field as its contract does (`unit_price`), and so do gRPC
//! clients read it; a client that speaks JSON reads what it would write (`unitPrice`), and of what stands in path and
//! query what it wrote.

use crate::binding::Binding;
use crate::{percent, query};
use banyan_core::{Error, FieldViolation};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// Gives the fields that `error` names the spelling of the client whose request had this `query`.
pub(crate) fn respell(binding: &Binding, query: Option<&str>, error: Error) -> Error {
    let spelled: Vec<Option<String>> =
        error.violations().iter().map(|violation| spell(binding, query, &violation.field)).collect();
    if spelled.iter().all(Option::is_none) {
        return error;
    }
    let mut message = error.message().to_owned();
    let mut violations: Vec<FieldViolation> = Vec::with_capacity(spelled.len());
    for (violation, spelled) in error.violations().iter().zip(spelled) {
        let field = spelled.unwrap_or_else(|| violation.field.clone());
        // What is invalid says so in its message: "unit_price: must be above 0".
        if let Some(rest) = message.strip_prefix(&violation.field).filter(|rest| rest.starts_with(':')) {
            message = format!("{field}{rest}");
        }
        violations.push(FieldViolation { field, description: violation.description.clone() });
    }
    let mut respelled = Error::from_wire(error.code(), Some(error.reason().to_owned()), message)
        .with_blame(error.blame())
        .with_retry(error.retry());
    if let Some(after) = error.retry_after() {
        respelled = respelled.with_retry_after(after);
    }
    violations.into_iter().fold(respelled, Error::with_violation).with_source(error)
}

/// Returns the client's spelling of a field's path; `None` if the request has no such field.
fn spell(binding: &Binding, query: Option<&str>, path: &str) -> Option<String> {
    let Resolved { fields, json, rest } = resolve(&binding.method.input, path)?;
    if let Some(bound) = binding.variables.iter().find(|bound| bound.fields == fields) {
        return Some(format!("{}{rest}", bound.text));
    }
    let parameters = query.unwrap_or_default().split('&').take(query::PARAMETERS_MAX);
    let written = parameters
        .filter_map(|parameter| percent::decode_query(parameter.split('=').next()?))
        .find(|name| query::resolve(binding, name).is_ok_and(|written| written == fields));
    Some(format!("{}{rest}", written.as_deref().unwrap_or(&json)))
}

struct Resolved<'p> {
    fields: Vec<FieldDescriptor>,
    /// The JSON names of the fields, with the indexes between them.
    json: String,
    /// What follows the last field: an index, or what is in a map, as it is.
    rest: &'p str,
}

fn resolve<'p>(message: &MessageDescriptor, path: &'p str) -> Option<Resolved<'p>> {
    let mut message = Some(message.clone());
    let (mut fields, mut json, mut rest) = (Vec::new(), String::new(), path);
    loop {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let within = message.take()?;
        let field = within.get_field_by_name(name).or_else(|| within.get_field_by_json_name(name))?;
        json.push_str(field.json_name());
        let is_map = field.is_map();
        if let Kind::Message(inner) = field.kind() {
            message = Some(inner);
        }
        fields.push(field);
        let index =
            after.strip_prefix('[').and_then(|inside| Some(inside.find(']')? + 2)).unwrap_or_default();
        let (index, after) = after.split_at(index);
        match after.strip_prefix('.') {
            // The keys of a map are the client's.
            _ if is_map => {
                let rest = &rest[end..];
                return Some(Resolved { fields, json, rest });
            }
            Some(inner) => {
                json.push_str(index);
                json.push('.');
                rest = inner;
            }
            None if after.is_empty() => return Some(Resolved { fields, json, rest: index }),
            None => return None,
        }
    }
}
