//! The fields of a message, read from its front.

use bytes::{Buf as _, Bytes};

/// Reads big-endian numbers and texts; `None` when the message is too short.
pub(crate) struct Fields(pub(crate) Bytes);

impl Fields {
    pub(crate) fn take(&mut self, count: usize) -> Option<Bytes> {
        (self.0.len() >= count).then(|| self.0.split_to(count))
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|mut b| b.get_u16())
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|mut b| b.get_u32())
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8).map(|mut b| b.get_u64())
    }

    /// Reads what stands before a zero byte.
    pub(crate) fn zero_ended(&mut self) -> Option<Bytes> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let taken = self.0.split_to(end);
        self.0.advance(1);
        Some(taken)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.zero_ended()?.to_vec()).ok()
    }
}
