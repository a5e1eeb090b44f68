//! Compiles the contracts the tests are about.

use banyan_transcoding::{Match, RouteMatch, Transcoder};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
use std::path::PathBuf;
use std::sync::OnceLock;

const INCLUDES: [&str; 2] = ["tests/proto", "../codegen/proto"];

/// Compiles files below `tests/proto`, with their imports and comments.
pub(crate) fn compile(files: &[&str]) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new(INCLUDES.map(|include| root.join(include))).unwrap();
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files).unwrap();
    compiler.encode_file_descriptor_set()
}

/// Compiles one file given as text, named `test.proto`.
pub(crate) fn compile_text(source: &str) -> Vec<u8> {
    struct Text(String);
    impl FileResolver for Text {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            if name == "test.proto" {
                File::from_source(name, &self.0)
            } else {
                Err(protox::Error::file_not_found(name))
            }
        }
    }
    let mut resolver = ChainFileResolver::new();
    resolver.add(Text(source.to_owned()));
    resolver.add(IncludeFileResolver::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(INCLUDES[1])));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_files(["test.proto"]).unwrap();
    compiler.encode_file_descriptor_set()
}

/// Returns the transcoder of `test.v1.Library`.
pub(crate) fn library() -> &'static Transcoder {
    static LIBRARY: OnceLock<Transcoder> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        Transcoder::new(&[&compile(&["test/v1/library.proto"])], &["test.v1.Library"]).unwrap()
    })
}

/// Routes a request that must have a route.
pub(crate) fn found(http_method: &str, path: &str) -> Match {
    match library().route(http_method, path) {
        RouteMatch::Found(matched) => matched,
        other => panic!("{http_method} {path}: {other:?}"),
    }
}
