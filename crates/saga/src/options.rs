//! The bounds and habits of a service's sagas.

use banyan_core::Backoff;
use std::time::Duration;

/// What a service may set about its sagas. Every bound has a default that suits a service on one machine.
#[derive(Clone, Debug)]
pub struct SagaOptions {
    /// Sagas driven at the same time; more wait in the table. Suspended sagas do not count.
    pub sagas_active_max: usize,
    /// How a step is retried that does not say otherwise.
    pub retry: Backoff,
    /// How an undo is retried before the saga is parked; generous, because an operator is the next resort.
    pub undo_retry: Backoff,
    /// Time limit of one attempt of a step or an undo.
    pub attempt_timeout: Duration,
    /// A wait longer than this leaves memory: the saga is suspended and replayed when the time has come.
    pub suspend_after: Duration,
    /// How often the table is searched for due sagas that no wake-up announced.
    pub poll: Duration,
    /// Steps, commits, timers and signals of one saga; a workflow that goes on past it is parked.
    pub operations_max: u32,
    /// Encoded size of an input, a step's result or a signal.
    pub payload_bytes_max: usize,
    /// Signals of one saga that were delivered and not yet consumed.
    pub signals_waiting_max: u32,
    /// How long ended sagas are kept for the operator.
    pub retention: Duration,
}

impl Default for SagaOptions {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            sagas_active_max: 256,
            retry: Backoff { initial: second / 10, max: 30 * second, multiplier: 2.0, attempts_max: 10 },
            undo_retry: Backoff { initial: second / 10, max: 60 * second, multiplier: 2.0, attempts_max: 20 },
            attempt_timeout: 10 * second,
            suspend_after: 2 * second,
            poll: second,
            operations_max: 1_000,
            payload_bytes_max: 1 << 20,
            signals_waiting_max: 100,
            retention: 7 * 24 * 3_600 * second,
        }
    }
}
