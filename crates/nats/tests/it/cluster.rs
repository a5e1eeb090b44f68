//! Three servers that keep every stream three times, and one after the other is killed.

use super::harness;
use banyan_core::{BoxFuture, Env};
use banyan_engines::{Kind, free_ports, install};
use banyan_event_log::EventLog;
use banyan_event_log::conformance::{self, Faults, Harness, Site};
use banyan_nats::{NatsLog, NatsOptions};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// How long servers may take to agree on their leaders.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A server with arguments of its own. It dies with this process, or when it is dropped.
pub(super) struct Server {
    pub(super) port: u16,
    arguments: Vec<String>,
    child: Mutex<Child>,
}

impl Server {
    /// Starts a server on a free port.
    pub(super) async fn start(arguments: &[String]) -> Self {
        let [port] = free_ports().unwrap();
        Self::start_on(port, arguments).await
    }

    async fn start_on(port: u16, arguments: &[String]) -> Self {
        let child = Mutex::new(spawn(port, arguments).await);
        let server = Self { port, arguments: arguments.to_vec(), child };
        server.ready().await;
        server
    }

    async fn kill(&self) {
        self.child.lock().await.kill().await.unwrap();
    }

    async fn restart(&self) {
        *self.child.lock().await = spawn(self.port, &self.arguments).await;
        self.ready().await;
    }

    async fn ready(&self) {
        let listens = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START_LIMIT, listens).await.expect("the server listens");
    }
}

async fn spawn(port: u16, arguments: &[String]) -> Child {
    let program = install(Kind::Nats).await.unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).args(["-a", "127.0.0.1", "-p", &port.to_string()]);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

/// Three servers that know each other.
struct Cluster {
    servers: Vec<Server>,
    turn: AtomicUsize,
    _folder: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let routes = free_ports::<3>().unwrap().map(|port| format!("nats://127.0.0.1:{port}"));
        let mut servers = Vec::new();
        for (at, route) in routes.iter().enumerate() {
            let arguments = Self::arguments(folder.path(), at, route, &routes);
            servers.push(Server::start(&arguments).await);
        }
        Self { servers, turn: AtomicUsize::new(0), _folder: folder }
    }

    fn arguments(folder: &Path, at: usize, route: &str, routes: &[String]) -> Vec<String> {
        let data = folder.join(format!("server-{at}")).display().to_string();
        let name = format!("server-{at}");
        let routes = routes.join(",");
        ["-js", "-sd", &data, "-n", &name, "-cluster_name", "test", "-cluster", route, "-routes", &routes]
            .map(str::to_owned)
            .to_vec()
    }

    async fn connect(&self) -> Arc<dyn EventLog> {
        let urls: Vec<_> = self.servers.iter().map(|s| format!("nats://127.0.0.1:{}", s.port)).collect();
        let options = NatsOptions { replicas: 3, ..NatsOptions::new(urls.join(",")) };
        let connected = async {
            loop {
                // Until the servers have found each other there is no JetStream.
                match NatsLog::connect(options.clone(), Env::default()).await {
                    Ok(log) => return log,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        Arc::new(tokio::time::timeout(START_LIMIT, connected).await.expect("the servers agree"))
    }
}

/// One server of three is killed at a time: the others go on.
impl Faults for Cluster {
    fn cut(&self) {
        panic!("servers are killed here, no connections cut")
    }

    fn cut_answers_after(&self, _: u64) {
        self.cut();
    }

    fn hold(&self) {
        self.cut();
    }

    fn release(&self) {
        self.cut();
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let at = self.turn.fetch_add(1, Ordering::SeqCst) % self.servers.len();
            self.servers[at].kill().await;
            // Long enough that leaders are elected and work goes on without it.
            tokio::time::sleep(Duration::from_secs(3)).await;
        })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let killed = (self.turn.load(Ordering::SeqCst) + self.servers.len() - 1) % self.servers.len();
            self.servers[killed].restart().await;
        })
    }

    fn slow_disk(&self, _: Duration) -> BoxFuture<'_, ()> {
        panic!("servers are killed here, their disks are fast")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_killed_servers() {
    let cluster = Cluster::start().await;
    let log = cluster.connect().await;
    let site = Site { faults: Arc::new(cluster), witness: Arc::clone(&log), publish_limit: None };
    let harness = Harness { site: Some(site), ..harness(log) };
    conformance::what_was_acknowledged_survives_a_killed_engine(harness).await;
}
