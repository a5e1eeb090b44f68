//! From `.proto` files to descriptors.

use crate::{Error, Options, Result, comments};
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Compiled contracts.
pub(crate) struct Contracts {
    /// Everything, with the options that prost's own types would drop.
    pub(crate) pool: DescriptorPool,
    /// The files to generate, with their comments, imported ones before those that import them.
    pub(crate) files: Vec<FileDescriptorProto>,
    /// The files that they import.
    pub(crate) imports: Vec<FileDescriptorProto>,
    /// The encoded `FileDescriptorSet` of everything. Of the source it keeps what people read: the comments of contracts.
    pub(crate) descriptors: Vec<u8>,
}

/// Contracts that everybody may import.
const BUNDLED: [(&str, &str); 4] = [
    ("banyan/v1/options.proto", include_str!("../proto/banyan/v1/options.proto")),
    ("google/api/annotations.proto", include_str!("../proto/google/api/annotations.proto")),
    ("google/api/field_behavior.proto", include_str!("../proto/google/api/field_behavior.proto")),
    ("google/api/http.proto", include_str!("../proto/google/api/http.proto")),
];

/// Folders that hold no contracts of their own.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// Compiles every contract below the roots.
///
/// # Errors
/// [`Error::NoContracts`], [`Error::Contract`] or [`Error::Io`].
pub(crate) fn compile(options: &Options) -> Result<Contracts> {
    let mut paths = Vec::new();
    for root in &options.roots {
        find(root, &mut paths)?;
    }
    if paths.is_empty() {
        return Err(Error::NoContracts { roots: options.roots.clone() });
    }
    let mut resolver = ChainFileResolver::new();
    for folder in options.roots.iter().chain(&options.includes) {
        resolver.add(IncludeFileResolver::new(folder.clone()));
    }
    resolver.add(Bundled);
    resolver.add(GoogleFileResolver::new());

    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    for path in &paths {
        compiler.open_file(path).map_err(|error| Error::Contract(format!("{error:?}")))?;
    }
    let own: BTreeSet<String> = compiler
        .files()
        .filter(|f| !f.is_import() && !provided(f.name()))
        .map(|f| f.name().to_owned())
        .collect();
    let descriptors = compiler.include_source_info(false).encode_file_descriptor_set();
    let all = compiler.include_source_info(true).file_descriptor_set().file;
    let descriptors = comments::add(&descriptors, &all)?;
    // A package is one Rust module: what an include adds to a package of the roots belongs to it.
    let packages: BTreeSet<String> =
        all.iter().filter(|file| own.contains(file.name())).map(|file| file.package().to_owned()).collect();
    let (files, imports) = all.into_iter().partition(|file| packages.contains(file.package()));
    Ok(Contracts { pool: compiler.descriptor_pool(), files, imports, descriptors })
}

/// Tells whether a contract is one that Banyan or protobuf provides, also when a root has a copy of it.
pub(crate) fn provided(name: &str) -> bool {
    name.starts_with("google/protobuf/") || BUNDLED.iter().any(|(bundled, _)| *bundled == name)
}

/// Collects the `.proto` files below `folder`, in a stable order.
fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
    let mut entries = entries.map_err(Error::io(folder))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&&*name) {
                find(&path, found)?;
            }
        } else if name.ends_with(".proto") {
            found.push(path);
        }
    }
    Ok(())
}

struct Bundled;

impl FileResolver for Bundled {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match BUNDLED.iter().find(|(bundled, _)| *bundled == name) {
            Some((_, source)) => File::from_source(name, source),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}
