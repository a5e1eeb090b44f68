//! The comments of contracts in their descriptors: for OpenAPI documents and for who asks by reflection.
//!
//! A compiler's source information says where every token stands, which is several times as long as the descriptors.
//! Only what has a comment is kept.

use crate::compile::provided;
use crate::{Error, Result};
use prost_reflect::prost::Message;
use prost_reflect::prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use prost_types::source_code_info::Location;
use prost_types::{FileDescriptorProto, SourceCodeInfo};

/// `FileDescriptorSet.file`.
const FILE: u32 = 1;

/// Gives the files of an encoded `FileDescriptorSet` the comments of `files`: the same files, with source information.
///
/// The set is taken apart and put together as bytes: prost's own types would lose the options of contracts.
///
/// # Errors
/// [`Error::Contract`] if the set is none.
pub(crate) fn add(descriptors: &[u8], files: &[FileDescriptorProto]) -> Result<Vec<u8>> {
    let broken = || Error::Contract("the compiler made descriptors that cannot be read".to_owned());
    let mut rest = descriptors;
    let mut commented = Vec::with_capacity(descriptors.len() * 2);
    for file in files {
        let (field, wire_type) = decode_key(&mut rest).map_err(|_| broken())?;
        let length = decode_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|_| (field, wire_type) == (FILE, WireType::LengthDelimited));
        let (encoded, after) = length.and_then(|length| rest.split_at_checked(length)).ok_or_else(broken)?;
        rest = after;
        // Two encodings of a message in a row are one encoding of both merged.
        let info = FileDescriptorProto { source_code_info: comments_of(file), ..Default::default() };
        let info = info.encode_to_vec();
        encode_key(FILE, WireType::LengthDelimited, &mut commented);
        encode_varint((encoded.len() + info.len()) as u64, &mut commented);
        commented.extend_from_slice(encoded);
        commented.extend_from_slice(&info);
    }
    if rest.is_empty() { Ok(commented) } else { Err(broken()) }
}

/// Returns the locations that have a comment; none of a file that everybody knows.
fn comments_of(file: &FileDescriptorProto) -> Option<SourceCodeInfo> {
    if provided(file.name()) {
        return None;
    }
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let commented = locations.filter_map(|location| {
        let leading = location.leading_comments.clone();
        let trailing = location.trailing_comments.clone().filter(|_| leading.is_none());
        (leading.is_some() || trailing.is_some()).then(|| Location {
            path: location.path.clone(),
            span: location.span.clone(),
            leading_comments: leading,
            trailing_comments: trailing,
            leading_detached_comments: Vec::new(),
        })
    });
    let location: Vec<Location> = commented.collect();
    (!location.is_empty()).then_some(SourceCodeInfo { location })
}
