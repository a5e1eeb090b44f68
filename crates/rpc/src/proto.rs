//! Protobuf messages that are written by hand, as payloads.

use banyan_core::{Error, Payload, Result};
use bytes::Bytes;

/// Carries a prost message that is not generated, and so is not a [`Payload`] itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Proto<M>(pub(crate) M);

impl<M: prost::Message + Default + Clone + 'static> Payload for Proto<M> {
    fn to_bytes(&self) -> Bytes {
        self.0.encode_to_vec().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let decoded = M::decode(bytes).map(Self);
        decoded.map_err(|error| Error::data_loss("the bytes are not such a message").with_source(error))
    }
}
