//! What is wrong with a configuration, and where.

use super::origin::Origin;
use super::redact;
use super::tree::join;
use banyan_core::{Code, Error, FieldViolation, Reason, suggestion};
use serde::de;
use std::fmt;

/// The configuration is wrong: an unknown key, a value of another type, a bound that is not kept.
pub const CONFIG_INVALID: Reason = Reason::new("CONFIG_INVALID");

/// Something wrong, found while values were typed. It gets its key and origin on the way out.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// The key, as far as it is known.
    pub(crate) key: String,
    /// Where the value, or the unknown key, was set.
    pub(crate) origin: Option<Origin>,
    problem: String,
    /// The problem may quote the value.
    quotes: bool,
}

impl Mistake {
    /// Makes one whose text quotes no value.
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { key: String::new(), origin: None, problem: problem.into(), quotes: false }
    }

    fn quoting(problem: String) -> Self {
        Self { quotes: true, ..Self::new(problem) }
    }

    /// Notes that it was found below `name`, at `origin` unless a closer one is known.
    pub(crate) fn below(mut self, name: Option<&str>, origin: &Origin) -> Self {
        if let Some(name) = name {
            if self.quotes && self.key.is_empty() && redact::is_secret_name(name) {
                self.problem = "this is no value that the setting takes".to_owned();
            }
            self.key = if self.key.is_empty() { name.to_owned() } else { format!("{name}.{}", self.key) };
        }
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }

    /// Makes an error for the configuration's user; `prefix` is the key of what was being typed.
    pub(crate) fn into_error(self, prefix: &str) -> Error {
        let key = match (prefix, self.key.as_str()) {
            ("", "") => "config".to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => join(prefix, key),
        };
        invalid(key, &self.problem, self.origin.as_ref())
    }
}

/// Refuses a key of the configuration, saying where it was set.
pub(crate) fn invalid(key: impl Into<String>, problem: &str, origin: Option<&Origin>) -> Error {
    refusal(Code::InvalidArgument, CONFIG_INVALID, key.into(), problem, origin)
}

/// Makes an error of any reason about a key of the configuration.
pub(crate) fn refusal(
    code: Code,
    reason: Reason,
    key: String,
    problem: &str,
    origin: Option<&Origin>,
) -> Error {
    let at = match origin {
        None | Some(Origin::Default) => String::new(),
        Some(origin) => format!(" ({origin})"),
    };
    let violation = FieldViolation { field: key, description: format!("{problem}{at}") };
    let message = format!("{}: {}", violation.field, violation.description);
    Error::new(code, reason, message).with_violation(violation)
}

/// Says what a value must be, for a type or what a visitor expects, in the words of who writes a configuration.
fn wanted(expected: &str) -> String {
    match expected {
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" | "u64" | "usize" | "u128" => "a whole number of 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" => "a whole number".to_owned(),
        "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => {
            "a whole number of 1 or more".to_owned()
        }
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        expected if expected.starts_with("struct ") => "a table".to_owned(),
        expected => expected.to_owned(),
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::quoting(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            // A URL where its section is expected, for example.
            de::Unexpected::Str(text) => format!("the text {:?}", redact::url(text)),
            de::Unexpected::Bool(value) => value.to_string(),
            de::Unexpected::Unsigned(number) => number.to_string(),
            de::Unexpected::Signed(number) => number.to_string(),
            de::Unexpected::Float(number) => number.to_string(),
            de::Unexpected::Seq => "a list".to_owned(),
            de::Unexpected::Map | de::Unexpected::StructVariant => "a table".to_owned(),
            other => other.to_string(),
        };
        Self::quoting(format!("must be {}, and is {found}", wanted(&expected.to_string())))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        // The key itself is added where it was read.
        Self::new(format!("there is no such key; {}", suggestion(field, expected.iter().copied())))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::quoting(format!(
            "{variant:?} is not a choice; {}",
            suggestion(variant, expected.iter().copied())
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the key {field} is missing"))
    }
}
