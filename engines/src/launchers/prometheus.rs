//! Prometheus, with native histograms and exemplars, scraping what stands in its folder.

use super::{Facts, Launch, Launcher, Site, ask};
use crate::install::Packages;
use anyhow::{Context, Result};
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::time::Duration;

/// Folders of an instance whose files are read while it runs: scrape targets and Alertmanagers as JSON of
/// `[{"targets": ["HOST:PORT"]}]`, and rules.
const FOLDERS: [&str; 3] = ["targets", "alertmanagers", "rules"];

/// Quick, for trials: what is looked at was true a second ago.
const CONFIGURATION: &str = "\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: ['rules/*.yml']
alerting:
  alertmanagers:
    - file_sd_configs: [{files: ['alertmanagers/*.json'], refresh_interval: 1s}]
scrape_configs:
  - job_name: banyan
    file_sd_configs: [{files: ['targets/*.json'], refresh_interval: 1s}]
";

pub(crate) struct Prometheus;

impl Launcher for Prometheus {
    fn facts(&self) -> &'static Facts {
        static FACTS: Facts = Facts {
            name: "prometheus",
            programs: &["prometheus"],
            packages: Packages::apt(&["prometheus"]),
            start_limit: Duration::from_secs(60),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn prepare<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            for name in FOLDERS {
                let folder = site.folder.join(name);
                std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
            }
            if site.folder.join("prometheus.yml").is_file() {
                return Ok(());
            }
            site.write("prometheus.yml", CONFIGURATION).map(drop)
        })
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        let address = format!("127.0.0.1:{}", site.port);
        let launch = Launch::new(&site.program).arg("--config.file").arg(site.folder.join("prometheus.yml"));
        Ok(launch
            .arg("--storage.tsdb.path")
            .arg(site.data())
            .args(["--web.listen-address", &address, "--web.enable-lifecycle"])
            .args(["--enable-feature", "native-histograms,exemplar-storage"]))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { ask(site.port, b"GET /-/ready HTTP/1.0\r\n\r\n", b" 200 ").await.map(drop) })
    }

    fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }
}
