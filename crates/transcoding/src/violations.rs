//! What is wrong with a request: all of it, up to a limit, so that a client need not find it out one by one.

use crate::json::shorten;
use banyan_core::{Code, Error, FieldViolation, Reason, Result};

/// The most violations that one answer names.
pub(crate) const VIOLATIONS_MAX: usize = 16;

/// Collects what is wrong with the fields of one request.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    found: Vec<FieldViolation>,
    /// The JSON paths of the same fields.
    places: Vec<String>,
}

impl Violations {
    /// Notes what is wrong with the field at a JSON path. Only the first finding about a field counts.
    pub(crate) fn push(&mut self, place: &str, description: &str) {
        self.push_spelled(place, place, description);
    }

    /// Notes what is wrong with the field at the JSON path `place`, which the client spells differently.
    pub(crate) fn push_spelled(&mut self, place: &str, spelled: &str, description: &str) {
        // Both may come from outside.
        let (place, field) = (shorten(place), shorten(spelled));
        if self.is_full() || self.places.contains(&place) {
            return;
        }
        self.found.push(FieldViolation { field, description: shorten(description) });
        self.places.push(place);
    }

    /// Tells whether no more are noted.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() == VIOLATIONS_MAX
    }

    /// Tells whether something is known to be wrong with the field at a JSON path, around it or inside of it.
    pub(crate) fn touch(&self, place: &str) -> bool {
        let inside = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.places.iter().any(|known| inside(known, place) || inside(place, known))
    }

    /// # Errors
    /// `InvalidArgument` with everything that was noted, if there is anything.
    pub(crate) fn into_result(self) -> Result<()> {
        let Some(first) = self.found.first() else {
            return Ok(());
        };
        let mut message = format!("{}: {}", first.field, first.description);
        match self.found.len() - 1 {
            0 => {}
            1 => message.push_str(" (and 1 more violation)"),
            more => message.push_str(&format!(" (and {more} more violations)")),
        }
        let error = Error::new(Code::InvalidArgument, Reason::INVALID_FIELD, message);
        Err(self.found.into_iter().fold(error, Error::with_violation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_field_is_known_around_and_inside_of_it() {
        let mut violations = Violations::default();
        violations.push("items[1].price", "is wrong");
        for place in ["items", "items[1]", "items[1].price", "items[1].price.units"] {
            assert!(violations.touch(place), "{place}");
        }
        for place in ["item", "items[2]", "items[1].pri", "items[1].prices", "price"] {
            assert!(!violations.touch(place), "{place}");
        }
    }

    #[test]
    fn a_field_is_named_once_and_not_too_many_are() {
        let mut violations = Violations::default();
        violations.push_spelled("pageSize", "page_size", "is not a number");
        violations.push("pageSize", "is required");
        let error = violations.into_result().unwrap_err();
        assert_eq!((error.message(), error.violations().len()), ("page_size: is not a number", 1));

        let mut violations = Violations::default();
        (0..100).for_each(|n| violations.push(&n.to_string(), "is wrong"));
        let error = violations.into_result().unwrap_err();
        assert_eq!(error.message(), "0: is wrong (and 15 more violations)");
        assert_eq!(error.violations().len(), VIOLATIONS_MAX);
        assert!(Violations::default().into_result().is_ok());
    }
}
