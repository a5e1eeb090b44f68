//! The server's API over HTTP. Requests are few and block a thread each.

use crate::answers::{Answer, answer};
use crate::options::{Login, OpenBaoOptions};
use banyan_core::{Error, Result};
use banyan_identity::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use zeroize::Zeroizing;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

pub(crate) type Fields = HashMap<String, Secret<String>>;

/// How long something is valid.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    /// Empty for the token itself.
    pub(crate) id: String,
    pub(crate) seconds: u64,
    pub(crate) renewable: bool,
}

/// What was read at a path.
pub(crate) struct Found {
    pub(crate) fields: Fields,
    pub(crate) lease: Option<Term>,
}

/// How a server says that it is.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Health {
    pub(crate) version: String,
    pub(crate) sealed: bool,
    pub(crate) initialized: bool,
    /// In seconds since the Unix epoch.
    pub(crate) server_time_utc: u64,
}

/// A server that knows who asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Server(Arc<Inner>);

struct Inner {
    agent: Agent,
    address: String,
    namespace: Option<String>,
    token: Secret<String>,
    /// Whether the token was made by a login here.
    own_token: bool,
}

impl Server {
    /// Logs in, and returns the term of the token, if it has one.
    pub(crate) async fn log_in(options: OpenBaoOptions) -> Result<(Self, Option<Term>)> {
        let own_token = matches!(options.login, Login::AppRole { .. });
        let with = |token| -> Result<Self> {
            Ok(Self(Arc::new(Inner {
                agent: agent(&options)?,
                address: options.address.trim_end_matches('/').to_owned(),
                namespace: options.namespace.clone(),
                token,
                own_token,
            })))
        };
        match &options.login {
            Login::Token(token) => {
                let server = with(token.clone())?;
                let own = server.get("the token", "auth/token/lookup-self").await?.data.unwrap_or_default();
                let seconds = own.get("ttl").and_then(Value::as_u64).unwrap_or(0);
                let renewable = own.get("renewable").and_then(Value::as_bool).unwrap_or(false);
                // A token without a term is valid for ever.
                let term = (seconds > 0).then_some(Term { id: String::new(), seconds, renewable });
                Ok((server, term))
            }
            Login::AppRole { mount, role_id, secret_id } => {
                let body = json!({"role_id": role_id, "secret_id": secret_id.expose()});
                let path = format!("auth/{mount}/login");
                let nobody = with(Secret::new(String::new()))?;
                let auth = nobody.post("the login by AppRole", &path, body).await?.auth.unwrap_or_default();
                let term =
                    Term { id: String::new(), seconds: auth.lease_duration, renewable: auth.renewable };
                let token = auth
                    .client_token
                    .ok_or_else(|| Error::unavailable("OpenBao answers a login without a token"))?;
                Ok((with(token)?, (term.seconds > 0).then_some(term)))
            }
        }
    }

    /// Makes a server that does not know who asks.
    pub(crate) fn stranger(options: &OpenBaoOptions) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            agent: agent(options)?,
            address: options.address.trim_end_matches('/').to_owned(),
            namespace: options.namespace.clone(),
            token: Secret::new(String::new()),
            own_token: false,
        })))
    }

    /// Asks how the server is; a sealed one or a standby answers as well.
    pub(crate) async fn health(&self) -> Result<Health> {
        let (server, url) = (self.clone(), format!("{}/v1/sys/health", self.0.address));
        let asked = tokio::task::spawn_blocking(move || server.0.send(&url, None));
        let (_, body) = asked.await.map_err(Error::internal)?.map_err(|error| {
            Error::unavailable(format!("OpenBao at {} does not answer: {error}", self.0.address))
        })?;
        let wrong = |_| Error::unavailable(format!("what answers at {} is no OpenBao", self.0.address));
        serde_json::from_slice(&body).map_err(wrong)
    }

    /// Asks what the token may do where the secret of `path` is; returns also what policies call that place.
    pub(crate) async fn capabilities(&self, path: &str) -> Result<(String, Vec<String>)> {
        let versioned = self.versioned_mount(path).await?;
        let api_path = api_path(path, versioned.as_deref());
        let answer = self.post(path, "sys/capabilities-self", json!({"paths": [api_path]})).await?;
        let data = answer.data.unwrap_or_default();
        let all = data.get("capabilities").and_then(Value::as_array).cloned().unwrap_or_default();
        let named = all.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        Ok((api_path, named))
    }

    /// Reads what is at `path`.
    pub(crate) async fn read(&self, path: &str) -> Result<Found> {
        let versioned = self.versioned_mount(path).await?;
        let api_path = api_path(path, versioned.as_deref());
        let answer = self.get(path, &api_path).await?;
        let mut data = answer.data.unwrap_or_default();
        if versioned.is_some() {
            data = match data.remove("data") {
                Some(Value::Object(newest)) => newest,
                // It was deleted.
                _ => Default::default(),
            };
        }
        let texts = data.into_iter().filter_map(|(name, value)| {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                _ => return None,
            };
            Some((name, Secret::new(text)))
        });
        let lease = Term { id: answer.lease_id, seconds: answer.lease_duration, renewable: answer.renewable };
        Ok(Found { fields: texts.collect(), lease: (!lease.id.is_empty()).then_some(lease) })
    }

    /// Prolongs what `term` is the term of, and returns the new one.
    pub(crate) async fn renew(&self, what: &str, term: &Term) -> Result<Term> {
        if term.id.is_empty() {
            let auth = self.post(what, "auth/token/renew-self", json!({})).await?.auth.unwrap_or_default();
            return Ok(Term { seconds: auth.lease_duration, renewable: auth.renewable, ..term.clone() });
        }
        let answer = self.post(what, "sys/leases/renew", json!({"lease_id": term.id})).await?;
        Ok(Term { seconds: answer.lease_duration, renewable: answer.renewable, ..term.clone() })
    }

    /// Ends the lease that `term` is the term of.
    pub(crate) async fn revoke(&self, what: &str, term: &Term) -> Result<()> {
        self.post(what, "sys/leases/revoke", json!({"lease_id": term.id})).await.map(drop)
    }

    /// Ends the token that a login made, and with it all leases that it was granted; `false` if somebody else made it.
    pub(crate) async fn log_out(&self) -> Result<bool> {
        if self.0.own_token {
            self.post("the end of the token", "auth/token/revoke-self", json!({})).await?;
        }
        Ok(self.0.own_token)
    }

    /// Returns where the engine that `path` is in is mounted (`kv/`), if it keeps versions of key-value pairs.
    async fn versioned_mount(&self, path: &str) -> Result<Option<String>> {
        let mount = self.get(path, &format!("sys/internal/ui/mounts/{path}")).await?.data.unwrap_or_default();
        let versioned = mount.get("type").and_then(Value::as_str) == Some("kv")
            && mount.get("options").and_then(|options| options.get("version")?.as_str()) == Some("2");
        Ok(mount.get("path").and_then(Value::as_str).filter(|_| versioned).map(str::to_owned))
    }

    async fn get(&self, what: &str, path: &str) -> Result<Answer> {
        self.ask(what, path, None).await
    }

    async fn post(&self, what: &str, path: &str, body: Value) -> Result<Answer> {
        self.ask(what, path, Some(Zeroizing::new(body.to_string()))).await
    }

    async fn ask(&self, what: &str, path: &str, body: Option<Zeroizing<String>>) -> Result<Answer> {
        let (server, url) = (self.clone(), format!("{}/v1/{path}", self.0.address));
        let asked = tokio::task::spawn_blocking(move || server.0.send(&url, body.as_deref()));
        let (status, body) = asked.await.map_err(Error::internal)?.map_err(|error| {
            Error::unavailable(format!("OpenBao at {} does not answer {what}: {error}", self.0.address))
        })?;
        answer(what, status, &body)
    }
}

impl Inner {
    fn send(&self, url: &str, body: Option<&String>) -> Result<(u16, Zeroizing<Vec<u8>>), ureq::Error> {
        let mut headers = vec![("X-Vault-Request", "true")];
        if !self.token.expose().is_empty() {
            headers.push(("X-Vault-Token", self.token.expose()));
        }
        if let Some(namespace) = &self.namespace {
            headers.push(("X-Vault-Namespace", namespace));
        }
        let mut response = match body {
            None => {
                headers.iter().fold(self.agent.get(url), |r, (name, value)| r.header(*name, *value)).call()?
            }
            Some(body) => {
                let request =
                    headers.iter().fold(self.agent.post(url), |r, (name, value)| r.header(*name, *value));
                request.content_type("application/json").send(body.as_bytes())?
            }
        };
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok((status, Zeroizing::new(body)))
    }
}

/// Returns where the server's API has `path`, which is in an engine of versioned key-value pairs mounted at `versioned`.
fn api_path(path: &str, versioned: Option<&str>) -> String {
    match versioned.and_then(|mount| path.strip_prefix(mount).map(|rest| (mount, rest))) {
        Some((mount, rest)) => format!("{mount}data/{rest}"),
        None => path.to_owned(),
    }
}

fn agent(options: &OpenBaoOptions) -> Result<Agent> {
    let mut config = Agent::config_builder()
        .timeout_global(Some(options.request_max))
        .http_status_as_error(false)
        // A token is sent to the server that was named and to no other.
        .max_redirects(0)
        .proxy(None);
    if options.address.starts_with("https://") {
        let tls = TlsConfig::builder()
            .root_certs(roots(options.ca_file.as_deref())?)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        config = config.tls_config(tls);
    }
    Ok(config.build().new_agent())
}

fn roots(file: Option<&Path>) -> Result<RootCerts> {
    let certificates: Vec<Certificate<'static>> = match file {
        None => {
            let found = rustls_native_certs::load_native_certs();
            found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
        }
        Some(file) => {
            let refused = |why: String| Error::invalid("BAO_CACERT", format!("{}: {why}", file.display()));
            let pem = std::fs::read(file).map_err(|e| refused(e.to_string()))?;
            let items = parse_pem(&pem).map(|item| item.map_err(|e| refused(e.to_string())));
            let items: Vec<_> = items.collect::<Result<_>>()?;
            items
                .into_iter()
                .filter_map(|item| match item {
                    PemItem::Certificate(certificate) => Some(certificate),
                    _ => None,
                })
                .collect()
        }
    };
    Ok(RootCerts::new_with_certs(&certificates))
}
