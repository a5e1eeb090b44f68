//! A process in a folder of its own, and two events to play with.

use banyan::event_log::{EmbeddedLog, EmbeddedOptions};
use banyan::prelude::*;
use banyan::rpc::Directory;
use banyan::{Config, Process, ProcessParts, System};
use bytes::Bytes;

pub(crate) struct Setup {
    pub(crate) process: Process,
    _folder: tempfile::TempDir,
}

impl Setup {
    /// Makes a process that runs none of `services` yet.
    pub(crate) async fn prepare(services: impl IntoIterator<Item = ServiceDef>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env = Env::default();
        let system = services.into_iter().fold(System::new("test"), System::service);
        let log =
            EmbeddedLog::open(EmbeddedOptions::new(folder.path().join("log"), env.clone())).await.unwrap();
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        let process = Process::new(ProcessParts {
            system,
            config: Arc::new(config),
            directory: Directory::new(&env),
            env,
            log: Arc::new(log),
        });
        Self { process, _folder: folder }
    }

    pub(crate) async fn start(services: impl IntoIterator<Item = ServiceDef>) -> Self {
        let setup = Self::prepare(services).await;
        for service in setup.process.system().services() {
            setup.process.start(service.name()).await.unwrap();
        }
        setup
    }
}

/// Waits until `condition` holds, at most 10 s.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

macro_rules! text_event {
    ($name:ident, $topic:literal) => {
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $name(pub(crate) String);

        impl Payload for $name {
            fn to_bytes(&self) -> Bytes {
                self.0.clone().into()
            }

            fn from_bytes(bytes: &[u8]) -> Result<Self> {
                String::from_utf8(bytes.to_vec())
                    .map(Self)
                    .map_err(|e| Error::data_loss("no text").with_source(e))
            }
        }

        impl Event for $name {
            const TYPE: &'static str = concat!("test.", stringify!($name));
            const TOPIC: &'static str = $topic;

            fn key(&self) -> &str {
                &self.0
            }
        }
    };
}

text_event!(Noted, "notes");
text_event!(Asked, "questions");
