//! A failing network on demand, reproducible from a seed.

use banyan_core::{Error, Result, Rng};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often which fault is injected. As configuration, `delay` is written `delay_ms`.
///
/// The probabilities are in `0..=1` and exclude each other, so their sum is at most 1. The default injects nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultOptions {
    pub delay_probability: f64,
    /// How long a delayed message is held back.
    #[serde(rename = "delay_ms", with = "milliseconds")]
    pub delay: Duration,
    /// The request or its answer is lost: the caller learns nothing until its deadline.
    pub drop_probability: f64,
    /// The request arrives twice.
    pub duplicate_probability: f64,
    /// The caller sees an unavailable network at once.
    pub error_probability: f64,
    /// Where all decisions follow from.
    pub seed: u64,
}

/// What is to happen to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Deliver it after this long.
    Delay(Duration),
    /// Lose it.
    Drop,
    /// Deliver it twice.
    Duplicate,
    /// Refuse it as a broken connection does.
    Error,
}

/// Decides the fate of each message. The n-th decision depends on the options alone.
#[derive(Clone, Debug)]
pub struct FaultInjector {
    options: FaultOptions,
    rng: Rng,
}

impl FaultOptions {
    /// Checks that the probabilities are such.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] naming the field.
    pub fn validate(&self) -> Result<()> {
        for (field, probability) in self.probabilities() {
            if !(0.0..=1.0).contains(&probability) {
                return Err(Error::invalid(field, format!("must be between 0 and 1, is {probability}")));
            }
        }
        let sum: f64 = self.probabilities().iter().map(|(_, probability)| probability).sum();
        // 0.7 + 0.2 + 0.1 is not exactly 1 in binary.
        if sum > 1.0 + 1e-9 {
            return Err(Error::invalid(
                "error_probability",
                format!("the probabilities exclude each other: their sum must be at most 1, is {sum}"),
            ));
        }
        Ok(())
    }

    fn probabilities(&self) -> [(&'static str, f64); 4] {
        [
            ("delay_probability", self.delay_probability),
            ("drop_probability", self.drop_probability),
            ("duplicate_probability", self.duplicate_probability),
            ("error_probability", self.error_probability),
        ]
    }
}

impl FaultInjector {
    /// Makes an injector at the start of its sequence of decisions.
    ///
    /// # Errors
    /// Those of [`FaultOptions::validate`].
    pub fn new(options: FaultOptions) -> Result<Self> {
        options.validate()?;
        let rng = Rng::seeded(options.seed);
        Ok(Self { options, rng })
    }

    /// Decides what happens to the next message.
    pub fn decide(&self) -> Fault {
        let options = &self.options;
        let faults = [
            (options.delay_probability, Fault::Delay(options.delay)),
            (options.drop_probability, Fault::Drop),
            (options.duplicate_probability, Fault::Duplicate),
            (options.error_probability, Fault::Error),
        ];
        let mut left = self.rng.unit();
        for (probability, fault) in faults {
            if left < probability {
                return fault;
            }
            left -= probability;
        }
        Fault::None
    }

    pub fn options(&self) -> &FaultOptions {
        &self.options
    }
}

mod milliseconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> FaultOptions {
        FaultOptions {
            delay_probability: 0.1,
            delay: Duration::from_millis(5),
            drop_probability: 0.2,
            duplicate_probability: 0.3,
            error_probability: 0.1,
            seed: 42,
        }
    }

    fn decisions(options: FaultOptions) -> Vec<Fault> {
        let injector = FaultInjector::new(options).unwrap();
        std::iter::repeat_with(|| injector.decide()).take(10_000).collect()
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(decisions(options()), decisions(options()));
        assert_ne!(decisions(options()), decisions(FaultOptions { seed: 43, ..options() }));
    }

    #[test]
    fn each_fault_is_as_frequent_as_configured() {
        let made = decisions(options());
        let share = |fault| made.iter().filter(|made| **made == fault).count() as f64 / made.len() as f64;
        for (fault, expected) in [
            (Fault::Delay(Duration::from_millis(5)), 0.1),
            (Fault::Drop, 0.2),
            (Fault::Duplicate, 0.3),
            (Fault::Error, 0.1),
            (Fault::None, 0.3),
        ] {
            assert!((share(fault) - expected).abs() < 0.02, "{fault:?}: {} of seed 42", share(fault));
        }
    }

    #[test]
    fn nothing_is_injected_by_default_and_always_at_probability_one() {
        assert!(decisions(FaultOptions::default()).iter().all(|fault| *fault == Fault::None));
        let always = FaultOptions { drop_probability: 1.0, ..Default::default() };
        assert!(decisions(always).iter().all(|fault| *fault == Fault::Drop));
    }

    #[test]
    fn impossible_probabilities_are_refused_by_name() {
        for (field, bad) in [
            ("drop_probability", FaultOptions { drop_probability: -0.1, ..Default::default() }),
            ("delay_probability", FaultOptions { delay_probability: f64::NAN, ..Default::default() }),
            ("error_probability", FaultOptions { error_probability: 0.5, ..options() }),
        ] {
            assert_eq!(FaultInjector::new(bad).unwrap_err().violations()[0].field, field);
        }
    }

    #[test]
    fn configuration_names_the_unit_and_refuses_unknown_fields() {
        let read: FaultOptions =
            serde_json::from_str(r#"{"delay_probability": 0.5, "delay_ms": 7}"#).unwrap();
        assert_eq!((read.delay, read.seed), (Duration::from_millis(7), 0));
        assert!(serde_json::from_str::<FaultOptions>(r#"{"delay": 7}"#).is_err());
        let written = serde_json::to_string(&options()).unwrap();
        assert_eq!(serde_json::from_str::<FaultOptions>(&written).unwrap(), options());
    }
}
