//! What can be wrong with contracts, or with the files made from them.

use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why nothing was generated, or why the check failed. The text is for the author of the contract.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to generate from.
    #[error("there is no .proto file in {}", .roots.iter().map(|r| r.display().to_string()).collect::<Vec<_>>().join(", "))]
    NoContracts { roots: Vec<PathBuf> },

    /// A contract is not valid protobuf; the text has file, line and column.
    #[error("{0}")]
    Contract(String),

    /// The option `(banyan.v1.event)` of a message cannot work.
    #[error("{file}: message {message}: option (banyan.v1.event): {problem}")]
    Event { file: String, message: String, problem: String },

    /// A contract uses a message of a package that is imported but not generated.
    #[error(
        "{file}: {user} uses {used}, but package {package} is not generated here: add its folder to the roots, \
         or name the Rust module it is generated in (Options::externs)"
    )]
    NotGenerated { file: String, user: String, used: String, package: String },

    /// A method takes or returns a well-known type itself.
    #[error(
        "{file}: method {method} takes or returns {used} itself, which is not supported (google.protobuf.Empty \
         is): give it a message with a field of that type"
    )]
    WellKnownType { file: String, method: String, used: String },

    /// Generated code is not Rust: two names of a contract became the same, or the generator is wrong.
    #[error("the code generated for package {package:?} is not valid Rust: {source}")]
    Unparsable { package: String, source: syn::Error },

    /// The committed files are not what the contracts say.
    #[error(
        "the generated code in {} is not what the contracts say; run `{command}`. Differing: {}",
        .out_dir.display(),
        .files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Drift { out_dir: PathBuf, files: Vec<PathBuf>, command: String },

    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
