//! Where secrets are read from when a system starts.

use crate::Secret;
use banyan_core::{BoxFuture, Check, Code, Env, Error, Finding, Reason, Result};
use std::io::Read;
use std::time::Duration;
use zeroize::Zeroize;

/// A secret that the configuration refers to is not there.
pub const SECRET_MISSING: Reason = Reason::new("SECRET_MISSING");

/// Longest secret that is read, in bytes.
pub const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Reads secrets by reference: `${scheme:path}` in the configuration is `read(path)` of the source with that scheme.
pub trait SecretSource: Send + Sync + 'static {
    /// Returns the schemes it answers for, in lower case, for example `env`.
    fn schemes(&self) -> &'static [&'static str];

    /// Reads the secret at `path`, what follows the scheme and its colon.
    ///
    /// # Errors
    /// `SECRET_MISSING` if there is none; what reaching the source fails with. No error says any part of a secret.
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Secret<String>>>;

    /// Keeps what was read valid, for as long as the future is polled: renews leases. Where one cannot be renewed any more, it reads
    /// the secret anew, which [`SecretSource::read`] returns from then on, and calls `replaced`. By default there is nothing to
    /// do.
    fn keep<'a>(&'a self, replaced: &'a (dyn Fn() + Send + Sync)) -> BoxFuture<'a, ()> {
        let _ = replaced;
        Box::pin(std::future::ready(()))
    }

    /// Gives back what was read when the system ends: revokes leases. What the source does not take back within `limit` ends by
    /// itself later. By default there is nothing to do.
    fn release(&self, limit: Duration) -> BoxFuture<'_, ()> {
        let _ = limit;
        Box::pin(std::future::ready(()))
    }

    /// Looks whether the secrets that are `asked` for can be read, and says what to do where they cannot. No finding says
    /// any part of a secret. By default each of them is read.
    fn examine(&self, asked: SecretExamination) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async move {
            let mut findings = Vec::with_capacity(asked.paths.len());
            for path in &asked.paths {
                findings.push(match self.read(path).await {
                    Ok(_) => Finding::ok(Check::Reachable, path, "can be read"),
                    Err(error) => Finding::of_error(Check::Reachable, path, &error, "make the secret there"),
                });
            }
            findings
        })
    }
}

/// What a source of secrets is examined for.
#[derive(Clone, Debug)]
pub struct SecretExamination {
    /// The secrets that the configuration refers to: each a path, as [`SecretSource::read`] takes it.
    pub paths: Vec<String>,
    pub env: Env,
    /// How long the whole may take; what is still asked then is dropped.
    pub limit: Duration,
}

/// Reads `${env:NAME}`: environment variables of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvironmentSecrets;

impl SecretSource for EnvironmentSecrets {
    fn schemes(&self) -> &'static [&'static str] {
        &["env"]
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Secret<String>>> {
        Box::pin(std::future::ready(environment(path)))
    }

    fn examine(&self, asked: SecretExamination) -> BoxFuture<'_, Vec<Finding>> {
        let look = |name: &String| match environment(name) {
            Ok(_) => Finding::ok(Check::Configuration, name, "is set"),
            Err(error) => Finding::of_error(Check::Configuration, name, &error, format!("export {name}='…'")),
        };
        Box::pin(std::future::ready(asked.paths.iter().map(look).collect()))
    }
}

fn environment(name: &str) -> Result<Secret<String>> {
    let value = std::env::var(name).map(Secret::new);
    value.map_err(|error| match error {
        std::env::VarError::NotPresent => missing(format!("the environment variable {name} is not set")),
        // The cause would show the value.
        std::env::VarError::NotUnicode(_) => missing(format!("the environment variable {name} is not UTF-8")),
    })
}

/// Reads `${file:/path}`: a file with the secret and nothing else; one line break at its end is not part of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSecrets;

impl SecretSource for FileSecrets {
    fn schemes(&self) -> &'static [&'static str] {
        &["file"]
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Secret<String>>> {
        let path = path.to_owned();
        Box::pin(
            async move { tokio::task::spawn_blocking(move || file(&path)).await.map_err(Error::internal)? },
        )
    }

    fn examine(&self, asked: SecretExamination) -> BoxFuture<'_, Vec<Finding>> {
        let look = |path: String| match file(&path) {
            Ok(_) => Finding::ok(Check::Configuration, path, "can be read"),
            Err(error) => {
                let next =
                    format!("write the secret there, readable for this user: install -m 600 FILE {path}");
                Finding::of_error(Check::Configuration, path, &error, next)
            }
        };
        Box::pin(async move {
            let looked = move || asked.paths.into_iter().map(look).collect::<Vec<_>>();
            tokio::task::spawn_blocking(looked).await.unwrap_or_default()
        })
    }
}

fn file(path: &str) -> Result<Secret<String>> {
    let refused = |why: &dyn std::fmt::Display| missing(format!("the file {path} cannot be read: {why}"));
    let file = std::fs::File::open(path).map_err(|e| refused(&e))?;
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| refused(&e))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        bytes.zeroize();
        return Err(refused(&format_args!("it has more than {SECRET_BYTES_MAX} bytes")));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        error.into_bytes().zeroize();
        refused(&"it is not UTF-8")
    })?;
    let kept = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).len();
    text.truncate(kept);
    Ok(Secret::new(text))
}

fn missing(message: String) -> Error {
    Error::new(Code::FailedPrecondition, SECRET_MISSING, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_variable_is_a_secret() {
        let here = EnvironmentSecrets.read("CARGO_MANIFEST_DIR").await.unwrap();
        assert_eq!(here.expose(), env!("CARGO_MANIFEST_DIR"));
        let error = EnvironmentSecrets.read("BANYAN_TEST_UNSET").await.unwrap_err();
        assert!(error.is(SECRET_MISSING) && error.message().contains("BANYAN_TEST_UNSET"), "{error}");
    }

    #[tokio::test]
    async fn a_file_is_a_secret_without_its_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        for (name, content, secret) in
            [("a", "hunter2\n", "hunter2"), ("b", "a\r\n", "a"), ("c", "x \n\n", "x \n"), ("d", "", "")]
        {
            std::fs::write(path(name), content).unwrap();
            assert_eq!(FileSecrets.read(&path(name)).await.unwrap().expose(), secret);
        }
    }

    #[tokio::test]
    async fn an_unreadable_file_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("long"), "hunter2".repeat(10_000)).unwrap();
        std::fs::write(path("bytes"), b"hunter2\xff").unwrap();
        for name in ["absent", "long", "bytes"] {
            let error = FileSecrets.read(&path(name)).await.unwrap_err();
            assert!(error.is(SECRET_MISSING) && error.message().contains(&path(name)), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
