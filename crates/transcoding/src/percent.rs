//! Percent-decoding (RFC 3986, section 2.1), strict.

use std::borrow::Cow;

/// Decodes a path segment or a query component; `None` if an escape is incomplete or the result is not UTF-8.
pub(crate) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('%') { decode_except(raw, None).map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) }
}

/// Decodes everything but an encoded slash, as `google.api.http` asks for variables of several segments.
pub(crate) fn decode_but_slash(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('%') { decode_except(raw, Some(b'/')).map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) }
}

/// Decodes one name or value of a query, where `+` stands for a space.
pub(crate) fn decode_query(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('+') { decode_except(&raw.replace('+', " "), None).map(Cow::Owned) } else { decode(raw) }
}

/// Encodes one path segment of a template for a document.
pub(crate) fn encode(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=@".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn decode_except(raw: &str, kept: Option<u8>) -> Option<String> {
    let bytes = raw.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            decoded.push(bytes[at]);
            at += 1;
            continue;
        }
        let (high, low) = (hex(*bytes.get(at + 1)?)?, hex(*bytes.get(at + 2)?)?);
        match high << 4 | low {
            byte if Some(byte) == kept => decoded.extend_from_slice(&bytes[at..at + 3]),
            byte => decoded.push(byte),
        }
        at += 3;
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_strictly() {
        assert_eq!(decode("a%2Fb%20%c3%a4").as_deref(), Some("a/b ä"));
        assert_eq!(decode_but_slash("a%2fb%20c").as_deref(), Some("a%2fb c"));
        assert_eq!(encode("a/b ä"), "a%2Fb%20%C3%A4");
        assert_eq!(decode_query("a+b%2B").as_deref(), Some("a b+"));
        for malformed in ["%", "%2", "%zz", "%+1", "%ff"] {
            assert_eq!(decode(malformed), None, "{malformed}");
        }
    }
}
