//! What is valid for a while only, and its renewal.

use crate::server::{Server, Term};
use banyan_core::Env;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a renewal that failed waits at most before it is tried again, and at least.
const RETRY_MAX: Duration = Duration::from_secs(30);
const RETRY_MIN: Duration = Duration::from_millis(100);

/// A token or a pair of credentials.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// For the log: never a secret.
    what: String,
    term: Term,
    /// When it is renewed next.
    due: Instant,
    ends: Instant,
}

impl Lease {
    pub(crate) fn of_token(term: Term, now: Instant) -> Self {
        Self::new("the token".to_owned(), term, now)
    }

    pub(crate) fn of_secret(path: &str, term: Term, now: Instant) -> Self {
        Self::new(format!("the lease of {path}"), term, now)
    }

    fn new(what: String, term: Term, now: Instant) -> Self {
        let whole = Duration::from_secs(term.seconds);
        Self { what, term, due: now + whole / 2, ends: now + whole }
    }

    /// Takes what a renewal answered; `None` if there is nothing more to renew.
    fn renewed(self, term: Term, now: Instant) -> Option<Self> {
        let next = Self::new(self.what, term, now);
        // At the end of its longest life the server grants less and less.
        if !next.term.renewable || next.ends < self.ends + RETRY_MIN {
            next.give_up(now);
            return None;
        }
        Some(next)
    }

    fn failed(mut self, now: Instant) -> Option<Self> {
        let left = self.ends.saturating_duration_since(now);
        if left.is_zero() {
            self.give_up(now);
            return None;
        }
        self.due = now + (left / 4).clamp(RETRY_MIN, RETRY_MAX);
        Some(self)
    }

    fn give_up(&self, now: Instant) {
        let left_s = self.ends.saturating_duration_since(now).as_secs();
        tracing::error!(
            what = self.what,
            left_s,
            "OpenBao renews it no more: start the system anew before it ends"
        );
    }
}

/// Everything that is to be renewed.
pub(crate) struct Leases {
    env: Env,
    all: Mutex<Vec<Lease>>,
    /// The leases that are given back in the end, renewable or not, with what the log calls them.
    held: Mutex<Vec<(String, Term)>>,
    server: watch::Sender<Option<Server>>,
}

impl Leases {
    pub(crate) fn new(env: Env) -> Self {
        let (all, held) = (Mutex::default(), Mutex::default());
        Self { env, all, held, server: watch::Sender::new(None) }
    }

    pub(crate) fn add(&self, lease: Lease) {
        if !lease.term.id.is_empty() {
            let held = (lease.what.clone(), lease.term.clone());
            self.held.lock().unwrap_or_else(PoisonError::into_inner).push(held);
        }
        if !lease.term.renewable {
            tracing::warn!(what = lease.what, seconds = lease.term.seconds, "OpenBao does not renew it");
            return;
        }
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(lease);
        self.server.send_modify(|_| {});
    }

    pub(crate) fn renew_at(&self, server: Server) {
        self.server.send_replace(Some(server));
    }

    /// Renews each at half of its term. Never ends.
    pub(crate) async fn keep(&self) {
        let mut news = self.server.subscribe();
        loop {
            let server = news.borrow_and_update().clone();
            let (Some(server), Some(due)) = (server, self.next_due()) else {
                // The sender is ours: it does not go.
                let _ = news.changed().await;
                continue;
            };
            tokio::select! {
                _ = news.changed() => continue,
                () = tokio::time::sleep_until(due) => {}
            }
            for lease in self.take_due() {
                let renewed = server.renew(&lease.what, &lease.term).await;
                let now = self.env.clock.now();
                let kept = match renewed {
                    Ok(term) => lease.renewed(term, now),
                    Err(error) => {
                        tracing::warn!(what = lease.what, %error, "OpenBao did not renew it; it is tried again");
                        lease.failed(now)
                    }
                };
                self.all.lock().unwrap_or_else(PoisonError::into_inner).extend(kept);
            }
        }
    }

    /// Gives everything back: a token that was made here ends with all that it was granted; otherwise each lease.
    pub(crate) async fn release(&self) {
        let Some(server) = self.server.borrow().clone() else { return };
        match server.log_out().await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "OpenBao did not take the token back; it ends by itself"),
        }
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        for (what, term) in held {
            if let Err(error) = server.revoke(&what, &term).await {
                tracing::warn!(what, %error, "OpenBao did not take it back; it ends by itself");
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|lease| lease.due).min()
    }

    fn take_due(&self) -> Vec<Lease> {
        let now = self.env.clock.now();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let (due, rest) = std::mem::take(&mut *all).into_iter().partition(|lease| lease.due <= now);
        *all = rest;
        due
    }
}
