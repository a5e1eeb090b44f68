//! How load comes: at a rate (open loop) or by users who wait for their answers (closed loop); and what arguments change.

use crate::duration::{duration, written};
use crate::file::LoadText;
use crate::limits::{
    DURATION_MAX, IN_FLIGHT_DEFAULT, PAUSE_MAX, RATE_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX, USERS_MAX,
};
use crate::mistake::Mistake;
use crate::stages::Stages;
use banyan_core::Rng;
use banyan_core::suggestion;
use std::fmt;
use std::time::Duration;

/// How arrivals are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// As people come who do not know of each other: a Poisson process.
    #[default]
    Poisson,
    /// With equal distances.
    Uniform,
}

/// How load comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Arrivals at a rate, whatever the answers do.
    Open { stages: Stages, arrivals: Arrivals, in_flight_max: u32 },
    /// Users who begin anew when they have ended.
    Closed { users: u32, duration: Duration },
}

/// What arguments say instead of the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Arrivals per second.
    pub rate: Option<f64>,
    pub duration: Option<Duration>,
    pub stages: Option<Stages>,
    pub users: Option<u32>,
    pub arrivals: Option<Arrivals>,
    pub in_flight_max: Option<u32>,
    pub warm_up: Option<Duration>,
    pub timeout: Option<Duration>,
    /// The fraction of requests whose `traceparent` asks for a trace.
    pub trace_sample: Option<f64>,
    /// HTTP/2 without TLS, by prior knowledge.
    pub http2: Option<bool>,
    pub seed: Option<u64>,
    /// SLOs beside those of the file.
    pub slos: Vec<String>,
    /// Leaves those of the file out.
    pub no_file_slos: bool,
}

/// What holds for a run as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) shape: Shape,
    pub(crate) warm_up: Duration,
    pub(crate) timeout: Duration,
    pub(crate) trace_sample: f64,
    pub(crate) http2: bool,
    pub(crate) seed: Option<u64>,
}

impl Arrivals {
    /// Reads `poisson` or `uniform`.
    ///
    /// # Errors
    /// The nearest of the two.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "poisson" => Ok(Self::Poisson),
            "uniform" => Ok(Self::Uniform),
            other => Err(format!("{other:?} is not a choice; {}", suggestion(other, ["poisson", "uniform"]))),
        }
    }

    /// Returns when each arrival is due, counted from the beginning.
    pub(crate) fn schedule(
        self,
        stages: &Stages,
        rng: Rng,
    ) -> impl Iterator<Item = Duration> + Send + 'static {
        let stages = stages.clone();
        let mut come = 0.0;
        std::iter::from_fn(move || {
            if self == Self::Poisson {
                come -= (1.0 - rng.unit()).ln();
            }
            let due = stages.when(come);
            if self == Self::Uniform {
                come += 1.0;
            }
            due
        })
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Poisson => "poisson",
            Self::Uniform => "uniform",
        })
    }
}

impl Shape {
    /// Returns for how long load comes.
    pub fn duration(&self) -> Duration {
        match self {
            Self::Open { stages, .. } => stages.duration(),
            Self::Closed { duration, .. } => *duration,
        }
    }

    /// Returns how many virtual users there are: as many requests can be under way.
    pub fn users(&self) -> u32 {
        match self {
            Self::Open { in_flight_max, .. } => *in_flight_max,
            Self::Closed { users, .. } => *users,
        }
    }

    fn check(&self) -> Result<(), Mistake> {
        let users = match self {
            Self::Open { .. } => "load.in_flight_max",
            Self::Closed { .. } => "load.users",
        };
        if !(1..=USERS_MAX).contains(&self.users()) {
            return Err(Mistake::new(users, format!("must be from 1 to {USERS_MAX}")));
        }
        if self.duration().is_zero() || self.duration() > DURATION_MAX {
            let bounds = format!("must be longer than nothing and at most {}", written(DURATION_MAX));
            return Err(Mistake::new("load.for", bounds));
        }
        Ok(())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { stages, arrivals, in_flight_max } => {
                write!(
                    f,
                    "open loop, {arrivals} arrivals each second: {stages}; at most {in_flight_max} at a time"
                )
            }
            Self::Closed { users, duration } => {
                write!(f, "closed loop, {users} users for {}", written(*duration))
            }
        }
    }
}

impl Settings {
    /// Puts together what the file and the arguments say.
    pub(crate) fn of(text: &LoadText, over: &Overrides) -> Result<Self, Mistake> {
        let settings = Self {
            shape: shape(text, over)?,
            warm_up: time("load.warm_up", text.warm_up.as_deref(), over.warm_up)?.unwrap_or_default(),
            timeout: time("load.timeout", text.timeout.as_deref(), over.timeout)?.unwrap_or(TIMEOUT_DEFAULT),
            trace_sample: over.trace_sample.or(text.trace_sample).unwrap_or(1.0),
            http2: over.http2.or(text.http2).unwrap_or_default(),
            seed: over.seed.or(text.seed),
        };
        settings.shape.check()?;
        match () {
            () if settings.timeout.is_zero() || settings.timeout > TIMEOUT_MAX => {
                let bounds = format!("must be longer than nothing and at most {}", written(TIMEOUT_MAX));
                Err(Mistake::new("load.timeout", bounds))
            }
            () if !(0.0..=1.0).contains(&settings.trace_sample) => {
                Err(Mistake::new("load.trace_sample", "must be from 0 to 1"))
            }
            () if settings.warm_up >= settings.shape.duration() => {
                Err(Mistake::new("load.warm_up", "must end before the load does, or nothing is measured"))
            }
            () => Ok(settings),
        }
    }
}

fn shape(text: &LoadText, over: &Overrides) -> Result<Shape, Mistake> {
    let for_text = time("load.for", text.duration.as_deref(), None)?;
    let file_stages = match &text.stages {
        Some(list) => {
            let stages = Stages::parse(list.iter().map(String::as_str));
            Some(stages.map_err(|problem| Mistake::new("load.stages", problem))?)
        }
        None => None,
    };
    if [text.rate.is_some(), text.stages.is_some(), text.users.is_some()].iter().filter(|is| **is).count() > 1
    {
        return Err(Mistake::new("load", "takes one of rate, stages and users"));
    }
    if text.stages.is_some() && text.duration.is_some() {
        return Err(Mistake::new("load.for", "the stages say already how long each of them takes"));
    }
    let length = over.duration.or(for_text).or(file_stages.as_ref().map(Stages::duration));
    let missing = || Mistake::new("load.for", "is missing: how long does the load come? (--for 30s)");
    let arrivals = match (&over.arrivals, &text.arrivals) {
        (Some(arrivals), _) => *arrivals,
        (None, Some(text)) => {
            Arrivals::parse(text).map_err(|problem| Mistake::new("load.arrivals", problem))?
        }
        (None, None) => Arrivals::default(),
    };
    let in_flight_max = over.in_flight_max.or(text.in_flight_max).unwrap_or(IN_FLIGHT_DEFAULT);
    let open = |stages| Shape::Open { stages, arrivals, in_flight_max };
    let constant = |rate: f64| {
        if !(0.0..=RATE_MAX).contains(&rate) || rate == 0.0 {
            return Err(Mistake::new("load.rate", format!("must be above 0 and at most {RATE_MAX}")));
        }
        let stages = Stages::constant(rate, length.ok_or_else(missing)?);
        stages.map(open).map_err(|problem| Mistake::new("load.rate", problem))
    };
    if let Some(stages) = &over.stages {
        return Ok(open(stages.clone()));
    }
    if let Some(users) = over.users {
        return Ok(Shape::Closed { users, duration: length.ok_or_else(missing)? });
    }
    if let Some(rate) = over.rate {
        return constant(rate);
    }
    match (file_stages, text.users, text.rate) {
        (Some(_), _, _) if over.duration.is_some() => {
            Err(Mistake::new("load.stages", "--for cannot stretch stages; say with --stages what is meant"))
        }
        (Some(stages), _, _) => Ok(open(stages)),
        (None, Some(users), _) => Ok(Shape::Closed { users, duration: length.ok_or_else(missing)? }),
        (None, None, Some(rate)) => constant(rate),
        (None, None, None) => {
            let problem = "is missing: how many arrive each second? (--rate 20, --stages, or --users for a closed loop)";
            Err(Mistake::new("load.rate", problem))
        }
    }
}

/// Reads a time that the file may have and an argument may say otherwise.
fn time(key: &str, text: Option<&str>, over: Option<Duration>) -> Result<Option<Duration>, Mistake> {
    match (over, text) {
        (Some(over), _) => Ok(Some(over)),
        (None, Some(text)) => duration(text).map(Some).map_err(|problem| Mistake::new(key, problem)),
        (None, None) => Ok(None),
    }
}

/// Reads a pause: `1s`, or `1s..3s` of which one is drawn.
pub(crate) fn pause(key: &str, text: &str) -> Result<(Duration, Duration), Mistake> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let read = |text: &str| duration(text).map_err(|problem| Mistake::new(key, problem));
    let (from, to) = (read(from)?, read(to)?);
    if from > to || to > PAUSE_MAX {
        let bounds = format!("goes from the shorter to the longer one, at most {}", written(PAUSE_MAX));
        return Err(Mistake::new(key, bounds));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(arrivals: Arrivals, stages: &str, seed: u64) -> Vec<Duration> {
        arrivals.schedule(&stages.parse().unwrap(), Rng::seeded(seed)).collect()
    }

    #[test]
    fn a_uniform_schedule_has_exactly_the_arrivals_of_its_stages() {
        for (stages, count) in [("20 for 3s", 60), ("1000 for 60s", 60_000), ("0..100 for 10s", 500)] {
            assert_eq!(schedule(Arrivals::Uniform, stages, 1).len(), count, "{stages}");
        }
        let gaps = schedule(Arrivals::Uniform, "20 for 3s", 1);
        assert!(
            gaps.windows(2)
                .all(|pair| (pair[1] - pair[0]).abs_diff(Duration::from_millis(50)).as_micros() < 2)
        );
    }

    #[test]
    fn a_poisson_schedule_has_the_mean_and_the_spread_of_one_and_follows_its_seed() {
        let arrivals = schedule(Arrivals::Poisson, "1000 for 60s", 7);
        // 60,000 ± 5 standard deviations.
        assert!((58_775..61_225).contains(&arrivals.len()), "{}", arrivals.len());
        let mut per_second = [0.0_f64; 60];
        arrivals.iter().for_each(|at| per_second[at.as_secs() as usize] += 1.0);
        let variance = per_second.iter().map(|count| (count - 1_000.0).powi(2)).sum::<f64>() / 60.0;
        assert!((500.0..1_800.0).contains(&variance), "the variance is the mean: {variance}");
        assert_eq!(arrivals, schedule(Arrivals::Poisson, "1000 for 60s", 7));
        assert_ne!(arrivals, schedule(Arrivals::Poisson, "1000 for 60s", 8));
        let ramp = schedule(Arrivals::Poisson, "0..1000 for 20s", 7);
        let early = ramp.iter().filter(|at| at.as_secs() < 10).count() as f64;
        assert!(
            (0.22..0.28).contains(&(early / ramp.len() as f64)),
            "a quarter comes in the first half: {early}"
        );
    }

    #[test]
    fn arguments_win_over_the_file() {
        let file = LoadText {
            rate: Some(20.0),
            duration: Some("30s".to_owned()),
            in_flight_max: Some(9),
            ..LoadText::default()
        };
        let shape = |over: Overrides| Settings::of(&file, &over).map(|settings| settings.shape.to_string());
        let rate = Overrides { rate: Some(5.0), ..Overrides::default() };
        assert!(shape(rate).unwrap().contains("5 for 30s; at most 9"));
        let longer = Overrides { duration: Some(Duration::from_secs(60)), ..Overrides::default() };
        assert!(shape(longer).unwrap().contains("20 for 1m"));
        let users = Overrides { users: Some(3), ..Overrides::default() };
        assert_eq!(shape(users).unwrap(), "closed loop, 3 users for 30s");
        let stages = Overrides { stages: Some("1..9 for 8s".parse().unwrap()), ..Overrides::default() };
        assert!(shape(stages).unwrap().contains("1..9 for 8s"));
    }

    #[test]
    fn what_makes_no_sense_names_its_key() {
        let text = |text: &str| toml::from_str::<LoadText>(text).unwrap();
        for (file, key) in [
            ("", "load.rate"),
            ("rate = 20", "load.for"),
            ("rate = 0\nfor = '1s'", "load.rate"),
            ("rate = 1\nusers = 2\nfor = '1s'", "load"),
            ("stages = ['1 for 9s']\nfor = '1s'", "load.for"),
            ("stages = ['fast']", "load.stages"),
            ("users = 0\nfor = '1s'", "load.users"),
            ("rate = 9\nfor = '1s'\nin_flight_max = 20000", "load.in_flight_max"),
            ("rate = 9\nfor = '1s'\nwarm_up = '2s'", "load.warm_up"),
            ("rate = 9\nfor = '1s'\ntimeout = '1h'", "load.timeout"),
            ("rate = 9\nfor = '1s'\ntrace_sample = 2.0", "load.trace_sample"),
            ("rate = 9\nfor = '1s'\narrivals = 'poison'", "load.arrivals"),
        ] {
            let mistake = Settings::of(&text(file), &Overrides::default()).unwrap_err();
            assert_eq!(mistake.key, key, "{file}: {mistake}");
        }
    }
}
