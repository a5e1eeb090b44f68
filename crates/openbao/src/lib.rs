//! Secrets from OpenBao: `${openbao:PATH#FIELD}` in a configuration. Vault has the same API.
//!
//! `PATH` is read as the `bao` command reads it: `kv/shop#password` is the field `password` of the newest version of
//! `shop` in the key-value engine `kv`, of version 1 or 2; below any other engine the path is read as it stands, so that
//! `database/creds/orders#username` and `…#password` are one pair of credentials made for this system. They have a lease,
//! which [`OpenBao`] renews as long as the system runs, like its own token. At the end of their longest life (`max_ttl`) it
//! asks for new ones, and says so: stores connect with them.
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
use leases::{Granted, Lease, Leases, Next};
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
        Self { env, options: Ok(options), session: Mutex::default(), leases: Leases::default() }
    }

    async fn field(&self, reference: &str) -> Result<Secret<String>> {
        let (path, field) = reference
            .split_once('#')
            .filter(|(path, field)| !path.is_empty() && !field.is_empty())
            .ok_or_else(|| missing("a reference to OpenBao is written ${openbao:PATH#FIELD}".to_owned()))?;
        let mut session = self.session.lock().await;
        let session = match &mut *session {
            Some(session) => session,
            none => none.insert(Session { server: self.log_in().await?, read: HashMap::new() }),
        };
        if !session.read.contains_key(path) {
            self.read_anew(session, path).await?;
        }
        let fields = &session.read[path];
        fields.get(field).cloned().ok_or_else(|| {
            let mut names: Vec<_> = fields.keys().map(String::as_str).collect();
            names.sort_unstable();
            missing(format!("OpenBao has {path}, and in it no text {field:?} but {}", names.join(", ")))
        })
    }

    /// Reads what is at `path` now; credentials are made for it.
    async fn read_anew(&self, session: &mut Session, path: &str) -> Result<()> {
        let answer = session.server.read(path).await?;
        if let Some(term) = answer.lease {
            let granted = Granted::Secret(path.to_owned());
            self.leases.add(Lease::new(granted, term, self.env.clock.now()));
        }
        session.read.insert(path.to_owned(), answer.fields);
        Ok(())
    }

    /// Logs in. What a token before was granted ends with it, and so is replaced.
    async fn log_in(&self) -> Result<Server> {
        let (server, term) = Server::log_in(self.options.clone()?).await?;
        let now = self.env.clock.now();
        self.leases.token_replaced(now);
        if let Some(term) = term {
            self.leases.add(Lease::new(Granted::Token, term, now));
        }
        Ok(server)
    }

    /// Renews each lease at half of its term, and replaces those that cannot be renewed any more. Never ends.
    async fn keep_leases(&self, replaced: &(dyn Fn() + Send + Sync)) {
        let clock = &self.env.clock;
        loop {
            for lease in self.leases.due(|| clock.now()).await {
                let what = lease.granted.told();
                let done = match lease.next {
                    Next::Renew => self.renew(&lease, &what).await,
                    Next::Replace => self.replace(&lease, replaced).await,
                    Next::End => Ok(()),
                };
                if let Err(error) = done {
                    let left_s = lease.left(clock.now()).as_secs();
                    match lease.next {
                        Next::Replace if left_s == 0 => {
                            tracing::error!(what, %error, "OpenBao did not replace what has ended; it is asked again");
                        }
                        _ => {
                            tracing::warn!(what, left_s, %error, "OpenBao did not prolong it; it is asked again")
                        }
                    }
                    self.leases.failed(&lease, clock.now());
                }
            }
        }
    }

    async fn renew(&self, lease: &Lease, what: &str) -> Result<()> {
        let Some(server) = self.session.lock().await.as_ref().map(|session| session.server.clone()) else {
            return Ok(());
        };
        match server.renew(what, &lease.term).await {
            Ok(term) => self.leases.renewed(lease, term, self.env.clock.now()),
            // It is known no more, or may not be renewed.
            Err(error) if error.is(OPENBAO_REFUSED) => {
                tracing::warn!(what, %error, "OpenBao does not renew it; another one takes its place");
                self.leases.replace(lease, self.env.clock.now());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn replace(&self, lease: &Lease, replaced: &(dyn Fn() + Send + Sync)) -> Result<()> {
        let mut session = self.session.lock().await;
        let Some(session) = session.as_mut() else { return Ok(()) };
        let left_s = lease.left(self.env.clock.now()).as_secs();
        match &lease.granted {
            Granted::Token => self.replace_token(session, lease, left_s).await?,
            Granted::Secret(path) => {
                match self.read_anew(session, path).await {
                    // The token may have ended, or have been taken back.
                    Err(error) if error.is(OPENBAO_REFUSED) && self.may_log_in() => {
                        session.server = self.log_in().await?;
                        self.read_anew(session, path).await?;
                    }
                    outcome => outcome?,
                }
                self.leases.end(lease);
                tracing::info!(path, left_s, "OpenBao made new credentials; those before end by themselves");
                replaced();
            }
        }
        Ok(())
    }

    async fn replace_token(&self, session: &mut Session, lease: &Lease, left_s: u64) -> Result<()> {
        if !self.may_log_in() {
            let next = "make another one, and start the system anew with it in BAO_TOKEN";
            tracing::error!(
                left_s,
                next,
                "OpenBao renews the token no more, and all that it was granted ends with it"
            );
            self.leases.end(lease);
            return Ok(());
        }
        session.server = self.log_in().await?;
        tracing::info!(left_s, "logged in to OpenBao anew; the token before ends by itself");
        Ok(())
    }

    /// Tells whether another token can be had without a person.
    fn may_log_in(&self) -> bool {
        self.options.as_ref().is_ok_and(|options| matches!(options.login, Login::AppRole { .. }))
    }

    /// Gives everything back: a token that was made here ends with all that it was granted; otherwise each lease.
    async fn give_back(&self) {
        let Some(server) = self.session.lock().await.as_ref().map(|session| session.server.clone()) else {
            return;
        };
        match server.log_out().await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "OpenBao did not take the token back; it ends by itself"),
        }
        for lease in self.leases.take_secrets() {
            let what = lease.granted.told();
            if let Err(error) = server.revoke(&what, &lease.term).await {
                tracing::warn!(what, %error, "OpenBao did not take it back; it ends by itself");
            }
        }
    }
}

impl SecretSource for OpenBao {
    fn schemes(&self) -> &'static [&'static str] {
        &["openbao", "vault"]
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Secret<String>>> {
        Box::pin(self.field(path))
    }

    fn keep<'a>(&'a self, replaced: &'a (dyn Fn() + Send + Sync)) -> BoxFuture<'a, ()> {
        Box::pin(self.keep_leases(replaced))
    }

    fn release(&self, limit: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if tokio::time::timeout(limit, self.give_back()).await.is_err() {
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
