//! A virtual user and what it does: steps, one after another, each measured from the moment at which it was due.

mod request;

use crate::client::{Answer, HttpClient};
use crate::data::Pick;
use crate::draw::Draw;
use crate::limits::SETUP_ATTEMPTS_MAX;
use crate::plan::{Plan, Scenario, Step, Until};
use crate::record::{Measured, Recorder};
use crate::target::Target;
use crate::template::Scope;
use banyan_core::{Backoff, Code, Env, Error, Reason, Result, Rng, TraceContext};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A virtual user could not be set up.
const LOAD_SETUP_FAILED: Reason = Reason::new("LOAD_SETUP_FAILED");
/// How long to wait before a request of the setup is sent again.
const AGAIN: Backoff = Backoff {
    initial: Duration::from_millis(50),
    max: Duration::from_secs(2),
    multiplier: 2.0,
    attempts_max: SETUP_ATTEMPTS_MAX,
};

/// What all virtual users share.
pub(crate) struct Workload {
    pub(crate) plan: Plan,
    pub(crate) target: Target,
    pub(crate) client: HttpClient,
    pub(crate) env: Env,
    pub(crate) seed: u64,
    pub(crate) recorder: Recorder,
    /// 1 to begin nothing new, 2 to end at once.
    pub(crate) stop: watch::Sender<u8>,
    pub(crate) setup_requests: AtomicU64,
    pub(crate) setup_retries: AtomicU64,
}

/// A virtual user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) number: u64,
    slots: Vec<Option<Value>>,
}

/// One run through a scenario.
pub(crate) struct Errand {
    /// The number of the run, from 0.
    pub(crate) run: u64,
    /// Draws what the run needs.
    pub(crate) rng: Rng,
    /// When it was due, counted from `began`.
    pub(crate) due: Duration,
    pub(crate) began: Instant,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Completed,
    Failed,
    /// The load was stopped.
    Interrupted,
}

impl User {
    pub(crate) fn new(number: u64, plan: &Plan) -> Self {
        Self { number, slots: vec![None; plan.names.len()] }
    }
}

impl Workload {
    /// Waits until the load is stopped; at `level` 2, at once.
    pub(crate) async fn stopped(&self, level: u8) {
        // The sender lives as long as this does.
        let _ = self.stop.subscribe().wait_for(|now| *now >= level).await;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow() > 0
    }

    /// Returns what a run draws from: it follows from the seed and the number of the run alone.
    pub(crate) fn rng(&self, run: u64) -> Rng {
        Rng::seeded(mix(self.seed, run))
    }

    /// Does once what a virtual user does before the first arrival.
    ///
    /// # Errors
    /// The step that failed, after it was tried again where that may help.
    pub(crate) async fn set_up(&self, user: &mut User) -> Result<()> {
        // Users draw from other numbers than runs do.
        let rng = Rng::seeded(mix(self.seed ^ 0x5e7_u64, user.number));
        self.prepare(user, &rng, user.number);
        for step in &self.plan.setup {
            let request = self.request(step, user, &rng, user.number);
            let request = request.map_err(|problem| setup_failed(step, &problem))?;
            let mut attempt = 1;
            loop {
                self.setup_requests.fetch_add(1, Ordering::Relaxed);
                let outcome = self.once(step, &request, user).await;
                let problem = match outcome {
                    Ok(answer) if reached(step, &answer) => break,
                    Ok(_) => Cow::Borrowed("what is waited for has not come"),
                    Err(failure) if !failure.again => return Err(setup_failed(step, &failure.kind)),
                    Err(failure) => failure.kind,
                };
                if attempt >= SETUP_ATTEMPTS_MAX {
                    return Err(setup_failed(step, &problem));
                }
                tokio::time::sleep(AGAIN.delay(attempt, &self.env.rng)).await;
                self.setup_retries.fetch_add(1, Ordering::Relaxed);
                attempt += 1;
            }
        }
        Ok(())
    }

    /// Goes through a scenario.
    pub(crate) async fn run(&self, user: &mut User, scenario: &Scenario, errand: &Errand) -> Ended {
        self.prepare(user, &errand.rng, errand.run);
        if let Err(unset) = self.set(user, scenario, errand) {
            tracing::warn!(name = self.plan.names.name(unset), "a value is missing");
            return Ended::Failed;
        }
        let mut due = errand.began + errand.due;
        for step in &scenario.steps {
            if self.is_stopping() {
                return Ended::Interrupted;
            }
            if step.chance < 1.0 && errand.rng.unit() >= step.chance {
                continue;
            }
            let done = match &step.until {
                None => self.measured(step, user, errand, due).await.map(drop),
                Some(until) => self.wait(step, until, user, errand, due).await,
            };
            if done.is_err() {
                return Ended::Failed;
            }
            if let Some((from, to)) = step.think {
                let pause = from + errand.rng.jitter(to - from);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.stopped(1) => return Ended::Interrupted,
                }
            }
            // What follows is due when it can begin.
            due = self.env.clock.now();
        }
        Ended::Completed
    }

    /// Draws what belongs to a run.
    fn prepare(&self, user: &mut User, rng: &Rng, run: u64) {
        for (slot, draw) in &self.plan.variables {
            match draw {
                Draw::Fixed(_) if user.slots[*slot].is_some() => {}
                draw => user.slots[*slot] = Some(draw.value(rng)),
            }
        }
        for set in &self.plan.data {
            let rows = set.data.rows.len() as u64;
            let row = match set.data.pick {
                Pick::Random => rng.below(rows),
                Pick::InOrder => run % rows,
                Pick::PerUser => user.number % rows,
            };
            for (slot, value) in set.slots.iter().zip(&set.data.rows[row as usize]) {
                user.slots[*slot] = Some(value.clone());
            }
        }
    }

    fn set(&self, user: &mut User, scenario: &Scenario, errand: &Errand) -> Result<(), usize> {
        for (slot, json) in &scenario.set {
            let scope = self.scope(user, &errand.rng, errand.run);
            let value = json.value(&scope).map_err(|unset| unset.0)?;
            user.slots[*slot] = Some(value);
        }
        Ok(())
    }

    fn scope<'s>(&'s self, user: &'s User, rng: &'s Rng, run: u64) -> Scope<'s> {
        Scope { slots: &user.slots, env: &self.env, rng, user: user.number, run }
    }

    /// Repeats a step until its answer says what is waited for, and measures the wait as well.
    async fn wait(
        &self,
        step: &Step,
        until: &Until,
        user: &mut User,
        errand: &Errand,
        due: Instant,
    ) -> Result<(), ()> {
        let clock = &self.env.clock;
        let mut next = due;
        let error = loop {
            match self.measured(step, user, errand, next).await {
                Ok(answer) if reached(step, &answer) => break None,
                Ok(_) => {}
                Err(()) => break Some("a look failed".to_owned()),
            }
            if clock.now() + until.every - due > until.within {
                break Some(format!("{} was not reached in time", until.text));
            }
            tokio::select! {
                () = tokio::time::sleep(until.every) => next = clock.now(),
                // A wait that was cut short says nothing.
                () = self.stopped(1) => return Ok(()),
            }
        };
        let now = clock.now();
        let wait = Measured {
            row: until.row,
            wait: true,
            due: due - errand.began,
            lag: Duration::ZERO,
            latency: now - due,
            status: None,
            error: error.as_deref(),
            bytes: 0,
            trace_id: 0,
            sampled: false,
        };
        self.recorder.record(now - errand.began, &wait);
        if error.is_some() { Err(()) } else { Ok(()) }
    }

    /// Sends the request of a step and measures it.
    async fn measured(
        &self,
        step: &Step,
        user: &mut User,
        errand: &Errand,
        due: Instant,
    ) -> Result<Answer, ()> {
        let clock = &self.env.clock;
        let request = self.request(step, user, &errand.rng, errand.run);
        let sent = clock.now();
        let (outcome, trace) = match request {
            Ok(request) => (self.once(step, &request, user).await, request.trace),
            Err(problem) => (Err(Failure::never(problem)), TraceContext::root(&self.env.rng)),
        };
        let now = clock.now();
        let (status, bytes, error) = match &outcome {
            Ok(answer) => (Some(answer.status), answer.bytes, None),
            Err(failure) => (failure.status, failure.bytes, Some(&*failure.kind)),
        };
        let measured = Measured {
            row: step.row,
            wait: false,
            due: due.saturating_duration_since(errand.began),
            lag: sent.saturating_duration_since(due),
            latency: now.saturating_duration_since(due),
            status,
            error,
            bytes,
            trace_id: trace.trace_id,
            sampled: trace.sampled,
        };
        self.recorder.record(now - errand.began, &measured);
        outcome.map_err(drop)
    }

    /// Sends a request once, judges the answer, and takes from it what the step extracts.
    async fn once(
        &self,
        step: &Step,
        request: &request::Rendered,
        user: &mut User,
    ) -> Result<Answer, Failure> {
        let keep = !step.extract.is_empty() || step.until.is_some();
        let sent = request.to_http().map_err(Failure::never)?;
        let answer = self.client.send(sent, keep).await;
        let answer =
            answer.map_err(|kind| Failure { kind: kind.into(), status: None, bytes: 0, again: true })?;
        let failed = |kind: String, again| {
            Err(Failure { kind: kind.into(), status: Some(answer.status), bytes: answer.bytes, again })
        };
        let expected = match step.expect.as_slice() {
            [] => (200..300).contains(&answer.status),
            statuses => statuses.contains(&answer.status),
        };
        if !expected {
            let again = matches!(answer.status, 408 | 429 | 500..=599);
            return failed(refusal(&answer), again);
        }
        if !step.extract.is_empty() {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
            for extract in &step.extract {
                match extract.from.read(&answer.headers, &body) {
                    Some(value) => user.slots[extract.slot] = Some(value),
                    None => return failed(format!("no {} in the answer", extract.text), false),
                }
            }
        }
        Ok(answer)
    }
}

/// Why a request failed.
#[derive(Debug)]
struct Failure {
    kind: Cow<'static, str>,
    status: Option<u16>,
    bytes: u64,
    /// Whether the same request may succeed later.
    again: bool,
}

impl Failure {
    fn never(problem: String) -> Self {
        Self { kind: problem.into(), status: None, bytes: 0, again: false }
    }
}

/// Tells whether an answer says what the step waits for; without a wait, any does.
fn reached(step: &Step, answer: &Answer) -> bool {
    let Some(until) = &step.until else { return true };
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    until.at.read(&body).is_some_and(|value| until.is.contains(&value))
}

/// Names a refusal: its status, and the reason of a problem (RFC 9457) if it has one.
fn refusal(answer: &Answer) -> String {
    let problem: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let reason = problem.as_ref().and_then(|problem| problem["reason"].as_str());
    let known = |reason: &&str| {
        reason.len() <= 64
            && reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit())
    };
    match reason.filter(known) {
        Some(reason) => format!("{} {reason}", answer.status),
        None => answer.status.to_string(),
    }
}

fn setup_failed(step: &Step, problem: &str) -> Error {
    let message = format!("the setup step {:?} failed: {problem}; nothing was measured", step.name);
    Error::new(Code::FailedPrecondition, LOAD_SETUP_FAILED, message)
}

/// Makes the seed of one of many: neighbouring numbers have nothing in common (SplitMix64).
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
