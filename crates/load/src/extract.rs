//! What is read from an answer: by JSON pointer (RFC 6901), where `*` stands for every element of a list, or from a header.

use http::{HeaderMap, HeaderName};
use serde_json::Value;

/// Where a value is read from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum From {
    Pointer(Pointer),
    Header(HeaderName),
}

/// The parts of a JSON pointer, unescaped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pointer(Vec<String>);

impl From {
    /// Reads `/orderId`, `/products/*/productId`, `header:etag`.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("header:") {
            Some(name) => match HeaderName::from_bytes(name.trim().as_bytes()) {
                Ok(name) => Ok(Self::Header(name)),
                Err(_) => Err(format!("{name:?} is no name of a header")),
            },
            None => Pointer::parse(text).map(Self::Pointer),
        }
    }

    /// Reads the value; `None` if it is not there, or a list of nothing.
    pub(crate) fn read(&self, headers: &HeaderMap, body: &Value) -> Option<Value> {
        match self {
            Self::Pointer(pointer) => pointer.read(body),
            Self::Header(name) => Some(Value::from(headers.get(name)?.to_str().ok()?)),
        }
    }
}

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(format!(
                "{text:?} is no JSON pointer; expected for example /orderId, /items/0/id, /items/*/id"
            ));
        }
        Ok(Self(text.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()))
    }

    pub(crate) fn read(&self, body: &Value) -> Option<Value> {
        walk(&self.0, body)
    }
}

fn walk(parts: &[String], value: &Value) -> Option<Value> {
    let Some((first, rest)) = parts.split_first() else { return Some(value.clone()) };
    match value {
        Value::Array(values) if first == "*" => {
            let found: Vec<Value> = values.iter().filter_map(|value| walk(rest, value)).collect();
            (!found.is_empty()).then_some(Value::Array(found))
        }
        Value::Array(values) => walk(rest, values.get(first.parse::<usize>().ok()?)?),
        Value::Object(members) => walk(rest, members.get(first)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pointers_and_headers_are_read() {
        let body = json!({"a": {"b/c": [1, 2]}, "items": [{"id": 7}, {}, {"id": 8}], "none": []});
        let mut headers = HeaderMap::new();
        headers.insert("etag", "\"v1\"".parse().unwrap());
        let read = |text: &str| From::parse(text).unwrap().read(&headers, &body);
        assert_eq!(read("/a/b~1c/1"), Some(json!(2)));
        assert_eq!(read("/items/*/id"), Some(json!([7, 8])));
        assert_eq!(read("/none/*"), None);
        assert_eq!(read("/a/x"), None);
        assert_eq!(read("header:ETag"), Some(json!("\"v1\"")));
        assert_eq!(read("header:other"), None);
        assert_eq!(read("").as_ref(), Some(&body));
        assert!(From::parse("orderId").unwrap_err().contains("/orderId"));
        assert!(From::parse("header:a b").is_err());
    }
}
