//! One form for a value, whatever engine it was read from: what digests are made of.

use crate::catalog::Column;
use crate::kind::Kind;
use banyan_store::Value;

/// What is left out of a column's values when they are compared, by both its columns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Form {
    /// Spaces at the end, which one of the engines does not keep.
    padded: bool,
    /// Zeros at the end of fractions of seconds, which engines show or not.
    cast: bool,
}

impl Form {
    pub(crate) fn of(one: &Column, other: &Column) -> Self {
        let cast = |column: &Column| matches!(column.kind, Kind::Cast(_));
        Self { padded: one.padded || other.padded, cast: cast(one) || cast(other) }
    }
}

/// Adds the canonical form of `value` to `out`: no two values have the same, and none is the beginning of another.
pub(crate) fn write(value: &Value, column: &Column, form: Form, out: &mut Vec<u8>) {
    let tagged = |out: &mut Vec<u8>, tag: u8, bytes: &[u8]| {
        out.push(tag);
        out.extend((bytes.len() as u64).to_be_bytes());
        out.extend(bytes);
    };
    match value {
        Value::Null => out.push(b'0'),
        Value::Int(v) => tagged(out, b'n', v.to_string().as_bytes()),
        Value::TooLarge(v) => tagged(out, b'n', v.to_string().as_bytes()),
        Value::Real(v) => tagged(out, b'n', number(*v).as_bytes()),
        Value::Text(text) => match decimal(text).filter(|_| column.kind == Kind::Decimal) {
            Some(number) => tagged(out, b'n', number.as_bytes()),
            None => tagged(out, b's', trimmed(text, form).as_bytes()),
        },
        Value::Blob(bytes) => tagged(out, b's', bytes),
        // Values may come to have more kinds; a copy of one that it does not know must not look verified.
        _ => tagged(out, b'?', format!("{value:?}").as_bytes()),
    }
}

fn trimmed(text: &str, form: Form) -> &str {
    let text = if form.padded { text.trim_end_matches(' ') } else { text };
    match form.cast && text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

/// Writes a number with as many digits as tell it from its neighbours, without an exponent.
pub(crate) fn number(value: f64) -> String {
    // The sign of zero is not kept by every engine.
    if value == 0.0 { "0".to_owned() } else { value.to_string() }
}

/// Writes a decimal number without zeros that mean nothing; `None` if it is none.
pub(crate) fn decimal(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + places.len() == 0 || !all_digits(whole) || !all_digits(places) {
        return None;
    }
    let (whole, places) = (whole.trim_start_matches('0'), places.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match (whole, places) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, places) => format!("{sign}{whole}.{places}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form() {
        for (text, form) in [
            ("007.50", "7.5"),
            ("-0.00", "0"),
            ("+12", "12"),
            (".5", "0.5"),
            ("-100", "-100"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(decimal(text).as_deref(), Some(form), "{text}");
        }
        for text in ["", ".", "1e5", "x", "--1", "1.2.3"] {
            assert_eq!(decimal(text), None, "{text}");
        }
        assert_eq!((number(-0.0), number(0.1), number(5.0)), ("0".into(), "0.1".into(), "5".into()));
    }
}
