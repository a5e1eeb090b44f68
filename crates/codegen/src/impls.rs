//! What is generated for a message beside prost's own: `Payload`, `Event`, and a `Debug` that keeps secrets.

use crate::scope::Scope;
use crate::{Error, Result, ident};
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};
use std::fmt::Write;

const CORE: &str = "::banyan_core";
const DECODER: &str = "decode_payload";
const FORMATTER: &str = "f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result";

/// Writes the implementations for `message`, not for what is nested in it.
///
/// # Errors
/// [`Error::Event`] when its event option cannot work.
pub(crate) fn render(message: &MessageDescriptor, scope: &Scope) -> Result<String> {
    let mut out = String::new();
    write_payload(&mut out, message, scope);
    if let Some(event) = EventOptions::of(message)? {
        write_event(&mut out, message, &event, scope);
    }
    if hides_debug(message) {
        write_debug(&mut out, message);
    }
    Ok(out)
}

/// Tells whether a field of `message` has the option `debug_redact`.
pub(crate) fn redacts(message: &MessageDescriptor) -> bool {
    message.fields().any(|field| redacted(&field))
}

fn redacted(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

/// Tells whether prost writes no `Debug` for `message`: told so for a message, it obeys for all that is nested in it.
fn hides_debug(message: &MessageDescriptor) -> bool {
    redacts(message) || message.parent_message().is_some_and(|parent| hides_debug(&parent))
}

fn write_payload(out: &mut String, message: &MessageDescriptor, scope: &Scope) {
    let _ = write!(
        out,
        "impl {payload} for {path} {{\n\
         fn to_bytes(&self) -> {bytes} {{ ::prost::Message::encode_to_vec(self).into() }}\n\
         fn from_bytes(bytes: &[u8]) -> {result}<Self> {{ {DECODER}(bytes, {name:?}) }}\n}}\n",
        payload = scope.import(CORE, "Payload"),
        path = ident::path(message),
        bytes = scope.import("::bytes", "Bytes"),
        result = scope.import(CORE, "Result"),
        name = message.full_name(),
    );
}

/// Writes the function that every `Payload` of a package reads its bytes with.
pub(crate) fn decoder(scope: &Scope) -> String {
    format!(
        "fn {DECODER}<{generic}: ::prost::Message + ::core::default::Default>(bytes: &[u8], name: &str) \
         -> {result}<{generic}> {{\n\
         ::prost::Message::decode(bytes)\
         .map_err(|error| {error}::data_loss(format!(\"not a {{name}}\")).with_source(error))\n}}\n",
        generic = scope.generic("T"),
        result = scope.import(CORE, "Result"),
        error = scope.import(CORE, "Error"),
    )
}

struct EventOptions {
    topic: String,
    /// The Rust name of the key field.
    key: String,
}

impl EventOptions {
    /// Reads the event option of `message`, if it has one.
    fn of(message: &MessageDescriptor) -> Result<Option<Self>> {
        let options = message.options();
        let Some(extension) = message.parent_pool().get_extension_by_name("banyan.v1.event") else {
            return Ok(None);
        };
        if !options.has_extension(&extension) {
            return Ok(None);
        }
        let value = options.get_extension(&extension);
        let text = |name: &str| {
            let text = value.as_message().and_then(|event| event.get_field_by_name(name));
            text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
        };
        Self::new(message, text("topic"), &text("key")).map(Some).map_err(|problem| Error::Event {
            file: message.parent_file().name().to_owned(),
            message: message.full_name().to_owned(),
            problem,
        })
    }

    fn new(message: &MessageDescriptor, topic: String, key: &str) -> Result<Self, String> {
        if topic.is_empty() {
            return Err("topic is not set".to_owned());
        }
        if key.is_empty() {
            return Err("key is not set".to_owned());
        }
        let field =
            message.get_field_by_name(key).ok_or_else(|| format!("there is no field {key:?} for the key"))?;
        if field.kind() != Kind::String
            || field.cardinality() == Cardinality::Repeated
            || field.containing_oneof().is_some()
        {
            return Err(format!("the key must be a plain string field, and {key:?} is not"));
        }
        Ok(Self { topic, key: ident::snake(field.name()) })
    }
}

fn write_event(out: &mut String, message: &MessageDescriptor, event: &EventOptions, scope: &Scope) {
    let _ = write!(
        out,
        "impl {trait_name} for {path} {{\n\
         const TYPE: &'static str = {full:?};\n\
         const TOPIC: &'static str = {topic:?};\n\n\
         fn key(&self) -> &str {{ &self.{key} }}\n}}\n",
        trait_name = scope.import(CORE, "Event"),
        path = ident::path(message),
        full = message.full_name(),
        topic = event.topic,
        key = event.key,
    );
}

/// Writes `Debug` for a message, and for the enums and oneofs in it.
fn write_debug(out: &mut String, message: &MessageDescriptor) {
    let _ = write!(
        out,
        "impl ::core::fmt::Debug for {path} {{\nfn fmt(&self, {FORMATTER} {{\nf.debug_struct({name:?})",
        path = ident::path(message),
        name = ident::camel(message.name()),
    );
    for field in message.fields().filter(|field| real_oneof(field).is_none()) {
        let name = ident::snake(field.name());
        let plain = name.trim_start_matches("r#");
        let value =
            if redacted(&field) { "format_args!(\"***\")".to_owned() } else { format!("self.{name}") };
        let _ = write!(out, ".field({plain:?}, &{value})");
    }
    for oneof in real_oneofs(message) {
        let name = ident::snake(oneof.name());
        let _ = write!(out, ".field({:?}, &self.{name})", name.trim_start_matches("r#"));
    }
    out.push_str(".finish()\n}\n}\n");
    let module = ident::module(Some(message.clone()));
    for oneof in real_oneofs(message) {
        write_oneof_debug(out, &module, &oneof, message);
    }
    for nested in message.child_enums() {
        let _ = write!(
            out,
            "impl ::core::fmt::Debug for {module}{name} {{\n\
             fn fmt(&self, {FORMATTER} {{\nf.write_str(self.as_str_name())\n}}\n}}\n",
            name = ident::camel(nested.name()),
        );
    }
}

fn write_oneof_debug(out: &mut String, module: &str, oneof: &OneofDescriptor, message: &MessageDescriptor) {
    let mut name = ident::camel(oneof.name());
    let taken = message.child_messages().any(|m| ident::camel(m.name()) == name)
        || message.child_enums().any(|e| ident::camel(e.name()) == name);
    if taken {
        name.push_str("OneOf");
    }
    let _ = write!(
        out,
        "impl ::core::fmt::Debug for {module}{name} {{\nfn fmt(&self, {FORMATTER} {{\nmatch self {{\n"
    );
    for field in oneof.fields() {
        let variant = ident::camel(field.name());
        let _ = if redacted(&field) {
            writeln!(out, "Self::{variant}(_) => f.write_str(\"{variant}(***)\"),")
        } else {
            writeln!(out, "Self::{variant}(value) => f.debug_tuple({variant:?}).field(value).finish(),")
        };
    }
    out.push_str("}\n}\n}\n");
}

/// Returns the oneof of a field, unless it is the one that stands for `optional`.
fn real_oneof(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
}

fn real_oneofs(message: &MessageDescriptor) -> impl Iterator<Item = OneofDescriptor> {
    message.oneofs().filter(|oneof| !oneof.is_synthetic())
}
