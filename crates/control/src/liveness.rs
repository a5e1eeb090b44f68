//! Whether a child process that runs also works: it answers a probe now and then, or it is killed.
//!
//! A probe asks for nothing but an answer, so a child that is busy, hands a service over or starts one still gives it. A
//! move does not suspend the probes: a process that hangs in the middle must not hold the move up. A child that is told
//! to end is not probed; its drain limit bounds that.

use crate::contract as api;
use crate::registry::Run;
use crate::supervisor::Supervisor;
use banyan::Supervision;
use banyan_core::Code;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};

/// What a probe says of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Answered,
    Missed,
    /// The root itself was held up (suspended, or starved of processor time), so its clock says nothing of the child.
    Void,
}

impl Supervisor {
    /// Returns, with the reason, when this run of a process has left too many probes in a row unanswered.
    pub(crate) async fn silent(&self, run: &Run) -> String {
        let mut changes = self.parts.agent.config_changes();
        let mut missed = 0;
        let mut settings = changes.borrow_and_update().supervision.clone();
        let mut ticks = ticks(&settings);
        // While there is no limit, or until that is reached.
        while settings.probes_missed_max == 0 || missed < settings.probes_missed_max {
            tokio::select! {
                _ = ticks.tick() => {}
                Ok(()) = changes.changed() => {
                    settings = changes.borrow_and_update().supervision.clone();
                    ticks = self::ticks(&settings);
                    continue;
                }
            }
            if settings.probes_missed_max == 0 {
                missed = 0;
                continue;
            }
            // One that has not registered is watched by the limit for that.
            let Some(client) = self.read(|registry| registry.client(run)) else { continue };
            match self.probe(&client, &settings).await {
                Probe::Answered => missed = 0,
                Probe::Missed => missed += 1,
                Probe::Void => {}
            }
        }
        let limit_ms = settings.probe_timeout_ms;
        format!("it left {missed} probes in a row unanswered ({limit_ms} ms each) and was killed")
    }

    async fn probe(&self, client: &api::ProcessServiceClient, settings: &Supervision) -> Probe {
        let limit = Duration::from_millis(settings.probe_timeout_ms);
        let began = self.parts.env.clock.now();
        let answer = client.probe(&self.context(limit), api::ProbeRequest {}).await;
        match answer {
            Err(error) if matches!(error.code(), Code::DeadlineExceeded | Code::Unavailable) => {
                if began.elapsed() > limit * 2 { Probe::Void } else { Probe::Missed }
            }
            // A refusal is an answer too.
            _ => Probe::Answered,
        }
    }
}

fn ticks(settings: &Supervision) -> Interval {
    let mut ticks = tokio::time::interval(Duration::from_millis(settings.probe_period_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
