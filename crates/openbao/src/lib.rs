//! Secrets from OpenBao: `${openbao:PATH#FIELD}` in a configuration. Vault has the same API.
//!
//! `PATH` is read as the `bao` command reads it: `kv/shop#password` is the field `password` of the newest version of
//! `shop` in the key-value engine `kv`, of version 1 or 2; below any other engine the path is read as it stands, so that
//! `database/creds/orders#username` and `…#password` are one pair of credentials made for this system. They have a lease,
//! which [`OpenBao`] renews as long as the system runs, like its own token.
//!
//! The server is reached as [`OpenBaoOptions`] say, by default those of the `BAO_…` environment variables.

mod answers;
mod examine;
mod leases;
mod options;
mod server;

pub use answers::OPENBAO_REFUSED;
pub use options::{Login, OpenBaoOptions};

use banyan_core::{BoxFuture, Code, Env, Error, Finding, Result};
use banyan_identity::{SECRET_MISSING, Secret, SecretExamination, SecretSource};
use leases::{Lease, Leases};
use server::{Fields, Server};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::Mutex;

/// Reads secrets from OpenBao. It logs in when the first one is read, not before.
pub struct OpenBao {
    env: Env,
    options: Result<OpenBaoOptions>,
    session: Mutex<Option<Session>>,
    leases: Leases,
}

struct Session {
    server: Server,
    /// What was read, by path: fields of one path belong together.
    read: HashMap<String, Fields>,
}

impl OpenBao {
    /// Makes a source that reaches the server as the environment variables say (see [`OpenBaoOptions`]). What is wrong
    /// with them is told when a secret is read.
    pub fn from_environment(env: Env) -> Self {
        Self { options: OpenBaoOptions::from_environment(), ..Self::new(OpenBaoOptions::default(), env) }
    }

    pub fn new(options: OpenBaoOptions, env: Env) -> Self {
        let leases = Leases::new(env.clone());
        Self { env, options: Ok(options), session: Mutex::default(), leases }
    }

    async fn field(&self, reference: &str) -> Result<Secret<String>> {
        let (path, field) = reference
            .split_once('#')
            .filter(|(path, field)| !path.is_empty() && !field.is_empty())
            .ok_or_else(|| missing("a reference to OpenBao is written ${openbao:PATH#FIELD}".to_owned()))?;
        let mut session = self.session.lock().await;
        let session = match &mut *session {
            Some(session) => session,
            none => none.insert(self.log_in().await?),
        };
        if !session.read.contains_key(path) {
            let answer = session.server.read(path).await?;
            if let Some(lease) = answer.lease {
                self.leases.add(Lease::of_secret(path, lease, self.env.clock.now()));
            }
            session.read.insert(path.to_owned(), answer.fields);
        }
        let fields = &session.read[path];
        fields.get(field).cloned().ok_or_else(|| {
            let mut names: Vec<_> = fields.keys().map(String::as_str).collect();
            names.sort_unstable();
            missing(format!("OpenBao has {path}, and in it no text {field:?} but {}", names.join(", ")))
        })
    }

    async fn log_in(&self) -> Result<Session> {
        let options = self.options.clone()?;
        let (server, lease) = Server::log_in(options).await?;
        if let Some(lease) = lease {
            self.leases.add(Lease::of_token(lease, self.env.clock.now()));
        }
        self.leases.renew_at(server.clone());
        Ok(Session { server, read: HashMap::new() })
    }
}

impl SecretSource for OpenBao {
    fn schemes(&self) -> &'static [&'static str] {
        &["openbao", "vault"]
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Secret<String>>> {
        Box::pin(self.field(path))
    }

    fn keep(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.leases.keep())
    }

    fn release(&self, limit: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if tokio::time::timeout(limit, self.leases.release()).await.is_err() {
                let limit_ms = limit.as_millis() as u64;
                tracing::warn!(
                    limit_ms,
                    "OpenBao did not take every lease back in time; they end by themselves"
                );
            }
        })
    }

    fn examine(&self, asked: SecretExamination) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(examine::examine(self.options.clone(), asked))
    }
}

fn missing(message: String) -> Error {
    Error::new(Code::FailedPrecondition, SECRET_MISSING, message)
}
