//! The way from a command line to the system that runs.

use crate::problem::{Problem, program_name};
use banyan_control::contract::{ControlServiceClient, GetSystemRequest, ListSagasRequest, SystemStatus};
use banyan_control::root::client_at;
use banyan_control::{RemoteLog, RunFile};
use banyan_core::{Code, Context, Env, Error, Identity, Reason, Result};
use banyan_event_log::{EventLog, GroupInfo};
use banyan_rpc::{Directory, DirectoryOptions, Endpoint, PeerSecret, Target};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// How long an operator's call may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a process on this machine may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Sagas of one service that are counted at most: a page of the contract.
const SAGAS_COUNTED_MAX: u32 = 500;

/// No system runs with the data folder.
const SYSTEM_NOT_RUNNING: Reason = Reason::new("SYSTEM_NOT_RUNNING");
/// The system of the data folder did not end in an orderly way.
const SYSTEM_DIED: Reason = Reason::new("SYSTEM_DIED");

/// What a system has begun and not finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// Sagas that run or compensate; from 500 of one service on, at least so many.
    pub sagas: usize,
    /// Deliveries of events to consumer groups that have not read them yet.
    pub events: u64,
    /// The consumer groups that have not read them.
    pub behind: Vec<GroupInfo>,
}

/// A running system, as a command line reaches it.
pub struct Remote {
    env: Env,
    run: RunFile,
}

impl Remote {
    /// Finds the system that runs with the folder `data`.
    ///
    /// # Errors
    /// If there is none, or it has died; with the next step.
    pub fn find(data: &Path) -> Result<Self, Problem> {
        let run = RunFile::read(data).map_err(|error| match error.code() {
            Code::Unavailable => not_running(data),
            _ => Problem::new(error, format!("remove the folder {}", data.join("run").display())),
        })?;
        let alive = runs(run.pid) && listens(&run.control_address);
        if alive { Ok(Self { env: Env::default(), run }) } else { Err(died(data, &run)) }
    }

    /// Returns the process id of the root process.
    pub fn pid(&self) -> u32 {
        self.run.pid
    }

    /// Returns the gateway's address.
    pub fn url(&self) -> &str {
        &self.run.url
    }

    /// Returns the console's address, if there is one.
    pub fn console(&self) -> Option<&str> {
        self.run.console.as_deref()
    }

    /// Starts an operator's work, bounded in time.
    pub fn context(&self) -> Context {
        Context::new(&self.env, Identity::service("operator")).with_timeout(TIMEOUT)
    }

    /// Returns the client of the system's control contract.
    ///
    /// # Errors
    /// If the run file is damaged.
    pub fn control(&self) -> Result<ControlServiceClient> {
        client_at(&self.env, &self.run.peer_secret, &self.run.control_address)
    }

    /// Returns the system's event log.
    ///
    /// # Errors
    /// If the run file is damaged.
    pub fn log(&self) -> Result<RemoteLog> {
        let client = client_at(&self.env, &self.run.peer_secret, &self.run.control_address)?;
        Ok(RemoteLog::new(client, "operator", self.env.clone()))
    }

    /// Counts what the system has begun and not finished.
    ///
    /// # Errors
    /// If the system cannot be asked.
    pub async fn under_way(&self) -> Result<UnderWay> {
        let (control, cx) = (self.control()?, self.context());
        let mut sagas = 0;
        for state in ["RUNNING", "COMPENSATING"] {
            let request = ListSagasRequest {
                state: state.to_owned(),
                page_size: SAGAS_COUNTED_MAX,
                ..ListSagasRequest::default()
            };
            sagas += control.list_sagas(&cx, request).await?.sagas.len();
        }
        let mut behind = self.log()?.groups().await?;
        behind.retain(|group| group.lag() > 0);
        let events = behind.iter().map(GroupInfo::lag).sum();
        Ok(UnderWay { sagas, events, behind })
    }

    /// Returns the way to every service of the system, as they are placed at this moment.
    ///
    /// # Errors
    /// If the system cannot be asked.
    pub async fn directory(&self) -> Result<Directory> {
        let status = self.control()?.get_system(&self.context(), GetSystemRequest {}).await?;
        let peer_secret = Some(PeerSecret::new(&self.run.peer_secret)?);
        let options = DirectoryOptions { peer_secret, ..DirectoryOptions::default() };
        let directory = Directory::with_options(&self.env, options);
        for (contract, endpoints) in places(&status)? {
            directory.set(contract, Target::Remote(endpoints));
        }
        Ok(directory)
    }
}

fn not_running(data: &Path) -> Problem {
    let message = format!("no system runs with the folder {}", data.display());
    let next =
        format!("start it with `{} run`, or name the folder of one that runs with --data", program_name());
    Problem::new(Error::new(Code::Unavailable, SYSTEM_NOT_RUNNING, message), next)
}

fn died(data: &Path, run: &RunFile) -> Problem {
    let (system, pid, folder) = (&run.system, run.pid, data.display());
    let message =
        format!("{system} has died: it ran with the folder {folder} as process {pid}, which is gone");
    let port = run.url.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
    let port = port.map(|port| format!(" --port {port}")).unwrap_or_default();
    let next =
        format!("start it again with `{system} run --data {folder}{port}`; it goes on where it stopped");
    Problem::new(Error::new(Code::Unavailable, SYSTEM_DIED, message), next)
}

/// Tells whether the system that said after the moment `since_ms` (Unix time) that it runs with the folder `data` has died.
pub(crate) fn has_died_since(data: &Path, since_ms: u64) -> bool {
    let died = || Remote::find(data).is_err_and(|problem| problem.error().is(SYSTEM_DIED));
    RunFile::written_ms(data).is_some_and(|written_ms| written_ms >= since_ms) && died()
}

/// Tells whether there is such a process. One that has ended and is not collected by its parent (proc(5): `Z`) is none.
fn runs(pid: u32) -> bool {
    if !Path::new("/proc/self").exists() {
        return true;
    }
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The command in parentheses may contain anything.
    stat.rsplit_once(')').is_none_or(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Tells whether anybody accepts connections at `address`, as a process that lives does even if it is busy.
fn listens(address: &str) -> bool {
    let Ok(address) = address.parse::<SocketAddr>() else { return false };
    TcpStream::connect_timeout(&address, CONNECT_MAX).is_ok()
}

/// Returns each contract with the endpoints of the processes that serve it.
fn places(status: &SystemStatus) -> Result<Vec<(&str, Vec<Endpoint>)>> {
    let mut places = Vec::new();
    for service in &status.services {
        let ready = status
            .processes
            .iter()
            .filter(|p| service.processes.contains(&p.process) && !p.address.is_empty());
        let endpoints: Vec<Endpoint> = ready.map(|p| Endpoint::new(&p.address)).collect::<Result<_>>()?;
        places.extend(service.contracts.iter().map(|contract| (contract.as_str(), endpoints.clone())));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_control::contract::{ProcessStatus, ServiceStatus};

    fn run_file(pid: u32, control_address: String) -> RunFile {
        let text = String::from;
        RunFile {
            system: text("shop"),
            pid,
            url: text("http://x"),
            console: None,
            control_address,
            peer_secret: text("s"),
        }
    }

    #[test]
    fn a_system_runs_has_died_or_never_was() {
        let data = tempfile::tempdir().unwrap();
        let reason = |found: Result<Remote, Problem>| {
            let problem = found.err().unwrap();
            assert!(problem.next_step().contains("run"), "{problem:?}");
            problem.error().reason().to_owned()
        };
        assert_eq!(reason(Remote::find(data.path())), "SYSTEM_NOT_RUNNING");

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let _file = run_file(std::process::id(), address.clone()).write(data.path()).unwrap();
        assert_eq!(Remote::find(data.path()).unwrap().pid(), std::process::id());
        assert!(!has_died_since(data.path(), 0));

        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let _file = run_file(gone.id(), address.clone()).write(data.path()).unwrap();
        assert_eq!(reason(Remote::find(data.path())), "SYSTEM_DIED");
        // A mark that is older says nothing of what began since.
        let written_ms = RunFile::written_ms(data.path()).unwrap();
        assert!(has_died_since(data.path(), written_ms) && !has_died_since(data.path(), written_ms + 1));

        // Another process may have got its id since.
        drop(listener);
        let _file = run_file(std::process::id(), address).write(data.path()).unwrap();
        assert_eq!(reason(Remote::find(data.path())), "SYSTEM_DIED");
    }

    #[test]
    fn a_contract_is_where_its_service_runs() {
        let process = |name: &str, address: &str| ProcessStatus {
            process: name.into(),
            address: address.into(),
            ..ProcessStatus::default()
        };
        let service = |contract: &str, process: &str| ServiceStatus {
            processes: vec![process.into()],
            contracts: vec![contract.into()],
            ..ServiceStatus::default()
        };
        let status = SystemStatus {
            processes: vec![
                process("main", "127.0.0.1:1"),
                process("back", "127.0.0.1:2"),
                process("new", ""),
            ],
            services: vec![service("A", "back"), service("B", "new"), service("C", "main")],
            ..SystemStatus::default()
        };
        let at = |address: &str| vec![Endpoint::new(address).unwrap()];
        let expected = vec![("A", at("127.0.0.1:2")), ("B", vec![]), ("C", at("127.0.0.1:1"))];
        assert_eq!(places(&status).unwrap(), expected);
    }
}
