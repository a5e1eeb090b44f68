//! Reads the few fields the auditor needs out of an encoded `shop.orders.v1.OrderPlaced`, by their published numbers
//! (<https://protobuf.dev/programming-guides/encoding/>). Written by hand, so that a mistake of the services' decoder
//! cannot hide here as well.

use crate::facts::Line;

/// A message that ends too early, or has a wire type that protobuf 3 does not use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Reads the lines (field 3) of an `OrderPlaced`.
pub(crate) fn lines(placed: &[u8]) -> Result<Vec<Line>, Malformed> {
    let mut lines = Vec::new();
    for (number, value) in fields(placed)? {
        if let (3, Value::Bytes(line)) = (number, value) {
            lines.push(line_item(line)?);
        }
    }
    Ok(lines)
}

/// Reads a `shop.types.v1.LineItem`: product_id 1, quantity 3, total 5.
fn line_item(bytes: &[u8]) -> Result<Line, Malformed> {
    let mut line = Line { product_id: String::new(), quantity: 0, total: 0 };
    for (number, value) in fields(bytes)? {
        match (number, value) {
            (1, Value::Bytes(text)) => {
                line.product_id = String::from_utf8(text.to_vec()).map_err(|_| Malformed)?
            }
            (3, Value::Number(quantity)) => line.quantity = quantity.cast_signed(),
            (5, Value::Bytes(money)) => line.total = minor_units(money)?,
            _ => {}
        }
    }
    Ok(line)
}

/// Reads `minor_units` (field 2) of a `shop.types.v1.Money`.
fn minor_units(bytes: &[u8]) -> Result<i64, Malformed> {
    let mut amount = 0;
    for (number, value) in fields(bytes)? {
        if let (2, Value::Number(units)) = (number, value) {
            amount = units.cast_signed();
        }
    }
    Ok(amount)
}

fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Malformed> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            1 => Value::Bytes(take(&mut bytes, 8)?),
            2 => {
                let length = varint(&mut bytes)?;
                Value::Bytes(take(&mut bytes, usize::try_from(length).map_err(|_| Malformed)?)?)
            }
            5 => Value::Bytes(take(&mut bytes, 4)?),
            _ => return Err(Malformed),
        };
        fields.push((key >> 3, value));
    }
    Ok(fields)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(bytes, 1)? else { return Err(Malformed) };
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// order_id "o", one line of 300 pieces of "85123A" for 76,500 pence, flow 1: the bytes protoc makes of it.
    const PLACED: &[u8] = &[
        0x0a, 1, b'o', 0x1a, 0x15, 0x0a, 6, b'8', b'5', b'1', b'2', b'3', b'A', 0x18, 0xac, 0x02, 0x2a, 0x08,
        0x0a, 2, b'G', b'B', 0x10, 0xd4, 0xd5, 0x04, 0x38, 0x01,
    ];

    #[test]
    fn lines_are_read_by_their_field_numbers() {
        let expected = Line { product_id: "85123A".to_owned(), quantity: 300, total: 76_500 };
        assert_eq!(lines(PLACED), Ok(vec![expected]));
        assert_eq!(lines(&[]), Ok(vec![]));
    }

    #[test]
    fn a_torn_message_is_malformed_and_never_a_panic() {
        for end in [2, 4, 10, 16, 20, 25, 27] {
            assert_eq!(lines(&PLACED[..end]), Err(Malformed), "{end} bytes");
        }
        assert_eq!(lines(&[0x0b]), Err(Malformed), "a group");
        assert_eq!(lines(&[0x80; 11]), Err(Malformed), "an endless number");
    }
}
