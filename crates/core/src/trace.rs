//! W3C trace context (<https://www.w3.org/TR/trace-context/>).

use crate::Rng;

/// The position of a call in a distributed trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: u128,
    pub span_id: u64,
    pub sampled: bool,
}

impl TraceContext {
    /// Starts a new, sampled trace.
    pub fn root(rng: &Rng) -> Self {
        let trace_id = (u128::from(rng.u64()) << 64) | u128::from(rng.u64() | 1);
        Self { trace_id, span_id: rng.u64() | 1, sampled: true }
    }

    /// Returns the context of a child span.
    pub fn child(&self, rng: &Rng) -> Self {
        Self { span_id: rng.u64() | 1, ..*self }
    }

    /// Writes the `traceparent` header.
    pub fn to_header(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }

    /// Reads a `traceparent` header; `None` if it is not valid.
    pub fn from_header(value: &str) -> Option<Self> {
        let mut parts = value.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lowercase_hex = |s: &str, len: usize| {
            s.len() == len && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let valid = lowercase_hex(version, 2)
            && version != "ff"
            && (version != "00" || parts.next().is_none())
            && lowercase_hex(trace, 32)
            && lowercase_hex(span, 16)
            && lowercase_hex(flags, 2);
        if !valid {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok()?;
        let span_id = u64::from_str_radix(span, 16).ok()?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_survives_its_header() {
        let trace = TraceContext::root(&Rng::seeded(1));
        assert_eq!(TraceContext::from_header(&trace.to_header()), Some(trace));
    }

    #[test]
    fn what_the_specification_forbids_is_refused() {
        for bad in [
            "",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_eq!(TraceContext::from_header(bad), None, "{bad}");
        }
    }
}
