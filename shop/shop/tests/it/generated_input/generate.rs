//! Requests made from the OpenAPI document: some good, some nearly good, some nonsense.

use crate::support::Ask;
use banyan::core::Rng;
use http::Method;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How deep a generated value is nested at most.
const DEPTH_MAX: u32 = 5;
/// Items in a generated list at most.
const ITEMS_MAX: u64 = 4;

/// Something that the document says can be asked.
#[derive(Clone)]
pub(super) struct Operation {
    method: Method,
    /// With `{parameters}`.
    path: String,
    query: Vec<(String, Value)>,
    /// The schema of the body, if there is one.
    body: Option<Value>,
    schemas: Arc<Map<String, Value>>,
}

/// Texts to draw from.
pub(super) struct Words {
    /// A product, a customer, and two of his orders.
    known: Vec<String>,
}

/// Reads the operations out of an OpenAPI document.
pub(super) fn operations(document: &Value) -> Vec<Operation> {
    let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let schemas = Arc::new(schemas);
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, described) in methods.as_object().into_iter().flatten() {
            let parameters = described["parameters"].as_array().cloned().unwrap_or_default();
            let query = parameters.iter().filter(|parameter| parameter["in"] == "query");
            operations.push(Operation {
                method: method.to_uppercase().parse().expect("the document names methods"),
                path: path.clone(),
                query: query
                    .map(|p| (p["name"].as_str().unwrap_or_default().to_owned(), p["schema"].clone()))
                    .collect(),
                body: described.pointer("/requestBody/content/application~1json/schema").cloned(),
                schemas: schemas.clone(),
            });
        }
    }
    operations
}

impl Words {
    /// Draws from `known`, which mean something to the shop, and from what is difficult.
    pub(super) fn new(known: Vec<String>) -> Self {
        Self { known }
    }

    pub(super) fn any(&self, rng: &Rng) -> String {
        const DIFFICULT: [&str; 28] = [
            "",
            " ",
            "0",
            "-1",
            "null",
            "true",
            "{}",
            "tok_visa",
            "tok_declined",
            "GBP",
            "United Kingdom",
            "someone@example.com",
            "nobody@",
            "'; DROP TABLE orders; --",
            "%00",
            "\0",
            "\u{202e}",
            "é\u{301}",
            "🪔🪔🪔",
            "../../etc/passwd",
            "2026-01-01T00:00:00Z",
            "9999-99-99T99:99:99Z",
            "SALES_GROUP_DAY",
            "9223372036854775807",
            "-9223372036854775809",
            "1e400",
            "NaN",
            "{order_id}",
        ];
        match rng.below(8) {
            0..3 => self.known[rng.below(self.known.len() as u64) as usize].clone(),
            3..7 => DIFFICULT[rng.below(DIFFICULT.len() as u64) as usize].to_owned(),
            _ => "x".repeat(rng.below(3_000) as usize),
        }
    }

    /// A text that fits a field of this name.
    fn fitting(&self, name: &str, rng: &Rng) -> String {
        match name {
            "email" => format!("generated-{}@example.com", rng.below(1_000)),
            "password" => "long enough for all".to_owned(),
            "cardToken" => ["tok_visa", "tok_declined", "tok_error"][rng.below(3) as usize].to_owned(),
            "currencyCode" => "GBP".to_owned(),
            "pageToken" | "page_token" | "category" => String::new(),
            "minorUnits" => (1 + rng.below(1_000)).to_string(),
            "productId" | "product_id" => self.known[0].clone(),
            "userId" | "user_id" => self.known[1].clone(),
            "orderId" | "order_id" => self.known[2 + rng.below(2) as usize].clone(),
            "service" => "orders".to_owned(),
            "from" | "to" | "updatedAt" => format!("20{:02}-06-01T00:00:00Z", 10 + rng.below(20)),
            "reason" | "query" | "name" | "street" | "city" | "postalCode" | "country" => {
                format!("word {}", rng.below(50))
            }
            _ => self.any(rng),
        }
    }
}

impl Operation {
    /// Makes a request. Most of it fits, so that the rest is looked at.
    pub(super) fn request(&self, rng: &Rng, words: &Words) -> Ask {
        let spoil = rng.below(3) != 0;
        let mut ask = Ask::new(self.method.clone(), self.uri(rng, words, spoil && rng.below(3) == 0));
        if rng.below(4) == 0 {
            ask = ask.key(&format!("key {}", rng.below(20)));
        }
        let Some(schema) = &self.body else { return ask };
        let mut body = self.fitting(schema, "", rng, words, 0);
        if !spoil {
            return ask.json(&body);
        }
        match rng.below(10) {
            0 => body = nonsense(rng, words, 0),
            1 => return ask.text(cut(&body.to_string(), rng)),
            2 => return ask.text(noise(&body.to_string(), rng)),
            _ => {
                for _ in 0..=rng.below(2) {
                    mutate(&mut body, rng, words);
                }
            }
        }
        ask.json(&body)
    }

    fn uri(&self, rng: &Rng, words: &Words, spoil: bool) -> String {
        let mut uri = String::new();
        let mut rest = self.path.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').expect("a parameter ends");
            let name = name.rsplit('.').next().unwrap_or(name);
            let value = match spoil {
                true => words.any(rng),
                // A problem's, not a customer's.
                false if self.path.starts_with("/errors/") => "INVALID_FIELD".to_owned(),
                false => words.fitting(name, rng),
            };
            uri += before;
            uri += &encode(&value);
            rest = after;
        }
        uri += rest;
        for (n, (name, schema)) in self.query.iter().filter(|_| rng.below(2) == 0 || !spoil).enumerate() {
            let value = match spoil && rng.below(2) == 0 {
                true => nonsense(rng, words, DEPTH_MAX),
                false => self.fitting(schema, name, rng, words, 0),
            };
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            uri += &format!("{}{name}={}", if n == 0 { '?' } else { '&' }, encode(&text));
        }
        uri
    }

    /// Makes a value that a schema permits.
    fn fitting(&self, schema: &Value, name: &str, rng: &Rng, words: &Words, depth: u32) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let named = reference.rsplit('/').next().and_then(|named| self.schemas.get(named));
            return named.map_or(Value::Null, |schema| self.fitting(schema, name, rng, words, depth + 1));
        }
        if depth > DEPTH_MAX {
            return Value::Null;
        }
        if let Some(values) = schema["enum"].as_array() {
            // The first one is UNSPECIFIED.
            return values[1 + rng.below(values.len() as u64 - 1) as usize].clone();
        }
        match schema["type"].as_str() {
            Some("object") => {
                let fields = schema["properties"].as_object().into_iter().flatten();
                fields
                    .map(|(name, schema)| (name.clone(), self.fitting(schema, name, rng, words, depth + 1)))
                    .collect::<Map<_, _>>()
                    .into()
            }
            Some("array") => json!([self.fitting(&schema["items"], name, rng, words, depth + 1)]),
            Some("integer") => json!(1 + rng.below(50)),
            Some("number") => json!(rng.unit()),
            Some("boolean") => json!(rng.below(2) == 0),
            _ if schema["format"] == "int64" => json!(words.number(name, rng)),
            _ => json!(words.fitting(name, rng)),
        }
    }
}

impl Words {
    fn number(&self, name: &str, rng: &Rng) -> String {
        match name {
            "minPriceMinor" => "1".to_owned(),
            _ => (1 + rng.below(1_000)).to_string(),
        }
    }
}

/// Any JSON at all.
fn nonsense(rng: &Rng, words: &Words, depth: u32) -> Value {
    const NUMBERS: [f64; 6] = [-1.0, 0.5, 1e19, -1e300, 2_147_483_648.0, 100_001.0];
    let kinds = if depth < DEPTH_MAX { 8 } else { 6 };
    match rng.below(kinds) {
        0 => Value::Null,
        1 => json!(rng.below(2) == 0),
        2 => json!(NUMBERS[rng.below(NUMBERS.len() as u64) as usize]),
        3 => json!(rng.u64().cast_signed()),
        4 | 5 => json!(words.any(rng)),
        6 => (0..rng.below(ITEMS_MAX)).map(|_| nonsense(rng, words, depth + 1)).collect::<Vec<_>>().into(),
        _ => {
            let fields = (0..rng.below(ITEMS_MAX)).map(|_| (words.any(rng), nonsense(rng, words, depth + 1)));
            fields.collect::<Map<_, _>>().into()
        }
    }
}

/// Changes one thing in a value: somewhere in it a field is lost, strange, doubled or of another type.
fn mutate(value: &mut Value, rng: &Rng, words: &Words) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let chosen =
                fields.keys().nth(rng.below(fields.len() as u64) as usize).cloned().unwrap_or_default();
            match rng.below(6) {
                0 => drop(fields.remove(&chosen)),
                1 => drop(fields.insert(words.any(rng), nonsense(rng, words, 2))),
                2 => drop(fields.insert(chosen, nonsense(rng, words, 1))),
                _ => mutate(&mut fields[&chosen], rng, words),
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let chosen = rng.below(items.len() as u64) as usize;
            match rng.below(4) {
                0 => drop(items.swap_remove(chosen)),
                1 => items.push(items[chosen].clone()),
                _ => mutate(&mut items[chosen], rng, words),
            }
        }
        other => *other = nonsense(rng, words, 1),
    }
}

/// Cuts a text off somewhere.
fn cut(text: &str, rng: &Rng) -> Vec<u8> {
    text.as_bytes()[..rng.below(text.len() as u64) as usize].to_vec()
}

/// Changes some octets of a text.
fn noise(text: &str, rng: &Rng) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=rng.below(3) {
        let at = rng.below(bytes.len() as u64) as usize;
        bytes[at] = rng.u64().to_le_bytes()[0];
    }
    bytes
}

/// Percent-encodes what a path segment or a query value cannot hold (RFC 3986).
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}
