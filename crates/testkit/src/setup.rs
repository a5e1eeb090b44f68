//! What a test's system is made of.

use crate::TestSystem;
use banyan::event_log::{EmbeddedLog, EmbeddedOptions};
use banyan::prelude::*;
use banyan::rpc::Directory;
use banyan::{Config, Process, ProcessParts};

/// A system that is being described; [`Setup::start`] starts it.
#[must_use = "nothing runs before it is started"]
pub struct Setup {
    system: System,
    settings: Vec<(String, String)>,
    env: Env,
}

impl Setup {
    pub(crate) fn new(services: impl IntoIterator<Item = ServiceDef>) -> Self {
        let system = services.into_iter().fold(System::new("test"), System::service);
        Self { system, settings: Vec::new(), env: Env::default() }
    }

    /// Gives the service `name` settings, the TOML that stands under `[services.<name>]`.
    pub fn settings(mut self, name: &str, toml: &str) -> Self {
        self.settings.push((name.to_owned(), toml.to_owned()));
        self
    }

    /// Runs it in this environment, for example one of simulated time, instead of the real one.
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Makes the system; none of its services runs yet.
    ///
    /// # Errors
    /// If the settings are no TOML, or not what their service takes.
    ///
    /// # Panics
    /// If the machine has no room for a temporary folder and an event log in it.
    pub async fn prepare(self) -> Result<TestSystem> {
        let Self { system, settings, env } = self;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut config = Config { data: folder.path().to_owned(), ..Config::default() };
        for (name, text) in settings {
            let table: toml::Table =
                text.parse().map_err(|e| Error::invalid(format!("services.{name}"), format!("{e}")))?;
            config.services.entry(name).or_default().extend(table);
        }
        system.check(&config)?;
        let log = EmbeddedLog::open(EmbeddedOptions::new(folder.path().join("log"), env.clone())).await;
        let process = Process::new(ProcessParts {
            system,
            config: Arc::new(config),
            directory: Directory::new(&env),
            env,
            log: Arc::new(log.expect("the event log opens")),
        });
        Ok(TestSystem::new(process, folder))
    }

    /// Makes the system and starts its services, in the order in which they were given.
    ///
    /// # Errors
    /// If the settings are no TOML, or a service does not start.
    pub async fn start(self) -> Result<TestSystem> {
        let system = self.prepare().await?;
        for service in system.process().system().services() {
            system.process().start(service.name()).await?;
        }
        Ok(system)
    }
}
