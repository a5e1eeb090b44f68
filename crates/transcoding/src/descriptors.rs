//! Merges encoded file descriptor sets into one pool.

use banyan_core::{Error, Result};
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};
use std::collections::HashMap;

/// Reads `sets`; a file may occur in several of them, as long as it defines the same.
///
/// # Errors
/// `InvalidArgument` that names the set, and the file if it contradicts an earlier set.
pub(crate) fn merge(sets: &[&[u8]]) -> Result<DescriptorPool> {
    let mut pool = DescriptorPool::new();
    let mut known: HashMap<String, FileDescriptorProto> = HashMap::new();
    for (index, set) in sets.iter().enumerate() {
        let refuse = |why: String| Error::invalid(format!("descriptors[{index}]"), why);
        let files = FileDescriptorSet::decode(*set).map_err(|error| refuse(error.to_string()))?;
        for file in files.file {
            let name = file.name().to_owned();
            // Protobuf's own files come with each compiler, in its version; all versions get along.
            if name.starts_with("google/protobuf/") {
                continue;
            }
            let definitions = definitions(file);
            // The pool keeps the first file of a name and would say nothing.
            if known.get(&name).is_some_and(|first| *first != definitions) {
                return Err(refuse(format!("{name} differs from the file of this name in an earlier set")));
            }
            known.insert(name, definitions);
        }
        pool.decode_file_descriptor_set(*set)
            .map_err(|error| refuse(error.to_string()).with_source(error))?;
    }
    Ok(pool)
}

/// Leaves out what differs between compilers and has no meaning here: comments and the options of a file.
fn definitions(file: FileDescriptorProto) -> FileDescriptorProto {
    FileDescriptorProto { options: None, source_code_info: None, syntax: None, ..file }
}
