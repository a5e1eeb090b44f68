//! The states of a saga.

use banyan_core::{Error, Result};
use std::fmt;

/// Where a saga is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its workflow goes forward, or waits for a timer, a signal or another attempt.
    Running,
    /// It failed or was cancelled; what was done is being undone.
    Compensating,
    /// Every step was done.
    Completed,
    /// Everything that had been started was undone.
    Compensated,
    /// It cannot go on without an operator.
    Parked,
}

impl State {
    const ALL: [State; 5] =
        [State::Running, State::Compensating, State::Completed, State::Compensated, State::Parked];

    /// Returns the word for the state, for example `RUNNING`.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "RUNNING",
            State::Compensating => "COMPENSATING",
            State::Completed => "COMPLETED",
            State::Compensated => "COMPENSATED",
            State::Parked => "PARKED",
        }
    }

    /// Reads the word for a state, in any case.
    ///
    /// # Errors
    /// `INVALID_FIELD` naming `state`.
    pub fn parse(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(word));
        found.ok_or_else(|| {
            let words = Self::ALL.map(State::as_str).join(", ");
            Error::invalid("state", format!("{word:?} is none of {words}"))
        })
    }

    /// Tells whether nothing can happen to the saga any more.
    pub fn is_end(self) -> bool {
        matches!(self, State::Completed | State::Compensated)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_back_from_its_word() {
        for state in State::ALL {
            assert_eq!(State::parse(&state.to_string().to_lowercase()).unwrap(), state);
        }
        assert_eq!(State::parse("").unwrap_err().violations()[0].field, "state");
    }
}
