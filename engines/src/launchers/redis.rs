//! Redis, Debian's package (7.0 on Debian 12), with its append-only file.

use super::{Facts, Launch, Launcher, Site, ask};
use crate::install::Packages;
use anyhow::Result;
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::time::Duration;

pub(crate) struct Redis;

impl Launcher for Redis {
    fn facts(&self) -> &'static Facts {
        static FACTS: Facts = Facts {
            name: "redis",
            programs: &["/usr/bin/redis-server", "redis-server"],
            packages: Packages::apt(&["redis-server"]),
            start_limit: Duration::from_secs(60),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        let launch =
            Launch::new(&site.program).args(["--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""]);
        let launch = launch.args(["--appendfsync", if site.flushed { "always" } else { "everysec" }]);
        Ok(launch.args(["--port", &site.port.to_string(), "--dir"]).arg(site.data()))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { ask(site.port, b"PING\r\n", b"+PONG").await.map(drop) })
    }

    fn url(&self, port: u16) -> String {
        format!("redis://127.0.0.1:{port}")
    }
}
