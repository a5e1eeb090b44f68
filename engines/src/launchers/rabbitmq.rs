//! RabbitMQ, Debian's package (3.10 on Debian 12), with an Erlang port mapper of its own.

use super::{Facts, Launch, Launcher, Site, ask};
use crate::install::Packages;
use anyhow::Result;
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;

/// The port mapper runs in the foreground and in the server's process group: the one that Erlang would start by itself
/// is a daemon and would outlive the engine.
const START: &str = r#"epmd & exec "$0""#;

pub(crate) struct RabbitMq;

impl Launcher for RabbitMq {
    fn facts(&self) -> &'static Facts {
        // Not the program in /usr/sbin, which insists on being root or `rabbitmq` and changes to the latter's data.
        static FACTS: Facts = Facts {
            name: "rabbitmq",
            programs: &["/usr/lib/rabbitmq/bin/rabbitmq-server"],
            packages: Packages::apt(&["rabbitmq-server"]),
            start_limit: Duration::from_secs(90),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn prepare<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            site.write("enabled_plugins", "[].\n")?;
            site.write("rabbitmq.conf", "vm_memory_high_watermark.absolute = 512MB\n").map(drop)
        })
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        let [distribution, mapper] = site.inner_ports.map(|port| port.to_string());
        let launch = Launch::new("sh").args(["-c", START]).arg(&site.program);
        Ok(launch
            .env("HOME", &site.folder)
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", site.folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", site.folder.join("enabled_plugins"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_LOG_BASE", &site.folder)
            .env("RABBITMQ_MNESIA_BASE", site.data())
            .env("RABBITMQ_NODENAME", "banyan@localhost")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", site.port.to_string())
            .env("RABBITMQ_DIST_PORT", distribution)
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("ERL_EPMD_PORT", mapper)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1"))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        // The protocol header of AMQP 0-9-1; the server introduces itself.
        Box::pin(async { ask(site.port, b"AMQP\0\0\x09\x01", b"RabbitMQ").await.map(drop) })
    }

    fn url(&self, port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    }

    fn version(&self, _: &Path) -> Launch {
        // The command `rabbitmqctl version` leaves a port mapper behind.
        Launch::new("dpkg-query").args(["-W", "-f", "${Version}", "rabbitmq-server"])
    }
}
