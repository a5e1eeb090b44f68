//! The example `counter_system` as a running program: its processes, its callers, its end.

use crate::contract::{ADD, Amount, CALLER, COUNTER, GET, HEARD, ORDER};
use banyan::event_log::EventLog;
use banyan::rpc::{Channel, Directory, Endpoint, MethodInfo, Target};
use banyan_control::contract::{
    ControlServiceClient, Destination, GetSystemRequest, MoveServiceRequest, MoveServiceResponse,
    ProcessStatus, ReloadConfigRequest, ReloadConfigResponse, SystemStatus,
};
use banyan_control::{RemoteLog, RunFile, root};
use banyan_core::{Context, Env, Identity, Result};
use banyan_testkit::{eventually, until};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// How long a caller's request may take, with all its waits.
const CALL_MAX: Duration = Duration::from_secs(60);
/// How long events may take to arrive.
const HEAR_MAX: Duration = Duration::from_secs(60);
/// How long a program may take to end.
pub(crate) const END_MAX: Duration = Duration::from_secs(60);

/// A running system in a folder of its own.
pub(crate) struct Running {
    program: Child,
    pub(crate) run: RunFile,
    folder: TempDir,
}

/// A data folder for a system, with its configuration.
pub(crate) struct Setup(TempDir);

impl Setup {
    /// Prepares a system with these lines in its configuration.
    pub(crate) fn new(config: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let text = format!("data = {:?}\n{config}", folder.path().join("data"));
        std::fs::write(folder.path().join("banyan.toml"), text).unwrap();
        Self(folder)
    }

    /// Gives this system a file of its own for its program, which a test may replace.
    pub(crate) fn with_own_program(self) -> Self {
        std::fs::copy(example(), own_program(self.0.path())).unwrap();
        self
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// Starts the program; it may not be ready, and may fail.
    pub(crate) fn spawn(&self) -> Child {
        spawn(self.0.path())
    }

    /// Returns what the programs of this system have logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.0.path().join("log")).unwrap()
    }

    /// Returns the ids of all processes that log for this system.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let log = self.0.path().join("log");
        let pids = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/fd/2")).is_ok_and(|to| to == log)).collect()
    }

    /// Starts the system and waits until it serves.
    pub(crate) async fn start(self) -> Running {
        let mut program = self.spawn();
        let run = eventually("the system to be ready", async || {
            assert!(program.try_wait().unwrap().is_none(), "it ended:\n{}", self.log());
            RunFile::read(&self.data()).ok().filter(|run| Some(run.pid) == program.id())
        });
        let run = run.await;
        Running { program, run, folder: self.0 }
    }
}

/// Where a system may have a file of its own for its program.
fn own_program(folder: &Path) -> PathBuf {
    folder.join("counter_system")
}

/// Returns the program as it was built: in the folder of the examples, beside this test's own binary in `deps`.
fn example() -> PathBuf {
    let program = std::env::current_exe().unwrap().parent().unwrap().join("../examples/counter_system");
    assert!(program.exists(), "{} is missing: `cargo test -p banyan-control` builds it", program.display());
    program
}

fn spawn(folder: &Path) -> Child {
    let program = Some(own_program(folder)).filter(|own| own.exists()).unwrap_or_else(example);
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(program)
        .arg("run")
        .arg(folder.join("banyan.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

impl Running {
    pub(crate) async fn start(config: &str) -> Self {
        Setup::new(config).start().await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.run.pid
    }

    /// Returns a channel to the contract service `name`, by way of the address that never changes.
    pub(crate) fn channel(&self, name: &str) -> Channel {
        let directory = Directory::new(&Env::default());
        directory.set(name, Target::Remote(vec![Endpoint::new(&self.run.url).unwrap()]));
        directory.channel(name)
    }

    pub(crate) fn counter(&self) -> Channel {
        self.channel(COUNTER)
    }

    pub(crate) fn control(&self) -> ControlServiceClient {
        root::client_at(&Env::default(), &self.run.peer_secret, &self.run.control_address).unwrap()
    }

    pub(crate) async fn status(&self) -> SystemStatus {
        self.control().get_system(&context(), GetSystemRequest {}).await.unwrap()
    }

    /// Writes other lines into the configuration, and has the system read it.
    pub(crate) async fn reload(&self, config: &str) -> Result<ReloadConfigResponse> {
        let text = format!("data = {:?}\n{config}", self.data());
        std::fs::write(self.folder.path().join("banyan.toml"), text).unwrap();
        let request = ReloadConfigRequest { cause: "a test".into() };
        self.control().reload_config(&context(), request).await
    }

    /// Puts another file in the place of the program of this system, as a build does.
    pub(crate) fn replace_program(&self, with: &[u8]) {
        let program = own_program(self.folder.path());
        std::fs::remove_file(&program).unwrap();
        std::fs::write(program, with).unwrap();
    }

    /// Returns how the process `name` is: its id is 0 while it is started.
    pub(crate) async fn process(&self, name: &str) -> ProcessStatus {
        let processes = self.status().await.processes;
        processes.into_iter().find(|p| p.process == name).unwrap_or_default()
    }

    /// Returns the process id of the process `name`, once it is ready.
    pub(crate) async fn ready(&self, name: &str) -> u32 {
        eventually("the process to be ready", async || {
            let processes = self.status().await.processes;
            processes.into_iter().find(|p| p.process == name && p.state == "READY").map(|p| p.pid)
        })
        .await
    }

    /// Waits until every service serves where it belongs, and returns where `counter` is.
    pub(crate) async fn settled(&self) -> Vec<String> {
        eventually("all services to serve", async || {
            let services = self.status().await.services;
            let all = services.iter().all(|s| s.state == "READY");
            all.then(|| services.into_iter().find(|s| s.service == "counter").unwrap().processes)
        })
        .await
    }

    pub(crate) async fn move_counter(&self, to: &str) -> Result<MoveServiceResponse> {
        self.move_counter_to(to, Destination::Unspecified).await
    }

    pub(crate) async fn move_counter_to(
        &self,
        to: &str,
        destination: Destination,
    ) -> Result<MoveServiceResponse> {
        let (service, process) = ("counter".into(), to.into());
        let request = MoveServiceRequest { service, process, destination: destination.into() };
        self.control().move_service(&context(), request).await
    }

    pub(crate) async fn count(&self, name: &str) -> i64 {
        self.read(&GET, name).await
    }

    async fn read(&self, method: &'static MethodInfo, name: &str) -> i64 {
        let request = Amount { name: name.to_owned(), number: 0 };
        self.counter().unary::<_, Amount>(&context(), method, request).await.unwrap().number
    }

    /// Returns how much was counted in all.
    pub(crate) async fn counted(&self) -> i64 {
        let mut counted = 0;
        for name in NAMES {
            counted += self.count(name).await;
        }
        counted
    }

    /// Asserts that exactly `total` was counted in all, and heard of.
    pub(crate) async fn assert_counted(&self, total: i64) {
        assert_eq!(self.counted().await, total, "nothing is lost or doubled\n{}", self.log());
        let hearing = async {
            loop {
                let mut heard = 0;
                for name in NAMES {
                    heard += self.read(&HEARD, name).await;
                }
                assert!(heard <= total, "{heard} of {total} heard: something was heard twice");
                if heard == total {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(HEAR_MAX, hearing).await.is_err() {
            let log = RemoteLog::new(
                root::client_at(&Env::default(), &self.run.peer_secret, &self.run.control_address).unwrap(),
                "test",
                Env::default(),
            );
            let (groups, topics) = (log.groups().await, log.topics().await);
            panic!("not everything is heard of: {groups:#?}\n{topics:#?}\n{}", self.log());
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Starts the program again on the same folder.
    pub(crate) fn spawn_second(&self) -> Child {
        spawn(self.folder.path())
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the ids of all processes of the system.
    pub(crate) async fn pids(&self) -> Vec<u32> {
        self.status().await.processes.iter().map(|p| p.pid).filter(|pid| *pid != 0).collect()
    }

    /// Kills the root and returns what is left: the folder.
    pub(crate) async fn kill_root(mut self) -> Setup {
        self.program.kill().await.unwrap();
        Setup(self.folder)
    }

    /// Has the system drain and end.
    pub(crate) async fn stop(mut self) -> (ExitStatus, Setup) {
        signal("TERM", self.pid()).await;
        let ended = tokio::time::timeout(END_MAX, self.program.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end\n{}", self.log())).unwrap();
        (status, Setup(self.folder))
    }

    /// Drains the system, and asserts that nothing of it is left.
    pub(crate) async fn end(self) {
        let pids = self.pids().await;
        let (status, setup) = self.stop().await;
        assert!(status.success(), "{status}\n{}", setup.log());
        for pid in pids {
            assert!(is_gone(pid), "process {pid} outlived its system");
        }
    }
}

pub(crate) fn context() -> Context {
    Context::new(&Env::default(), Identity::service("test")).with_timeout(CALL_MAX)
}

/// Sends a signal to a process.
pub(crate) async fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .stderr(Stdio::null())
        .status()
        .await;
    // A process that is gone already needs no signal.
    assert!(sent.unwrap().success() || is_gone(pid), "{pid} could not be sent {name}");
}

/// Tells whether a process has ended. One that nobody has waited for yet has ended too.
pub(crate) fn is_gone(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // "pid (name) state …", and a name may have anything in it.
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Returns the seed of this run: `BANYAN_SEED`, or a new one.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("BANYAN_SEED").ok().and_then(|text| text.parse().ok());
    seed.unwrap_or_else(|| Env::default().rng.u64())
}

/// The counters that callers add to.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Whether callers accept that a call fails.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Failures {
    /// None may fail.
    Never,
    /// One that fails is made again with its key until it succeeds.
    Repeat,
}

/// Callers that add one again and again, each time under a key of its own.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    added: Arc<AtomicI64>,
    failed: Arc<AtomicU64>,
    callers: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(system: &Running, callers: usize, failures: Failures) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            added: Arc::default(),
            failed: Arc::default(),
            callers: JoinSet::new(),
        };
        let env = Env::default();
        for _ in 0..callers {
            let (ways, name) = ([(system.channel(CALLER), &ORDER), (system.counter(), &ADD)], env.new_id());
            let (stop, added, failed) = (load.stop.clone(), load.added.clone(), load.failed.clone());
            load.callers.spawn(async move {
                for number in 0usize.. {
                    let request = Amount { name: NAMES[number % NAMES.len()].to_owned(), number: 1 };
                    let key = format!("{name}/{number}");
                    // By way of another service, and straight.
                    let (channel, method) = &ways[number % ways.len()];
                    while let Err(error) = add(channel, method, &key, request.clone()).await {
                        assert!(failures == Failures::Repeat, "a call failed: {error:?}");
                        failed.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    added.fetch_add(1, Ordering::SeqCst);
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
        load
    }

    /// Waits until `count` more calls have succeeded.
    pub(crate) async fn flows(&mut self, count: i64) {
        let wanted = self.added.load(Ordering::SeqCst) + count;
        let flowing = async {
            let added = self.added.clone();
            until("calls to succeed", async || added.load(Ordering::SeqCst) >= wanted).await;
        };
        tokio::select! {
            () = flowing => {}
            Some(ended) = self.callers.join_next() => panic!("a caller ended early: {ended:?}"),
        }
    }

    /// Lets every caller end its call, and returns how much was added in all.
    #[expect(clippy::print_stdout, reason = "shown when the test fails")]
    pub(crate) async fn end(mut self) -> i64 {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        println!(
            "{} added, {} calls failed",
            self.added.load(Ordering::SeqCst),
            self.failed.load(Ordering::SeqCst)
        );
        self.added.load(Ordering::SeqCst)
    }
}

impl Load {
    /// Ends every caller in the middle of its call, and returns how much was added for sure.
    pub(crate) fn abandon(mut self) -> i64 {
        self.callers.abort_all();
        self.added.load(Ordering::SeqCst)
    }
}

async fn add(channel: &Channel, method: &'static MethodInfo, key: &str, amount: Amount) -> Result<Amount> {
    let cx = context().with_idempotency_key(key);
    channel.unary(&cx, method, amount).await
}
