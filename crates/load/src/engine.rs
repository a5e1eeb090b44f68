//! A run: virtual users are set up, arrivals come, everything is measured, and at last it is told.

use crate::client::HttpClient;
use crate::limits::{ABORT_AFTER, DRAIN_MAX, LAG_P99_MAX, SETUP_PARALLEL, STOP_MAX};
use crate::pacer::Pacer;
use crate::plan::Plan;
use crate::record::{Live, Recorder};
use crate::session::{Ended, Errand, User, Workload};
use crate::shape::{Arrivals, Shape};
use crate::slo::{Slo, Verdict};
use crate::stages::Stages;
use crate::summary::{Environment, Outcome, Requests, SUMMARY_FORMAT, Setup, Summary};
use crate::target::Target;
use banyan_core::{Code, Env, Error, Reason, Result, Rng, Tasks, rfc3339};
use futures::stream::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// How often objectives are looked at while the run goes on.
const LOOK: Duration = Duration::from_millis(500);
/// How long a user of a closed loop waits after a run that failed, so that a server that refuses is not flooded.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// How many requests a 99th percentile needs to be more than its single worst ones.
const P99_MIN: u64 = 1_000;

/// A load that is about to come.
pub struct Run {
    shared: Arc<Shared>,
    abort_on_slo: bool,
}

/// Looks at a run and stops it. Cheap to clone.
#[derive(Clone)]
pub struct Controls(Arc<Shared>);

struct Shared {
    workload: Workload,
    began: OnceLock<Instant>,
    ready: AtomicU64,
    /// Virtual users that do nothing at the moment.
    free: Mutex<VecDeque<User>>,
    permits: Arc<Semaphore>,
    runs: AtomicU64,
}

impl Controls {
    /// Begins nothing new and lets requests under way end. The second time, it ends at once.
    pub fn stop(&self) {
        self.0.workload.stop.send_modify(|level| *level = (*level + 1).min(2));
    }

    /// Returns what the run looks like at the moment.
    pub fn live(&self) -> Live {
        let shared = &self.0;
        let users_ready = shared.ready.load(Ordering::Relaxed);
        match shared.began.get() {
            None => Live { users_ready, ..Live::default() },
            Some(began) => {
                let elapsed = shared.workload.env.clock.now().saturating_duration_since(*began);
                Live { users_ready, ..shared.workload.recorder.live(elapsed) }
            }
        }
    }

    /// Judges the objectives by what is known so far.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let Some(began) = self.0.began.get() else { return Vec::new() };
        let elapsed = self.0.workload.env.clock.now().saturating_duration_since(*began);
        let live = self.0.workload.recorder.live(elapsed);
        self.0.judge(&live.requests, live.runs.dropped, live.runs.due, elapsed, &|_| true)
    }
}

impl Run {
    /// Makes a run of `plan` against `target`. Without a seed in the plan, `env` draws one.
    pub fn new(plan: Plan, target: Target, env: Env) -> Self {
        let settings = &plan.settings;
        let workload = Workload {
            client: HttpClient::new(&target, settings.http2, settings.timeout),
            seed: settings.seed.unwrap_or_else(|| env.rng.below(1 << 32)),
            recorder: Recorder::new(&plan),
            stop: watch::Sender::new(0),
            setup_requests: AtomicU64::new(0),
            setup_retries: AtomicU64::new(0),
            plan,
            target,
            env,
        };
        let users = workload.plan.settings.shape.users() as usize;
        let shared = Shared {
            workload,
            began: OnceLock::new(),
            ready: AtomicU64::new(0),
            free: Mutex::default(),
            permits: Arc::new(Semaphore::new(users)),
            runs: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), abort_on_slo: false }
    }

    /// Ends the run as soon as an objective is broken, once 100 requests are known.
    #[must_use]
    pub fn abort_on_slo(mut self, abort: bool) -> Self {
        self.abort_on_slo = abort;
        self
    }

    /// Returns what looks at the run and stops it.
    pub fn controls(&self) -> Controls {
        Controls(self.shared.clone())
    }

    /// Carries it out.
    ///
    /// # Errors
    /// If the target is not trusted, a virtual user cannot be set up, or the run is stopped before the first arrival.
    pub async fn go(self) -> Result<Summary> {
        let shared = &self.shared;
        shared.workload.client.check(&shared.workload.target).await?;
        let clock = &shared.workload.env.clock;
        let setup_began = clock.now();
        tokio::select! {
            ready = shared.set_up() => ready?,
            () = shared.workload.stopped(1) => {
                return Err(Error::new(Code::Cancelled, Reason::CANCELLED, "stopped before the first arrival"));
            }
        }
        let setup = Setup {
            users: shared.ready.load(Ordering::Relaxed),
            requests: shared.workload.setup_requests.load(Ordering::Relaxed),
            retries: shared.workload.setup_retries.load(Ordering::Relaxed),
            took_s: (clock.now() - setup_began).as_secs_f64(),
        };
        let (began, started_ms, tasks) = (clock.now(), clock.unix_ms(), Tasks::new());
        shared.began.set(began).expect("a run begins once");
        let outcome = match &shared.workload.plan.settings.shape {
            Shape::Open { stages, arrivals, .. } => self.open(stages, *arrivals, began, &tasks).await?,
            Shape::Closed { duration, .. } => self.closed(*duration, began, &tasks).await,
        };
        let arrivals_ended = (clock.now() - began).min(shared.workload.plan.settings.shape.duration());
        shared.drain(&tasks).await;
        let took = clock.now() - began;
        Ok(shared.summary(outcome, setup, rfc3339(started_ms), arrivals_ended, took))
    }

    async fn open(
        &self,
        stages: &Stages,
        arrivals: Arrivals,
        began: Instant,
        tasks: &Tasks,
    ) -> Result<Outcome> {
        let shared = &self.shared;
        let schedule = arrivals.schedule(stages, Rng::seeded(shared.workload.seed));
        let pacer = Pacer::start(shared.workload.env.clock.clone(), began, schedule);
        let mut pacer =
            pacer.map_err(|error| Error::internal("no thread for the load's clock").with_source(error))?;
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                biased;
                () = shared.workload.stopped(1) => return Ok(Outcome::Stopped),
                due = pacer.next() => match due {
                    Some(due) => shared.arrive(due, began, tasks),
                    None => break,
                },
                _ = looks.tick() => if self.is_broken(began) {
                    return Ok(Outcome::Aborted);
                }
            }
        }
        // The last stage lasts on after its last arrival.
        let rest = tokio::time::sleep_until(began + stages.duration());
        tokio::select! {
            () = rest => Ok(Outcome::Completed),
            () = shared.workload.stopped(1) => Ok(Outcome::Stopped),
        }
    }

    async fn closed(&self, duration: Duration, began: Instant, tasks: &Tasks) -> Outcome {
        let shared = &self.shared;
        let end = began + duration;
        loop {
            let (Some(user), Ok(permit)) =
                (shared.free.lock().pop_front(), shared.permits.clone().try_acquire_owned())
            else {
                break;
            };
            let shared = shared.clone();
            tasks.spawn_until_stopped(
                "load user",
                async move { shared.live_on(user, permit, began, end).await },
            );
        }
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = shared.workload.stopped(1) => return Outcome::Stopped,
                () = tokio::time::sleep_until(end) => return Outcome::Completed,
                _ = looks.tick() => if self.is_broken(began) {
                    return Outcome::Aborted;
                }
            }
        }
    }

    /// Tells whether an objective is broken already, and the run is to end then. It begins nothing new after that.
    fn is_broken(&self, began: Instant) -> bool {
        if !self.abort_on_slo {
            return false;
        }
        let elapsed = self.shared.workload.env.clock.now() - began;
        let live = self.shared.workload.recorder.live(elapsed);
        if live.requests.count < ABORT_AFTER {
            return false;
        }
        let (dropped, due) = (live.runs.dropped, live.runs.due);
        let verdicts = self.shared.judge(&live.requests, dropped, due, elapsed, &Slo::is_early);
        let broken = verdicts.iter().any(|verdict| !verdict.kept && verdict.value.is_some());
        if broken {
            self.shared.workload.stop.send_modify(|level| *level = (*level).max(1));
        }
        broken
    }
}

impl Shared {
    /// Sets all virtual users up, a few at a time.
    async fn set_up(self: &Arc<Self>) -> Result<()> {
        let workload = &self.workload;
        let users = (0..u64::from(workload.plan.settings.shape.users())).map(|number| async move {
            let mut user = User::new(number, &workload.plan);
            workload.set_up(&mut user).await?;
            self.ready.fetch_add(1, Ordering::Relaxed);
            Ok(user)
        });
        let users: Vec<User> = futures::stream::iter(users).buffered(SETUP_PARALLEL).try_collect().await?;
        self.free.lock().extend(users);
        Ok(())
    }

    /// Lets somebody arrive: a virtual user who is free takes the run, or it is dropped.
    fn arrive(self: &Arc<Self>, due: Duration, began: Instant, tasks: &Tasks) {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let rng = self.workload.rng(run);
        let index = self.workload.plan.scenario(rng.unit());
        let name = &self.workload.plan.scenarios[index].name;
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.workload.recorder.arrived(due, name, true);
        };
        self.workload.recorder.arrived(due, name, false);
        let mut user = self.free.lock().pop_front().expect("who holds a permit has a user");
        let (shared, errand) = (self.clone(), Errand { run, rng, due, began });
        tasks.spawn_until_stopped("load run", async move {
            let ended = shared.workload.run(&mut user, &shared.workload.plan.scenarios[index], &errand).await;
            shared.ended(ended);
            shared.free.lock().push_back(user);
            drop(permit);
        });
    }

    /// Lets a user of a closed loop run again and again.
    async fn live_on(&self, mut user: User, permit: OwnedSemaphorePermit, began: Instant, end: Instant) {
        let clock = &self.workload.env.clock;
        while clock.now() < end && !self.workload.is_stopping() {
            let run = self.runs.fetch_add(1, Ordering::Relaxed);
            let rng = self.workload.rng(run);
            let scenario = &self.workload.plan.scenarios[self.workload.plan.scenario(rng.unit())];
            let errand = Errand { run, rng, due: clock.now() - began, began };
            self.workload.recorder.arrived(errand.due, &scenario.name, false);
            let ended = self.workload.run(&mut user, scenario, &errand).await;
            self.ended(ended);
            if ended == Ended::Failed {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
        drop(permit);
    }

    fn ended(&self, ended: Ended) {
        match ended {
            Ended::Completed => self.workload.recorder.ended(false),
            Ended::Failed => self.workload.recorder.ended(true),
            Ended::Interrupted => {}
        }
    }

    /// Waits for the runs under way, then cuts them off.
    async fn drain(&self, tasks: &Tasks) {
        let all = self.workload.plan.settings.shape.users();
        let patient = DRAIN_MAX.max(self.workload.plan.settings.timeout);
        tokio::select! {
            _ = self.permits.acquire_many(all) => {}
            () = tokio::time::sleep(patient) => {}
            () = async { self.workload.stopped(1).await; tokio::time::sleep(STOP_MAX).await } => {}
            () = self.workload.stopped(2) => {}
        }
        if tasks.drain(STOP_MAX).await.is_err() {
            tracing::warn!("runs did not end when they were cut off");
        }
    }

    fn judge(
        &self,
        requests: &Requests,
        dropped: u64,
        due: u64,
        elapsed: Duration,
        which: &dyn Fn(&Slo) -> bool,
    ) -> Vec<Verdict> {
        let dropped = if due == 0 { 0.0 } else { dropped as f64 / due as f64 };
        let slos = self.workload.plan.slos.iter().filter(|slo| which(slo));
        slos.map(|slo| match &slo.step {
            None => slo.judge(requests, dropped),
            Some(step) => slo.judge(&self.workload.recorder.row(step, elapsed), dropped),
        })
        .collect()
    }

    fn summary(
        &self,
        outcome: Outcome,
        setup: Setup,
        started_at: String,
        arrivals_ended: Duration,
        took: Duration,
    ) -> Summary {
        let plan = &self.workload.plan;
        let settings = &plan.settings;
        let measured = arrivals_ended.saturating_sub(settings.warm_up);
        let totals = self.workload.recorder.finish(took, measured, &settings.shape);
        let (requests, mut runs) = (totals.requests, totals.runs);
        runs.unfinished = runs.started - runs.completed - runs.failed;
        let slos = self.judge(&requests, runs.dropped, runs.due, arrivals_ended, &|_| true);
        let mut summary = Summary {
            format: SUMMARY_FORMAT.to_owned(),
            scenario: plan.name.clone(),
            title: plan.title.clone(),
            description: plan.description.clone(),
            target: self.workload.target.to_string(),
            shape: settings.shape.to_string(),
            open_loop: matches!(settings.shape, Shape::Open { .. }),
            seed: self.workload.seed,
            started_at,
            took_s: took.as_secs_f64(),
            measured_s: measured.as_secs_f64(),
            outcome,
            setup,
            runs,
            requests,
            service_ms: totals.service_ms,
            lag_ms: totals.lag_ms,
            steps: totals.rows,
            slos,
            warnings: Vec::new(),
            timeline: totals.timeline,
            window_s: totals.window.as_secs_f64(),
            slowest: totals.slowest,
            failures: totals.failures,
            environment: self.environment(),
            scenario_text: plan.text.clone(),
        };
        summary.warnings = warnings(&summary, settings.shape.users());
        summary
    }

    fn environment(&self) -> Environment {
        let settings = &self.workload.plan.settings;
        Environment {
            cpus: std::thread::available_parallelism().map_or(0, |cpus| cpus.get() as u64),
            os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            http: if settings.http2 { "HTTP/2 without TLS" } else { "HTTP/1.1, connections kept" }.to_owned(),
            timeout_s: settings.timeout.as_secs_f64(),
            warm_up_s: settings.warm_up.as_secs_f64(),
            trace_sample: settings.trace_sample,
            debug_build: cfg!(debug_assertions),
        }
    }
}

/// Says what keeps the numbers from being what they seem.
fn warnings(summary: &Summary, users: u32) -> Vec<String> {
    let mut warnings = Vec::new();
    let (runs, requests) = (&summary.runs, &summary.requests);
    match summary.outcome {
        Outcome::Completed => {}
        Outcome::Stopped => warnings.push("The run was stopped before its end.".to_owned()),
        Outcome::Aborted => warnings.push("The run was ended at the first broken SLO.".to_owned()),
    }
    if runs.dropped > 0 {
        let percent = runs.dropped as f64 * 100.0 / runs.due.max(1) as f64;
        warnings.push(format!(
            "{} of {} arrivals ({percent:.1} %) found all {users} virtual users busy and were dropped: no percentile \
             knows of them. The system is slower than it is asked to be, or in_flight_max is too low.",
            runs.dropped, runs.due
        ));
    }
    let lag = summary.lag_ms.as_ref().map_or(0.0, |lag| lag.p99);
    if lag > LAG_P99_MAX.as_secs_f64() * 1e3 {
        warnings.push(format!(
            "The generator itself was late: it sent 1 % of the requests more than {lag:.1} ms after they were due, which \
             is part of the latencies. It needs more processor, or a machine of its own."
        ));
    }
    if runs.unfinished > 0 {
        warnings.push(format!("{} runs were cut off at the end; they are not judged.", runs.unfinished));
    }
    if !summary.open_loop {
        warnings.push(
            "A closed loop sends less while the system is slow: percentiles do not show the wait of those who would have \
             come. A rate shows it (--rate)."
                .to_owned(),
        );
    }
    if requests.count > 0 && requests.count < P99_MIN {
        warnings.push(format!("{} requests are few for a 99th percentile.", requests.count));
    }
    if summary.environment.debug_build {
        warnings.push("The generator was built without optimisation.".to_owned());
    }
    warnings
}
