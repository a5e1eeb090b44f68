//! What every endpoint works with, and how an operator's deeds are done: noted first, then done, then their outcome noted.

use crate::audit::{Audit, Deed};
use crate::contracts::Contracts;
use crate::live::Live;
use crate::map::Window;
use crate::searches::Searches;
use crate::sessions::Sessions;
use crate::streams::Streams;
use crate::{ConsoleParts, audit};
use axum::extract::State;
use banyan::ConsoleRole;
use banyan_core::{Context, Env, Error, Identity, Result, Signals, Tasks};
use banyan_telemetry::Memory;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long an operator's question or deed may take.
const WORK_MAX: Duration = Duration::from_secs(60);

/// The state of every endpoint.
pub(crate) type Shared = State<Arc<App>>;

pub(crate) struct App {
    pub(crate) parts: ConsoleParts,
    pub(crate) sessions: Sessions,
    pub(crate) audit: Audit,
    pub(crate) contracts: Contracts,
    pub(crate) window: Window,
    pub(crate) live: Live,
    pub(crate) searches: Searches,
    pub(crate) streams: Streams,
    pub(crate) tasks: Tasks,
    pub(crate) started_ms: u64,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub(crate) name: Arc<str>,
    pub(crate) role: ConsoleRole,
}

impl App {
    /// Makes the state of a console.
    ///
    /// # Errors
    /// If the audit log cannot be opened, or the contracts contradict each other.
    pub(crate) fn new(parts: ConsoleParts, tasks: &Tasks) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            sessions: Sessions::new(&parts.settings, &parts.env)?,
            audit: Audit::open(&audit::path(&parts.data))?,
            contracts: Contracts::new(&parts.system)?,
            window: Window::default(),
            live: Live::default(),
            searches: Searches::default(),
            streams: Streams::default(),
            tasks: tasks.clone(),
            started_ms: parts.env.clock.unix_ms(),
            parts,
        }))
    }

    /// Begins an operator's work, bounded in time: its caller is the platform itself, as it is for the command line. It is not
    /// recorded: who looks at a system would see himself.
    pub(crate) fn context(&self) -> Context {
        let env = Env { signals: Signals::default(), ..self.parts.env.clone() };
        Context::new(&env, Identity::service("operator")).with_timeout(WORK_MAX)
    }

    /// Does what an operator wants, if his role may. It is noted durably before, and with its outcome after; it goes on when
    /// the browser goes away.
    ///
    /// # Errors
    /// What `work` fails with; [`banyan_core::Code::PermissionDenied`]; why it cannot be noted, and then it is not done.
    pub(crate) async fn act(
        self: &Arc<Self>,
        who: &Operator,
        deed: Deed,
        work: impl Future<Output = Result<Value>> + Send + 'static,
    ) -> Result<Value> {
        let (app, who) = (self.clone(), who.clone());
        let (answer, answered) = oneshot::channel();
        self.tasks.spawn("console deed", async move {
            let outcome = app.noted(&who, deed, work).await;
            // Nobody may wait for it any more.
            let _ = answer.send(outcome);
        });
        answered.await.map_err(|_| Error::internal("the deed ended without an outcome"))?
    }

    async fn noted(
        &self,
        who: &Operator,
        deed: Deed,
        work: impl Future<Output = Result<Value>> + Send,
    ) -> Result<Value> {
        let clock = &self.parts.env.clock;
        if let Err(refused) = who.may(deed.needs, deed.action) {
            self.audit.refuse(who, deed, &refused, clock.unix_ms()).await?;
            return Err(refused);
        }
        let begun = self.audit.begin(who, deed, clock.unix_ms()).await?;
        let outcome = work.await;
        self.audit.end(begun, &outcome, clock.unix_ms()).await;
        outcome
    }

    /// Asks the memory, which reads a file.
    ///
    /// # Errors
    /// What the question fails with; [`banyan_core::Code::Unavailable`] if nothing is recorded.
    pub(crate) async fn remember<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Memory) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(memory) = self.parts.memory.clone() else {
            return Err(Error::unavailable("nothing is recorded: telemetry.enabled is false"));
        };
        tokio::task::spawn_blocking(move || question(&memory)).await.map_err(Error::internal)?
    }
}

impl Operator {
    /// # Errors
    /// [`banyan_core::Code::PermissionDenied`] if the role is too low; says which one is needed.
    pub(crate) fn may(&self, needed: ConsoleRole, action: &str) -> Result<()> {
        if self.role >= needed {
            return Ok(());
        }
        let (name, role, needed) = (&self.name, self.role.name(), needed.name());
        Err(Error::permission_denied(format!("{action} needs the role {needed}; {name} has the role {role}")))
    }
}
