//! One HTTP rule of a method, checked against its messages.

use crate::method::{Method, read_http_rule};
use crate::template::Template;
use crate::text;
use banyan_core::{Error, Result};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

/// How an HTTP method and path map to a method.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) method: Method,
    /// In upper case; `*` for every method.
    pub(crate) http_method: String,
    /// The path template as the contract writes it.
    pub(crate) path: String,
    pub(crate) template: Template,
    /// What the template's variables are bound to, in the same order.
    pub(crate) variables: Vec<FieldPath>,
    pub(crate) body: Body,
}

/// A field of the request, possibly inside messages.
#[derive(Clone, Debug)]
pub(crate) struct FieldPath {
    /// As the contract writes it.
    pub(crate) text: String,
    /// From the request inwards; never empty.
    pub(crate) fields: Vec<FieldDescriptor>,
}

/// What the HTTP body holds.
#[derive(Debug)]
pub(crate) enum Body {
    Nothing,
    /// Every field that the path does not bind.
    Whole,
    Field(FieldDescriptor),
}

const PATTERNS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

impl Binding {
    /// Reads every HTTP rule of `method`: none without the option, several with additional bindings.
    ///
    /// # Errors
    /// `InvalidArgument` that names the method and the part of its option.
    pub(crate) fn read_all(method: &Method) -> Result<Vec<Self>> {
        let Some(rule) = read_http_rule(&method.descriptor) else {
            return Ok(Vec::new());
        };
        let refuse = |(option, why): (String, String)| {
            Error::invalid(format!("{} (google.api.http){option}", method.full_name()), why)
        };
        let mut bindings = vec![Self::read(method, &rule, "").map_err(refuse)?];
        let additional = rule.get_field_by_name("additional_bindings");
        for (index, rule) in additional.iter().flat_map(|list| list.as_list().unwrap_or_default()).enumerate()
        {
            let within = format!(".additional_bindings[{index}]");
            let Value::Message(rule) = rule else { continue };
            if rule.has_field_by_name("additional_bindings") {
                return Err(refuse((within, "must not have additional bindings itself".to_owned())));
            }
            bindings.push(Self::read(method, rule, &within).map_err(refuse)?);
        }
        Ok(bindings)
    }

    fn read(method: &Method, rule: &DynamicMessage, within: &str) -> Result<Self, (String, String)> {
        let (http_method, path) = read_pattern(rule).ok_or_else(|| {
            (within.to_owned(), "must say get, put, post, delete, patch or custom".to_owned())
        })?;
        let pattern = format!("{within}.{}", http_method.to_ascii_lowercase());
        let template = Template::parse(&path).map_err(|why| (pattern.clone(), format!("{path:?} {why}")))?;
        let mut variables = Vec::with_capacity(template.variables.len());
        for variable in &template.variables {
            let field = FieldPath::resolve(&method.input, &variable.path)
                .map_err(|why| (pattern.clone(), format!("{path:?}: {why}")))?;
            variables.push(field);
        }
        let at = |option: &str| format!("{within}.{option}");
        let body = match read_string(rule, "body").as_str() {
            "" => Body::Nothing,
            _ if http_method == "GET" => {
                return Err((at("body"), "a GET request has no body".to_owned()));
            }
            "*" => Body::Whole,
            name => Body::Field(top_level(&method.input, name).map_err(|why| (at("body"), why))?),
        };
        if let Body::Field(field) = &body
            && let Some(bound) = variables.iter().find(|bound| bound.fields == [field.clone()])
        {
            return Err((at("body"), format!("{} is bound in the path", bound.text)));
        }
        let mut method = method.clone();
        method.response_body = match read_string(rule, "response_body").as_str() {
            "" => None,
            name => Some(top_level(&method.output, name).map_err(|why| (at("response_body"), why))?),
        };
        Ok(Self { method, http_method, path, template, variables, body })
    }
}

impl FieldPath {
    /// Finds the field that a path variable names.
    fn resolve(message: &MessageDescriptor, text: &str) -> Result<Self, String> {
        let mut fields: Vec<FieldDescriptor> = Vec::new();
        let mut message = Some(message.clone());
        for name in text.split('.') {
            let field = match &message {
                Some(message) => top_level(message, name)?,
                None => return Err(format!("{text} leads into a field that is not a message")),
            };
            if field.is_list() || field.is_map() {
                return Err(format!("{name} is repeated and cannot be in a path"));
            }
            message = match field.kind() {
                Kind::Message(inner) if !text::is_leaf(&field.kind()) => Some(inner),
                _ => None,
            };
            fields.push(field);
        }
        match message {
            None => Ok(Self { text: text.to_owned(), fields }),
            Some(_) => Err(format!("{text} is a message and cannot be in a path")),
        }
    }
}

fn top_level(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    message.get_field_by_name(name).ok_or_else(|| format!("{} has no field {name:?}", message.full_name()))
}

/// Returns the HTTP method, in upper case, and the path template.
fn read_pattern(rule: &DynamicMessage) -> Option<(String, String)> {
    for name in PATTERNS {
        if rule.has_field_by_name(name) {
            return Some((name.to_ascii_uppercase(), read_string(rule, name)));
        }
    }
    let custom = rule.get_field_by_name("custom").filter(|_| rule.has_field_by_name("custom"))?;
    let custom = custom.as_message()?;
    let kind = read_string(custom, "kind");
    (!kind.is_empty()).then(|| (kind.to_ascii_uppercase(), read_string(custom, "path")))
}

fn read_string(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.as_ref().and_then(|value| value.as_str()).unwrap_or_default().to_owned()
}
