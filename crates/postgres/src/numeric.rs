//! PostgreSQL's `numeric`, in its binary form: what a SUM or an AVG returns.
//!
//! Four 16-bit numbers (count of digits, weight of the first digit, sign, decimal places) and then the digits, each of them
//! 0 to 9999 (`numeric_send` in PostgreSQL's numeric.c).

use banyan_store::Value;
use std::fmt::Write as _;

const BASE: u64 = 10_000;
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;

/// Reads a number: an integer if it has no decimal places and fits, a real number otherwise; `None` if it is malformed.
pub(crate) fn read(bytes: &[u8]) -> Option<Value> {
    let mut words = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (count, weight, sign, places) = (words.next()?, words.next()? as i16, words.next()?, words.next()?);
    let digits: Vec<u16> = words.collect();
    if digits.len() != usize::from(count) {
        return None;
    }
    match sign {
        0 | NEGATIVE => {}
        NOT_A_NUMBER => return Some(Value::Real(f64::NAN)),
        0xD000 => return Some(Value::Real(f64::INFINITY)),
        0xF000 => return Some(Value::Real(f64::NEG_INFINITY)),
        _ => return None,
    }
    let mut text = String::from(if sign == NEGATIVE { "-0" } else { "0" });
    let digit = |index: i32| usize::try_from(index).ok().and_then(|i| digits.get(i)).copied().unwrap_or(0);
    for index in 0..=i32::from(weight) {
        write!(text, "{:04}", digit(index)).ok()?;
    }
    if places == 0
        && let Ok(whole) = text.parse()
    {
        return Some(Value::Int(whole));
    }
    text.push('.');
    for index in i32::from(weight) + 1..count.into() {
        write!(text, "{:04}", digit(index)).ok()?;
    }
    text.push('0');
    text.parse().ok().map(Value::Real)
}

/// Writes an integer.
pub(crate) fn write(value: i64) -> Vec<u8> {
    let mut digits = Vec::new();
    let mut rest = value.unsigned_abs();
    while rest > 0 {
        digits.insert(0, (rest % BASE) as u16);
        rest /= BASE;
    }
    let count = digits.len() as u16;
    let sign = if value < 0 { NEGATIVE } else { 0 };
    let head = [count, count.saturating_sub(1), sign, 0];
    head.into_iter().chain(digits).flat_map(u16::to_be_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_comes_back() {
        for value in [0, 1, -1, 9_999, 10_000, -10_001, 1_0000_0000, 123_456_789, i64::MAX, i64::MIN] {
            assert_eq!(read(&write(value)), Some(Value::Int(value)));
        }
    }

    #[test]
    fn decimal_places_make_a_real_number() {
        let words = |words: &[u16]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<_>>();
        for (number, value) in [
            // 12345.678, 0.0001, -0.5, 5.00, 10^20
            (words(&[3, 1, 0, 3, 1, 2345, 6780]), 12345.678),
            (words(&[1, 0xFFFF, 0, 4, 1]), 0.0001),
            (words(&[1, 0xFFFF, 0x4000, 1, 5000]), -0.5),
            (words(&[1, 0, 0, 2, 5]), 5.0),
            (words(&[1, 5, 0, 0, 1]), 1e20),
        ] {
            assert_eq!(read(&number), Some(Value::Real(value)), "{value}");
        }
        assert_eq!(read(&words(&[2, 0, 0, 0, 1])), None, "a digit is missing");
        assert_eq!(read(&[0]), None);
    }
}
