//! Rust names for protobuf names: the same as prost-build's, which keeps its own to itself.

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_reflect::MessageDescriptor;

/// Keywords of Rust 2024 that can be written as raw identifiers.
const RAW: [&str; 47] = [
    "as", "break", "const", "continue", "else", "enum", "false", "fn", "for", "if", "impl", "in", "let",
    "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static", "struct", "trait", "true",
    "type", "unsafe", "use", "where", "while", "dyn", "abstract", "become", "box", "do", "final", "macro",
    "override", "priv", "typeof", "unsized", "virtual", "yield", "async", "await", "try", "gen",
];

/// Keywords that cannot.
const SUFFIXED: [&str; 6] = ["_", "super", "self", "Self", "extern", "crate"];

/// Returns the name of a field, method or module.
pub(crate) fn snake(name: &str) -> String {
    sanitize(name.to_snake_case())
}

/// Returns the name of a type or variant.
pub(crate) fn camel(name: &str) -> String {
    sanitize(name.to_upper_camel_case())
}

/// Returns the path of a message's type within the module of its package.
pub(crate) fn path(message: &MessageDescriptor) -> String {
    format!("{}{}", module(message.parent_message()), camel(message.name()))
}

/// Returns the path, ending in `::`, of the module for what is nested in `message`; empty for `None`.
pub(crate) fn module(message: Option<MessageDescriptor>) -> String {
    message.map_or_else(String::new, |m| format!("{}{}::", module(m.parent_message()), snake(m.name())))
}

fn sanitize(name: String) -> String {
    if RAW.contains(&name.as_str()) {
        format!("r#{name}")
    } else if SUFFIXED.contains(&name.as_str()) {
        format!("{name}_")
    } else if name.starts_with(|c: char| c.is_numeric()) {
        format!("_{name}")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_stay_usable() {
        assert_eq!(snake("use"), "r#use");
        assert_eq!(snake("self"), "self_");
        assert_eq!(camel("self"), "Self_");
        assert_eq!(snake("2fa"), "_2fa");
        assert_eq!(snake("HTTPRule"), "http_rule");
    }
}
