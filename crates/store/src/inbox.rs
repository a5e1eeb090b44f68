//! The inbox: what was answered under which idempotency key, written in the same transaction as the effect.

use crate::statement::Statement;
use crate::transaction::{Query, Tx};
use crate::{Store, params};
use banyan_core::{Context, Error, Identity, IdentityKind, Payload, Reason, Result};
use sha2::{Digest, Sha256};

/// The idempotency key was used before, with another request.
pub const IDEMPOTENCY_KEY_REUSED: Reason = Reason::new("IDEMPOTENCY_KEY_REUSED");

/// Length of an idempotency key.
const KEY_BYTES_MAX: usize = 512;
/// Entries that one transaction of [`Store::prune`] deletes at most.
const PRUNE_MAX: u64 = 1_000;

/// Takes a key, if it is new, before the work. Looking for it first would read what others are about to write: keys that are
/// close to each other would conflict on an engine that checks what a transaction has read.
const CLAIM: Statement = Statement::new(
    "INSERT INTO banyan_inbox (scope, subject, idempotency_key, request, response, at_ms) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
)
.mysql(
    "INSERT IGNORE INTO banyan_inbox (scope, subject, idempotency_key, request, response, at_ms) \
     VALUES ($1, $2, $3, $4, $5, $6)",
);
const FIND: Statement = Statement::new(
    "SELECT request, response FROM banyan_inbox WHERE scope = $1 AND subject = $2 AND idempotency_key = $3",
);
/// Puts the answer into the row that was taken: without looking for it, as in `CLAIM`.
const ANSWER: Statement = Statement::new(
    "INSERT INTO banyan_inbox (scope, subject, idempotency_key, request, response, at_ms) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (scope, subject, idempotency_key) DO UPDATE SET response = excluded.response",
)
.mysql(
    "INSERT INTO banyan_inbox (scope, subject, idempotency_key, request, response, at_ms) \
     VALUES ($1, $2, $3, $4, $5, $6) ON DUPLICATE KEY UPDATE response = $5",
);
const PRUNE: Statement = Statement::new(
    "DELETE FROM banyan_inbox WHERE (scope, subject, idempotency_key) IN \
     (SELECT scope, subject, idempotency_key FROM banyan_inbox WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)",
)
.mysql("DELETE FROM banyan_inbox WHERE at_ms < $1 ORDER BY at_ms LIMIT $2");

impl Store {
    /// Runs `work` once per idempotency key: a repeat gets the recorded answer, without running `work`.
    ///
    /// The key of `cx` counts per `scope` (a stable name of the operation) and identity. The answer is recorded in
    /// `work`'s own transaction, and kept for [`crate::StoreOptions::inbox_retention_ms`]; a failure is not recorded.
    /// Without a key in `cx` this is [`Store::transact`].
    ///
    /// # Errors
    /// `IDEMPOTENCY_KEY_REUSED` if the key came with another `request` before; otherwise as [`Store::transact`].
    pub async fn once<T: Payload>(
        &self,
        cx: &Context,
        scope: &'static str,
        request: &impl Payload,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        let Some(key) = cx.idempotency_key() else { return self.transact(cx, work).await };
        if key.len() > KEY_BYTES_MAX {
            return Err(Error::invalid("idempotency_key", format!("must not exceed {KEY_BYTES_MAX} bytes")));
        }
        let (key, subject) = (key.to_owned(), subject(cx.identity()));
        let request = Sha256::digest(request.to_bytes()).to_vec();
        self.transact(cx, move |tx| {
            let at_ms = tx.now_ms();
            let claimed =
                tx.execute(CLAIM, params![scope, &subject, &key, request.clone(), Vec::new(), at_ms])?;
            if claimed == 0 {
                let (known, response) = tx.query_one(FIND, params![scope, subject, key], |row| {
                    Ok((row.get::<Vec<u8>>("request")?, row.get::<Vec<u8>>("response")?))
                })?;
                return if known == request { T::from_bytes(&response) } else { Err(reused()) };
            }
            let response = work(tx)?;
            tx.execute(ANSWER, params![scope, subject, key, request, response.to_bytes(), at_ms])?;
            Ok(response)
        })
        .await
    }

    /// Forgets the answers that are older than [`crate::StoreOptions::inbox_retention_ms`]; returns how many.
    ///
    /// # Errors
    /// As [`Store::transact`]; what was forgotten until then stays forgotten.
    pub async fn prune(&self, cx: &Context) -> Result<u64> {
        let options = &self.shared().options;
        let before_ms = options.env.clock.unix_ms().saturating_sub(options.inbox_retention_ms);
        let mut pruned = 0;
        loop {
            let deleted =
                self.transact(cx, move |tx| tx.execute(PRUNE, params![before_ms, PRUNE_MAX])).await?;
            pruned += deleted;
            if deleted < PRUNE_MAX {
                return Ok(pruned);
            }
        }
    }
}

/// Returns whose key it is; a user and a service of the same name are two.
fn subject(identity: &Identity) -> String {
    let kind = match identity.kind() {
        IdentityKind::Anonymous => "anonymous",
        IdentityKind::User => "user",
        IdentityKind::Service => "service",
    };
    format!("{kind}:{}", identity.subject())
}

fn reused() -> Error {
    Error::failed_precondition(
        IDEMPOTENCY_KEY_REUSED,
        "the idempotency key was used before with another request",
    )
}
