//! Moving a live service: stopped where it is, started where it is to be, while its callers wait.
//!
//! The store's lock makes a mistake loud rather than wrong. A process that dies half-way leaves the service to whoever
//! is left; whatever a move does not achieve, the supervisor does afterwards by starting the service where it belongs.

use crate::contract as api;
use crate::registry::{Registry, Run};
use crate::supervisor::{INFORM_MAX, START_MAX, Supervisor};
use banyan::{ROOT_PROCESS, valid_process_name};
use banyan_core::{Code, Error, Reason, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A service is to move into a process that there is not.
const PROCESS_UNKNOWN: Reason = Reason::new("PROCESS_UNKNOWN");
/// A service with replicas does not move.
const SERVICE_REPLICATED: Reason = Reason::new("SERVICE_REPLICATED");

impl Supervisor {
    /// Moves a service to another process while its callers wait; returns for how long. A move that has begun goes on
    /// if nobody waits for it any more.
    ///
    /// # Errors
    /// If there is no such service, it has replicas, the process is not as `destination` says, or it could not be moved; then
    /// it serves where it did.
    pub(crate) async fn move_service(
        self: &Arc<Self>,
        service: &str,
        to: &str,
        destination: api::Destination,
    ) -> Result<Duration> {
        if !valid_process_name(to) {
            return Err(Error::invalid("process", "a process name is 1 to 40 of a-z, 0-9 and -"));
        }
        let (this, service, to) = (Arc::clone(self), service.to_owned(), to.to_owned());
        let (sender, outcome) = oneshot::channel();
        self.parts.tasks.spawn_until_stopped("move", async move {
            let _one_at_a_time = this.moving.lock().await;
            drop(sender.send(this.move_now(&service, &to, destination).await));
        });
        outcome.await.unwrap_or_else(|_| Err(Error::unavailable("the system is being stopped")))
    }

    async fn move_now(
        self: &Arc<Self>,
        service: &str,
        to: &str,
        destination: api::Destination,
    ) -> Result<Duration> {
        let from = self.home(service)?;
        self.check_destination(to, destination)?;
        if from == to {
            return Ok(Duration::ZERO);
        }
        let moved = match self.destination(to).await {
            Ok(target) => self.hand_over(service, &from, &target).await,
            Err(error) => Err(error),
        };
        self.all_know().await;
        self.retire_if_idle(if moved.is_ok() { &from } else { to });
        moved
    }

    /// Checks that the process `to` is there, or not, as it is to be. Processes come and go between two moves only.
    fn check_destination(&self, to: &str, destination: api::Destination) -> Result<()> {
        let there = self.read(|registry| registry.life(to).is_some_and(|life| !life.is_stopping()));
        match destination {
            api::Destination::Existing if !there => {
                let names = self.read(Registry::names).join(", ");
                let message = format!("there is no process {to:?}; there are {names}");
                Err(Error::new(Code::NotFound, PROCESS_UNKNOWN, message))
            }
            api::Destination::New if there => {
                Err(Error::already_exists(format!("there is a process {to:?} already")))
            }
            _ => Ok(()),
        }
    }

    /// Returns the one process that the service belongs to.
    fn home(&self, service: &str) -> Result<String> {
        self.read(|registry| match registry.processes_of(service) {
            None => Err(Error::not_found("service", service)),
            Some([one]) => Ok(one.clone()),
            Some(_) => {
                let message =
                    format!("{service} has replicas; change placement.replicas and start the system again");
                Err(Error::failed_precondition(SERVICE_REPLICATED, message))
            }
        })
    }

    /// Returns the running process `to`, made if there is none.
    async fn destination(self: &Arc<Self>, to: &str) -> Result<Run> {
        if to != ROOT_PROCESS {
            self.ensure_process(to).await?;
        }
        let late =
            || Error::unavailable(format!("process {to} was not ready within {} s", START_MAX.as_secs()));
        self.until(START_MAX, |registry| registry.run(to)).await.ok_or_else(late)
    }

    /// Stops the service at `from` and starts it at `target`; if that fails, has it start at `from` again.
    async fn hand_over(&self, service: &str, from: &str, target: &Run) -> Result<Duration> {
        let began = self.parts.env.clock.now();
        self.edit(|registry| registry.begin_move(service));
        let moved = self.stop_and_start(service, from, target).await;
        match &moved {
            Ok(()) => self.edit(|registry| registry.end_move(service, &target.process, Some(target))),
            Err(error) => {
                let to = &target.process;
                tracing::warn!(service, from, to, ?error, "a move failed; the service goes back");
                self.edit(|registry| registry.end_move(service, from, None));
                let back = |registry: &Registry| registry.is_ready(service).then_some(());
                if self.until(START_MAX, back).await.is_none() {
                    tracing::error!(service, from, "the service does not serve yet after a move that failed");
                }
            }
        }
        moved.map(|()| began.elapsed())
    }

    async fn stop_and_start(&self, service: &str, from: &str, target: &Run) -> Result<()> {
        // A start that is under way must not overtake the stop.
        let settled = |registry: &Registry| (!registry.is_starting(service)).then_some(());
        if self.until(START_MAX, settled).await.is_none() {
            return Err(Error::unavailable(format!("service {service} is still about to start in {from}")));
        }
        let source = self.read(|registry| registry.run(from));
        if let Some(source) = &source
            && let Err(error) = self.stop_at(service, source).await
            && self.lives(source).await
        {
            return Err(error);
        }
        // A source that has died has let go of the store.
        let Err(error) = self.start_at(service, target).await else { return Ok(()) };
        let unheard = matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded);
        if unheard && !self.lives(target).await {
            let to = &target.process;
            let message =
                format!("process {to} died while {service} was moved to it; it goes back to {from}");
            return Err(Error::unavailable(message).with_source(error));
        }
        // It may have begun, or be about to.
        let _ = self.stop_at(service, target).await;
        Err(error)
    }

    async fn stop_at(&self, service: &str, run: &Run) -> Result<()> {
        let limit = Duration::from_millis(self.config().limits.drain_ms_max) * 3 + INFORM_MAX;
        let request = api::StopServiceRequest { service: service.to_owned() };
        self.client(run)?.stop_service(&self.context(limit), request).await.map(drop)
    }

    /// Tells whether a process that did not answer lives: the death of one is noticed a moment after its silence.
    async fn lives(&self, run: &Run) -> bool {
        let dead = |registry: &Registry| registry.client(run).is_none().then_some(());
        self.until(INFORM_MAX, dead).await.is_none()
    }
}
