//! The test cards: what the holder's bank does with a charge.

/// A test card, by its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Card {
    Approved,
    Declined,
    /// Approved, but late.
    Slow,
    /// Charged, but the answer does not come in time.
    Timeout,
    /// An internal error the first time, approved the second.
    Error,
}

impl Card {
    /// Reads a token; `None` for one the processor never issued.
    pub(crate) fn from_token(token: &str) -> Option<Self> {
        Some(match token {
            "tok_visa" => Card::Approved,
            "tok_declined" => Card::Declined,
            "tok_slow" => Card::Slow,
            "tok_timeout" => Card::Timeout,
            "tok_error" => Card::Error,
            _ => return None,
        })
    }
}
