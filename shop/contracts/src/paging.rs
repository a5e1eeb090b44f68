//! Pages of lists: how many entries, behind which one, and where the next page starts.
//!
//! A page ends at an entry and the next one starts behind it, so that what is added in the meantime neither repeats nor
//! hides anything. The token of a page names the last entry of the page before it.

use crate::checks::{TEXT_CHARS_MAX, check_text};
use banyan_core::{Error, Result};

/// Entries on a page unless the request says otherwise.
pub const PAGE_DEFAULT: usize = 20;
/// Entries on a page at most.
pub const PAGE_MAX: usize = 100;

/// What a request asks of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    size: usize,
    token: String,
}

impl Page {
    /// Checks the fields `page_size` (0 means 20) and `page_token` of a request.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] naming the field.
    pub fn new(page_size: i32, page_token: String) -> Result<Self> {
        let size = match usize::try_from(page_size) {
            Ok(0) => PAGE_DEFAULT,
            Ok(size @ 1..=PAGE_MAX) => size,
            _ => return Err(Error::invalid("page_size", format!("must be 0 to {PAGE_MAX}"))),
        };
        check_text("page_token", &page_token, TEXT_CHARS_MAX)?;
        Ok(Self { size, token: page_token })
    }

    /// As [`Page::new`] for a list whose tokens pass `check`.
    ///
    /// # Errors
    /// Also if a token is none of this list's.
    pub fn with_tokens(page_size: i32, page_token: String, check: impl Fn(&str) -> bool) -> Result<Self> {
        let page = Self::new(page_size, page_token)?;
        match page.token.is_empty() || check(&page.token) {
            true => Ok(page),
            false => Err(Error::invalid("page_token", "must be next_page_token of a previous page")),
        }
    }

    /// As [`Page::new`] for a list of what [`banyan_core::Env::new_id`] names, the newest first.
    ///
    /// # Errors
    /// Also if the token is no such id.
    pub fn newest_first(page_size: i32, page_token: String) -> Result<Self> {
        let is_id = |token: &str| token.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        Self::with_tokens(page_size, page_token, is_id)
    }

    /// Returns the token: of the entry behind which the page starts, empty for the first page.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns what the ids of a page of [`Page::newest_first`] are below.
    pub fn below_id(&self) -> &str {
        // Ids sort by time and begin with a hexadecimal digit, so that every id is below "g".
        if self.token.is_empty() { "g" } else { &self.token }
    }

    /// Returns how many entries to look for: one more than the page has tells whether there is a next one.
    pub fn limit(&self) -> usize {
        self.size + 1
    }

    /// Cuts what was `found` down to the page. Returns the token of the next page, which names the page's last entry by
    /// `token`; empty if there is none.
    pub fn cut<T>(&self, found: &mut Vec<T>, token: impl FnOnce(&T) -> &str) -> String {
        let more = found.len() > self.size;
        found.truncate(self.size);
        found.last().filter(|_| more).map(|last| token(last).to_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(page_size: i32, token: &str) -> Result<Page> {
        Page::newest_first(page_size, token.to_owned())
    }

    #[test]
    fn a_page_is_bounded() {
        for (size, limit) in [(0, 21), (1, 2), (100, 101)] {
            assert_eq!(page(size, "").unwrap().limit(), limit);
        }
        for size in [i32::MIN, -1, 101, i32::MAX] {
            assert_eq!(page(size, "").unwrap_err().violations()[0].field, "page_size");
        }
    }

    #[test]
    fn a_token_is_of_its_list() {
        assert_eq!(page(0, "").unwrap().below_id(), "g");
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(page(0, id).unwrap().below_id(), id);
        for bad in ["zzz", "' OR 1=1", "a\0", &"a".repeat(201)] {
            assert_eq!(page(0, bad).unwrap_err().violations()[0].field, "page_token");
        }
        assert_eq!(Page::new(0, "United Kingdom".into()).unwrap().token(), "United Kingdom");
        assert!(Page::with_tokens(0, String::new(), |_| false).is_ok());
    }

    #[test]
    fn pages_meet() {
        let all = ["a", "b", "c", "d", "e"];
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = Page::new(2, token).unwrap();
            let behind = all.iter().filter(|entry| **entry > page.token());
            let mut found: Vec<&str> = behind.take(page.limit()).copied().collect();
            token = page.cut(&mut found, |entry| entry);
            seen.push(found);
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    }

    #[test]
    fn a_full_last_page_has_no_next() {
        let page = Page::new(2, String::new()).unwrap();
        let mut found = vec!["a", "b"];
        assert_eq!(page.cut(&mut found, |entry| entry), "");
        assert_eq!(found.len(), 2);
    }
}
