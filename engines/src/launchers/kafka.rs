//! Apache Kafka 4 in KRaft mode: one node that is broker and controller, from the jars of Maven Central.

use super::{Facts, Launch, Launcher, Site, run};
use crate::install::Packages;
use anyhow::{Context, Result, ensure};
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the storage tool may take to write an empty data folder's metadata.
const FORMAT_LIMIT: Duration = Duration::from_secs(60);
/// Of this cluster alone, 16 bytes in base64url as Kafka wants them.
const CLUSTER_ID: &str = "YmFueWFuLWVuZ2luZXMtMQ";
/// Names the file with the port of the proxy that the second listener tells its clients.
const PROXY: &str = "proxy.port";
/// A small heap and the quickest start: the engine serves tests and a machine for development.
const JAVA: [&str; 5] =
    ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"];

/// A killed node is taken for dead, and may come back, after its (short) session.
/// One node has one copy of everything; groups form and shrink at once; topics are made by those who need them.
const SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=100
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
initial.broker.registration.timeout.ms=30000
";

const LOGGING: &str = "\
status=error
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
";

pub(crate) struct Kafka;

impl Launcher for Kafka {
    fn facts(&self) -> &'static Facts {
        static FACTS: Facts = Facts {
            name: "kafka",
            programs: &["kafka/kafka_2.13-4.3.1.jar"],
            // The second one is the logging that Kafka's own distribution adds.
            packages: Packages::maven(&[
                "org.apache.kafka:kafka_2.13:4.3.1",
                "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
            ]),
            start_limit: Duration::from_secs(90),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn prepare<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            let (port, [controller, behind]) = (site.port, site.inner_ports);
            let proxy =
                std::fs::read_to_string(site.folder.join(PROXY)).unwrap_or_else(|_| behind.to_string());
            let listeners = format!(
                "listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller}\n\
                 advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxy}\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                 controller.quorum.voters=1@127.0.0.1:{controller}\n\
                 log.dirs={}\n",
                site.data().display()
            );
            let flush = if site.flushed { "log.flush.interval.messages=1\n" } else { "" };
            let settings = site.write("server.properties", &format!("{SETTINGS}{flush}{listeners}"))?;
            site.write("log4j2.properties", LOGGING)?;
            if site.data().join("meta.properties").exists() {
                return Ok(());
            }
            let format = java(&site.program)?.args(["kafka.tools.StorageTool", "format"]);
            let format = format.args(["--cluster-id", CLUSTER_ID, "--config"]).arg(settings);
            run(format, &site.folder, FORMAT_LIMIT).await.map(drop)
        })
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        let mut logging = std::ffi::OsString::from("-Dlog4j2.configurationFile=");
        logging.push(site.folder.join("log4j2.properties"));
        let mut launch = java(&site.program)?;
        // An option of the virtual machine stands before the main class.
        launch.args.insert(0, logging);
        Ok(launch.arg("kafka.Kafka").arg(site.folder.join("server.properties")))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { coordinates(site.port).await })
    }

    fn url(&self, port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    fn proxied_port(&self, site: &Site) -> u16 {
        site.inner_ports[1]
    }

    fn announce(&self, site: &Site, proxy: u16) -> Result<bool> {
        site.write(PROXY, &proxy.to_string()).map(|_| true)
    }

    fn version(&self, program: &Path) -> Launch {
        let jar = program.file_name().unwrap_or_default();
        Launch::new("echo").arg(jar)
    }
}

fn java(jar: &Path) -> Result<Launch> {
    let folder = jar.parent().context("a jar is in a folder")?;
    Ok(Launch::new("java").args(JAVA).arg("-cp").arg(folder.join("*")))
}

/// Asks for the cluster's nodes and topics (a Metadata request, version 1, for no topic): a node that still starts
/// answers with no broker.
async fn coordinates(port: u16) -> Result<()> {
    // Length, API 3, version 1, correlation 1, no client id, no topics.
    let question = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 255, 255, 0, 0, 0, 0];
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(&question).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    let brokers = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    ensure!(brokers == 1, "it knows {brokers} brokers");
    Ok(())
}
