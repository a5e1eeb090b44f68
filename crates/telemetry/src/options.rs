//! What may be configured of telemetry.

use crate::OtlpOptions;
use banyan_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Bytes of a run's label.
const LABEL_MAX: usize = 64;

/// The section `[telemetry]` of a system's configuration.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryOptions {
    /// Whether spans are recorded at all.
    pub enabled: bool,
    /// Traces that neither failed nor were slow, kept per second; 0 to 1,000.
    pub traces_per_second: u32,
    /// A trace with a span that took longer than this is always kept, in milliseconds.
    pub slow_ms: u64,
    /// Spans that a process holds until it is known whether their trace is kept; 1,000 to 1,000,000. One takes about 400 bytes.
    pub spans_held_max: usize,
    /// How long a process holds them, in milliseconds; 1,000 to 600,000.
    pub held_ms_max: u64,
    /// Size of the local memory, in MiB; 1 to 100,000. The oldest traces make room.
    pub memory_mib_max: u64,
    /// Age of what the local memory keeps, in hours; at least 1.
    pub memory_hours_max: u64,
    /// What this run is called when it is compared with others; at most 64 bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// The collector that what is kept is sent to as well.
    pub otlp: OtlpOptions,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            traces_per_second: 10,
            slow_ms: 1_000,
            spans_held_max: 50_000,
            held_ms_max: 30_000,
            memory_mib_max: 256,
            memory_hours_max: 24,
            label: String::new(),
            otlp: OtlpOptions::default(),
        }
    }
}

impl TelemetryOptions {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the field.
    pub fn check(&self) -> Result<()> {
        let within = |field: &str, value: u64, min: u64, max: u64| match (min..=max).contains(&value) {
            true => Ok(()),
            false => {
                let problem = format!("must be between {min} and {max}, and is {value}");
                Err(Error::invalid(format!("telemetry.{field}"), problem))
            }
        };
        within("traces_per_second", self.traces_per_second.into(), 0, 1_000)?;
        within("spans_held_max", self.spans_held_max as u64, 1_000, 1_000_000)?;
        within("held_ms_max", self.held_ms_max, 1_000, 600_000)?;
        within("memory_mib_max", self.memory_mib_max, 1, 100_000)?;
        within("memory_hours_max", self.memory_hours_max, 1, 24 * 366)?;
        if self.label.len() > LABEL_MAX {
            return Err(Error::invalid("telemetry.label", format!("must be at most {LABEL_MAX} bytes")));
        }
        self.otlp.check()
    }

    pub(crate) fn slow(&self) -> Duration {
        Duration::from_millis(self.slow_ms)
    }

    pub(crate) fn held(&self) -> Duration {
        Duration::from_millis(self.held_ms_max)
    }
}
