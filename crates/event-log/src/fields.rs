//! The binary encoding of fields that records, dead letters and replies share: little-endian integers,
//! length-prefixed strings and bytes.

use banyan_core::Envelope;
use bytes::Bytes;

/// Longest string of an envelope (id, key, …).
pub(crate) const STRING_BYTES_MAX: usize = u16::MAX as usize;

/// Writes an envelope without its topic.
pub(crate) fn put_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    put_u64(out, envelope.time_ms);
    for text in strings(envelope) {
        put_string(out, text);
    }
    put_bytes(out, &envelope.payload);
}

/// Returns the strings of an envelope in their stored order.
pub(crate) fn strings(envelope: &Envelope) -> [&str; 7] {
    [
        &envelope.id,
        &envelope.event_type,
        &envelope.source,
        &envelope.key,
        &envelope.correlation_id,
        &envelope.traceparent,
        &envelope.reply_to,
    ]
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes a string of at most [`STRING_BYTES_MAX`] bytes.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() <= STRING_BYTES_MAX, "the caller checks or cuts");
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

/// Reads fields from the front of a byte slice; `None` when it is too short.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(crate) fn string(&mut self) -> Option<String> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        String::from_utf8(self.take(usize::from(length))?.to_vec()).ok()
    }

    /// Reads an envelope of `topic`.
    pub(crate) fn envelope(&mut self, topic: &str) -> Option<Envelope> {
        Some(Envelope {
            time_ms: self.u64()?,
            id: self.string()?,
            event_type: self.string()?,
            source: self.string()?,
            key: self.string()?,
            correlation_id: self.string()?,
            traceparent: self.string()?,
            reply_to: self.string()?,
            payload: Bytes::copy_from_slice(self.bytes()?),
            topic: topic.to_owned(),
        })
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }
}

/// Writes an envelope with its topic.
pub(crate) fn put_whole_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    put_string(out, &envelope.topic);
    put_envelope(out, envelope);
}

/// Reads what [`put_whole_envelope`] wrote.
pub(crate) fn read_whole_envelope(fields: &mut Fields<'_>) -> Option<Envelope> {
    let topic = fields.string()?;
    fields.envelope(&topic)
}
