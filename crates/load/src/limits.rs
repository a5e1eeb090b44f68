//! What bounds a run. A file or an argument beyond one of these is refused before anything is sent.

use std::time::Duration;

/// Arrivals per second at most.
pub const RATE_MAX: f64 = 100_000.0;
/// How long a run may take.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Stages of a schedule at most, steps of a staircase included.
pub const STAGES_MAX: usize = 100;
/// Virtual users at most: as many requests can be under way.
pub const USERS_MAX: u32 = 10_000;
/// Virtual users of an open loop, unless the file or an argument says otherwise.
pub const IN_FLIGHT_DEFAULT: u32 = 500;
/// How long an answer may take, and unless somebody says otherwise.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(600);
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// How long one step may think, wait between two looks, or wait for what it looks for.
pub const PAUSE_MAX: Duration = Duration::from_secs(600);
/// Bytes of a scenario file, and of a data file, at most.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
pub const DATA_BYTES_MAX: u64 = 16 << 20;
/// Rows of one data set at most.
pub const ROWS_MAX: usize = 100_000;
/// Scenarios in a file, and steps in all of them together, at most.
pub const SCENARIOS_MAX: usize = 16;
pub const STEPS_MAX: usize = 64;
/// Bytes of the body of one request at most.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of an answer that are kept to extract values from; of a longer one the rest is read and dropped.
pub const ANSWER_KEPT_MAX: usize = 4 << 20;
/// Virtual users that are set up at the same time, and attempts to set one up.
pub const SETUP_PARALLEL: usize = 8;
pub const SETUP_ATTEMPTS_MAX: u32 = 8;
/// How long runs under way may take to end after the last arrival, and after somebody stopped the run.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);
pub const STOP_MAX: Duration = Duration::from_secs(5);
/// Kinds of errors that are counted apart in one step; the rest are "other".
pub const ERROR_KINDS_MAX: usize = 24;
/// Requests that are told one by one: the slowest, and the first that failed.
pub const EXAMPLES_MAX: usize = 20;
/// Points of the plots over time, about.
pub const POINTS: u32 = 240;
/// The shortest time that a point of a plot stands for.
pub const WINDOW_MIN: Duration = Duration::from_millis(250);
/// How late the generator itself may send (99th percentile) before the numbers are called into question.
pub const LAG_P99_MAX: Duration = Duration::from_millis(5);
/// Requests that must have been measured before a run is aborted on a broken SLO.
pub const ABORT_AFTER: u64 = 100;
