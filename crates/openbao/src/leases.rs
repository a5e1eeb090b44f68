//! What is valid for a while only: its renewal, and its replacement when it cannot be renewed any more.

use crate::server::Term;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long what failed waits at most before it is tried again, and at least.
const RETRY_MAX: Duration = Duration::from_secs(30);
const RETRY_MIN: Duration = Duration::from_millis(100);
/// How long it waits once it has ended: each attempt is logged as an error.
const RETRY_ENDED: Duration = Duration::from_secs(2);
/// What a renewal must gain at least; less is the end of the longest life, or what counting in whole seconds makes of it.
const GAIN_MIN: Duration = Duration::from_millis(1_100);

/// What is granted for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    Token,
    /// What was read at a path.
    Secret(String),
}

impl Granted {
    /// Returns what the log calls it: never a secret.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Token => "the token".to_owned(),
            Self::Secret(path) => format!("the lease of {path}"),
        }
    }
}

/// What is done with a lease next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Renew,
    /// It cannot be renewed any more.
    Replace,
    /// Another one has taken its place, or none can: it ends by itself.
    End,
}

/// A token or a pair of credentials.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    number: u64,
    pub(crate) granted: Granted,
    pub(crate) term: Term,
    pub(crate) next: Next,
    due: Instant,
    ends: Instant,
}

impl Lease {
    pub(crate) fn new(granted: Granted, term: Term, now: Instant) -> Self {
        let whole = Duration::from_secs(term.seconds);
        let next = if term.renewable { Next::Renew } else { Next::Replace };
        Self { number: 0, granted, term, next, due: now + whole / 2, ends: now + whole }
    }

    /// Takes what a renewal answered. At the end of its longest life the server grants less and less.
    fn renewed(&mut self, term: Term, now: Instant) {
        let next = Self::new(self.granted.clone(), term, now);
        let ending = !next.term.renewable || next.ends < self.ends + GAIN_MIN;
        (self.term, self.ends, self.due) = (next.term, next.ends, next.due);
        if ending {
            (self.next, self.due) = (Next::Replace, now);
        }
    }

    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }

    fn later(&mut self, now: Instant) {
        let left = self.left(now);
        self.due = now + if left.is_zero() { RETRY_ENDED } else { (left / 4).clamp(RETRY_MIN, RETRY_MAX) };
        if self.next == Next::Renew && left.is_zero() {
            self.next = Next::Replace;
        }
    }

    fn end(&mut self) {
        (self.next, self.due) = (Next::End, self.ends);
    }
}

/// All that was granted and has not ended. It may be used by several at once; nothing is lost if one of them is dropped.
#[derive(Default)]
pub(crate) struct Leases {
    all: Mutex<(u64, Vec<Lease>)>,
    news: Notify,
}

impl Leases {
    pub(crate) fn add(&self, mut lease: Lease) {
        self.with(|number, all| {
            *number += 1;
            lease.number = *number;
            all.push(lease);
        });
        self.news.notify_one();
    }

    /// Waits until something is to be done, and returns it. What has ended is forgotten. Safe to drop.
    pub(crate) async fn due(&self, now: impl Fn() -> Instant) -> Vec<Lease> {
        loop {
            let at = now();
            let (due, next) = self.with(|_, all| {
                all.retain(|lease| lease.next != Next::End || lease.due > at);
                let due: Vec<Lease> =
                    all.iter().filter(|l| l.next != Next::End && l.due <= at).cloned().collect();
                (due, all.iter().map(|lease| lease.due).min())
            });
            if !due.is_empty() {
                return due;
            }
            let later = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.news.notified() => {}
                () = later => {}
            }
        }
    }

    pub(crate) fn renewed(&self, lease: &Lease, term: Term, now: Instant) {
        self.edit(lease, |lease| lease.renewed(term, now));
    }

    /// Notes that it could not be done; it is tried again.
    pub(crate) fn failed(&self, lease: &Lease, now: Instant) {
        self.edit(lease, |lease| lease.later(now));
    }

    /// Notes that it cannot be renewed any more.
    pub(crate) fn replace(&self, lease: &Lease, now: Instant) {
        self.edit(lease, |lease| (lease.next, lease.due) = (Next::Replace, now));
    }

    /// Notes that it ends by itself.
    pub(crate) fn end(&self, lease: &Lease) {
        self.edit(lease, Lease::end);
    }

    /// Notes that another token has been made: what the one before was granted ends with it.
    pub(crate) fn token_replaced(&self, now: Instant) {
        self.with(|_, all| {
            for lease in all.iter_mut().filter(|lease| lease.next != Next::End) {
                match lease.granted {
                    Granted::Token => lease.end(),
                    Granted::Secret(_) => (lease.next, lease.due) = (Next::Replace, now),
                }
            }
        });
    }

    /// Returns the leases of secrets, and forgets all.
    pub(crate) fn take_secrets(&self) -> Vec<Lease> {
        let all = self.with(|_, all| std::mem::take(all));
        all.into_iter().filter(|lease| lease.granted != Granted::Token).collect()
    }

    fn edit(&self, of: &Lease, change: impl FnOnce(&mut Lease)) {
        self.with(|_, all| {
            if let Some(lease) = all.iter_mut().find(|lease| lease.number == of.number) {
                change(lease);
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut u64, &mut Vec<Lease>) -> T) -> T {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, leases) = &mut *all;
        work(number, leases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(seconds: u64, renewable: bool) -> Term {
        Term { id: "id".to_owned(), seconds, renewable }
    }

    /// A lease of 10 s that may live 12 s: it is renewed at 5 s, and replaced when the next renewal gains nothing.
    #[tokio::test(start_paused = true)]
    async fn a_lease_is_renewed_and_then_replaced() {
        let (leases, began) = (Leases::default(), Instant::now());
        leases.add(Lease::new(Granted::Secret("a".to_owned()), term(10, true), began));
        let mut done = Vec::new();
        // The second gains what rounding makes of nothing.
        for granted_s in [7, 4] {
            let lease = leases.due(Instant::now).await.remove(0);
            done.push((lease.next, began.elapsed().as_secs_f64()));
            leases.renewed(&lease, term(granted_s, true), Instant::now());
        }
        let lease = leases.due(Instant::now).await.remove(0);
        assert_eq!(done, [(Next::Renew, 5.0), (Next::Renew, 8.5)]);
        assert_eq!((lease.next, began.elapsed().as_secs_f64()), (Next::Replace, 8.5));
        // Nobody answers: it is tried ever sooner, until after its end.
        leases.failed(&lease, Instant::now());
        let lease = leases.due(Instant::now).await.remove(0);
        assert_eq!(lease.left(Instant::now()), Duration::from_secs(3));
        // After that it is asked again with some patience.
        tokio::time::sleep(Duration::from_secs(3)).await;
        leases.failed(&lease, Instant::now());
        let ended = Instant::now();
        leases.due(Instant::now).await;
        assert_eq!(ended.elapsed(), RETRY_ENDED);
        leases.end(&lease);
        assert_eq!(leases.take_secrets().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_token_was_granted_is_replaced_with_it() {
        let (leases, now) = (Leases::default(), Instant::now());
        leases.add(Lease::new(Granted::Token, term(100, true), now));
        leases.add(Lease::new(Granted::Secret("a".to_owned()), term(100, false), now));
        leases.token_replaced(now);
        let due = leases.due(Instant::now).await;
        assert_eq!(due.len(), 1);
        assert_eq!((&due[0].granted, due[0].next), (&Granted::Secret("a".to_owned()), Next::Replace));
    }
}
