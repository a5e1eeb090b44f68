//! Two events to play with.

use banyan::prelude::*;
use bytes::Bytes;

macro_rules! text_event {
    ($name:ident, $topic:literal) => {
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $name(pub(crate) String);

        impl Payload for $name {
            fn to_bytes(&self) -> Bytes {
                self.0.clone().into()
            }

            fn from_bytes(bytes: &[u8]) -> Result<Self> {
                String::from_utf8(bytes.to_vec())
                    .map(Self)
                    .map_err(|e| Error::data_loss("no text").with_source(e))
            }
        }

        impl Event for $name {
            const TYPE: &'static str = concat!("test.", stringify!($name));
            const TOPIC: &'static str = $topic;

            fn key(&self) -> &str {
                &self.0
            }
        }
    };
}

text_event!(Noted, "notes");
text_event!(Asked, "questions");
