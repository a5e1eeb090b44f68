//! The way from a command line to the system that runs.

use banyan_control::contract::{ControlServiceClient, GetSystemRequest, SystemStatus};
use banyan_control::root::client_at;
use banyan_control::{RemoteLog, RunFile};
use banyan_core::{Context, Env, Identity, Result};
use banyan_rpc::{Directory, DirectoryOptions, Endpoint, PeerSecret, Target};
use std::path::Path;
use std::time::Duration;

/// How long an operator's call may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running system, as a command line reaches it.
pub struct Remote {
    env: Env,
    run: RunFile,
}

impl Remote {
    /// Finds the system that runs with the folder `data`.
    ///
    /// # Errors
    /// If there is none; the message says what to do.
    pub fn find(data: &Path) -> Result<Self> {
        Ok(Self { env: Env::default(), run: RunFile::read(data)? })
    }

    /// Returns the gateway's address.
    pub fn url(&self) -> &str {
        &self.run.url
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
