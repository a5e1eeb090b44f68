//! The message that every contender carries, and the contract it belongs to.

use anyhow::{Context as _, Result};
use banyan_core::{Error, Payload};
use banyan_rpc::{Idempotency, Kind, MethodInfo};
use bytes::Bytes;
use prost::Message as _;

/// Length of the encoded message.
pub(crate) const BYTES: usize = 305;

pub(crate) const SERVICE: &str = "bench.v1.ParcelService";

pub(crate) static ECHO: MethodInfo = MethodInfo {
    service: SERVICE,
    name: "Echo",
    path: "/bench.v1.ParcelService/Echo",
    kind: Kind::Unary,
    idempotency: Idempotency::Unknown,
};

/// A message with what messages have: strings, a message inside, a list, numbers.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Parcel {
    #[prost(string, tag = "1")]
    parcel_id: String,
    #[prost(string, tag = "2")]
    user_id: String,
    #[prost(message, optional, tag = "3")]
    address: Option<Address>,
    #[prost(message, repeated, tag = "4")]
    items: Vec<Item>,
    #[prost(int64, tag = "5")]
    created_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Address {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    street: String,
    #[prost(string, tag = "3")]
    city: String,
    #[prost(string, tag = "4")]
    postal_code: String,
    #[prost(string, tag = "5")]
    country: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Item {
    #[prost(string, tag = "1")]
    product_id: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(int32, tag = "3")]
    quantity: i32,
    #[prost(int64, tag = "4")]
    price_minor: i64,
}

impl Payload for Parcel {
    fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    fn from_bytes(bytes: &[u8]) -> banyan_core::Result<Self> {
        Self::decode(bytes).map_err(|error| Error::data_loss("not a Parcel").with_source(error))
    }
}

/// Makes the message.
pub(crate) fn parcel() -> Parcel {
    let item = |product_id: &str, name: &str, quantity, price_minor| Item {
        product_id: product_id.to_owned(),
        name: name.to_owned(),
        quantity,
        price_minor,
    };
    Parcel {
        parcel_id: "01938c2e-7a52-7c11-9d0f-5b7a3c1e8f42".to_owned(),
        user_id: "01938c2e-0b1d-7f3a-8e44-d2c9b6a7f015".to_owned(),
        address: Some(Address {
            name: "Ms Ada Lovelace".to_owned(),
            street: "12 St James's Square, second floor".to_owned(),
            city: "London".to_owned(),
            postal_code: "SW1Y 4LB".to_owned(),
            country: "United Kingdom".to_owned(),
        }),
        items: vec![
            item("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, 255),
            item("71053", "WHITE METAL LANTERN", 6, 339),
            item("84406B", "CREAM CUPID HEARTS COAT HANGER", 8, 275),
        ],
        created_ms: 1_291_191_960_000,
    }
}

/// Compiles the contract.
///
/// # Errors
/// If it is not there: the benchmark runs in the checkout it was built in.
pub(crate) fn descriptors() -> Result<&'static [u8]> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/contracts");
    let mut compiler = protox::Compiler::new([folder]).context(folder)?;
    compiler.include_imports(true).open_file("bench/v1/parcel.proto")?;
    Ok(compiler.encode_file_descriptor_set().leak())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_as_long_as_it_says_and_what_its_contract_says() {
        assert_eq!(parcel().encoded_len(), BYTES);
        assert!(descriptors().unwrap().len() > 100);
    }
}
