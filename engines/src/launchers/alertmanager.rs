//! Alertmanager, alone, which shows its alerts and tells nobody.

use super::{Facts, Launch, Launcher, Site, ask};
use crate::install::Packages;
use anyhow::Result;
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::time::Duration;

const CONFIGURATION: &str = "\
route: {receiver: nobody, group_by: ['...'], group_wait: 1s, group_interval: 1s}
receivers: [{name: nobody}]
";

pub(crate) struct Alertmanager;

impl Launcher for Alertmanager {
    fn facts(&self) -> &'static Facts {
        static FACTS: Facts = Facts {
            name: "alertmanager",
            // Debian gives it a longer name.
            programs: &["prometheus-alertmanager", "alertmanager"],
            packages: Packages::apt(&["prometheus-alertmanager"]),
            start_limit: Duration::from_secs(60),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn prepare<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            if site.folder.join("alertmanager.yml").is_file() {
                return Ok(());
            }
            site.write("alertmanager.yml", CONFIGURATION).map(drop)
        })
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        let address = format!("127.0.0.1:{}", site.port);
        let launch =
            Launch::new(&site.program).arg("--config.file").arg(site.folder.join("alertmanager.yml"));
        Ok(launch
            .arg("--storage.path")
            .arg(site.data())
            // Without an address for a cluster it looks for no others.
            .args(["--web.listen-address", &address, "--cluster.listen-address", ""]))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { ask(site.port, b"GET /-/ready HTTP/1.0\r\n\r\n", b" 200 ").await.map(drop) })
    }

    fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }
}
