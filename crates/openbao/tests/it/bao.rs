//! A server of its own for each test, and its administrator.

use anyhow::{Result, ensure};
use banyan_engines::{Engine, Kind, OPENBAO_TOKEN, Options};
use banyan_identity::Secret;
use banyan_openbao::Login;
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

pub(crate) struct Bao {
    engine: Engine,
    agent: Agent,
    _folder: TempDir,
}

impl Bao {
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let engine = Engine::start(Kind::OpenBao, Options::in_folder(folder.path())).await?;
        let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();
        Ok(Self { engine, agent, _folder: folder })
    }

    pub(crate) fn url(&self) -> &str {
        self.engine.url()
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.engine.stop().await
    }

    pub(crate) async fn pause(&self) -> Result<()> {
        self.engine.pause().await
    }

    pub(crate) async fn write(&self, path: &str, body: Value) -> Result<Value> {
        let (agent, url) = (self.agent.clone(), format!("{}/v1/{path}", self.url()));
        let asked = tokio::task::spawn_blocking(move || {
            let mut answer =
                agent.post(&url).header("X-Vault-Token", OPENBAO_TOKEN).send(body.to_string())?;
            let text = answer.body_mut().read_to_string()?;
            ensure!(answer.status().is_success(), "{url}: {} {text}", answer.status());
            Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
        });
        asked.await?
    }

    /// Makes a role that may read `paths`, whose tokens are valid for `term`, and returns its login.
    pub(crate) async fn role(&self, paths: &[&str], term: &str) -> Result<Login> {
        let rules = paths.iter().map(|path| format!("path \"{path}\" {{ capabilities = [\"read\"] }}"));
        let policy = rules.collect::<Vec<_>>().join("\n");
        self.write("sys/policies/acl/shop", json!({"policy": policy})).await?;
        self.write("sys/auth/approle", json!({"type": "approle"})).await?;
        let role = json!({"token_policies": "shop", "token_ttl": term, "token_max_ttl": "1h"});
        self.write("auth/approle/role/shop", role).await?;
        let role_id = self.read("auth/approle/role/shop/role-id").await?;
        let secret_id = self.write("auth/approle/role/shop/secret-id", json!({})).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Login::AppRole {
            mount: "approle".to_owned(),
            role_id: text(&role_id["data"]["role_id"]),
            secret_id: Secret::new(text(&secret_id["data"]["secret_id"])),
        })
    }

    /// Lists the leases below a path.
    pub(crate) async fn leases(&self, path: &str) -> Result<Vec<Value>> {
        let listed = self.read(&format!("sys/leases/lookup/{path}?list=true")).await?;
        Ok(listed["data"]["keys"].as_array().cloned().unwrap_or_default())
    }

    async fn read(&self, path: &str) -> Result<Value> {
        let (agent, url) = (self.agent.clone(), format!("{}/v1/{path}", self.url()));
        let asked = tokio::task::spawn_blocking(move || {
            let text =
                agent.get(&url).header("X-Vault-Token", OPENBAO_TOKEN).call()?.body_mut().read_to_string()?;
            Ok(serde_json::from_str(&text)?)
        });
        asked.await?
    }
}
