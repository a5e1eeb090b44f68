//! One server for many tests, each with names or a database of its own.

use crate::install::{engines_folder, install};
use crate::process::Lifetime;
use crate::{Engine, Kind, Options};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Mutex;

/// The longest name that PostgreSQL keeps in full.
const NAME_BYTES_MAX: usize = 63;

/// A server that several tests use at the same time. It cannot be killed or paused: start an [`Engine`] for that.
pub struct Shared {
    kind: Kind,
    url: String,
    /// Stays until the process ends, then the engine's guard ends the engine and removes its folder.
    _engine: Option<Engine>,
}

static SHARED: Mutex<BTreeMap<Kind, &'static Shared>> = Mutex::const_new(BTreeMap::new());
static NAMES: AtomicU32 = AtomicU32::new(0);

impl Engine {
    /// Returns the server of this kind that all tests share.
    ///
    /// That is the one which `BANYAN_ENGINE_<NAME>` names (`cargo xtask test` sets it); otherwise one that is started with
    /// the first call of this process and ends with the process.
    pub async fn shared(kind: Kind) -> Result<&'static Shared> {
        let mut all = SHARED.lock().await;
        if let Some(shared) = all.get(&kind) {
            return Ok(shared);
        }
        let shared = match std::env::var(kind.variable()) {
            Ok(url) => Shared { kind, url, _engine: None },
            Err(_) => {
                let name = format!("{kind}-{}", std::process::id());
                let mut options = Options::in_folder(engines_folder().join("shared").join(name));
                options.lifetime = Lifetime::Guarded { remove_folder: true };
                let engine = Engine::start(kind, options).await?;
                Shared { kind, url: engine.url().to_owned(), _engine: Some(engine) }
            }
        };
        let shared: &'static Shared = Box::leak(Box::new(shared));
        all.insert(kind, shared);
        Ok(shared)
    }

    /// Makes a database in this server and returns its URL (PostgreSQL, MariaDB); see [`Shared::create_database`].
    pub async fn create_database(&self, name: &str) -> Result<String> {
        create_database(self.kind(), self.url(), name).await
    }
}

impl Shared {
    /// Returns what a client connects to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the kind of this server.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns a name for a topic, bucket, queue or the like that no other test of this machine uses:
    /// `prefix_<process id>_<number>`.
    pub fn unique_name(&self, prefix: &str) -> String {
        format!("{prefix}_{}_{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a database with a unique name that begins with `prefix` and returns its URL (PostgreSQL, MariaDB).
    ///
    /// An error for a prefix with anything but `a`-`z`, `0`-`9` and `_`, and for engines without databases.
    pub async fn create_database(&self, prefix: &str) -> Result<String> {
        create_database(self.kind, &self.url, &self.unique_name(prefix)).await
    }
}

pub(crate) async fn create_database(kind: Kind, url: &str, name: &str) -> Result<String> {
    let plain = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '_');
    ensure!(
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(plain),
        "{name:?} is no name for a database: a-z, 0-9 and _, at most {NAME_BYTES_MAX} bytes"
    );
    let program = install(kind).await?;
    kind.launcher().create_database(&program, url, name).await?;
    let (server, _) = url.rsplit_once('/').with_context(|| format!("{url:?} names no database"))?;
    Ok(format!("{server}/{name}"))
}
