//! The notifications store: whom to write to, and every e-mail.

use crate::domain::Draft;
use banyan::prelude::*;
use shop_contracts::notifications::v1::Notification;
use shop_contracts::paging::Page;
use shop_contracts::time::timestamp;

pub(crate) const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "notifications",
    // An e-mail without an address waits for it; with the address it is sent.
    Statement::new(
        "CREATE TABLE addresses (
            user_id VARCHAR(255) PRIMARY KEY,
            email TEXT NOT NULL,
            name TEXT NOT NULL
          );
          CREATE TABLE emails (
            order_id VARCHAR(255) NOT NULL,
            kind INTEGER NOT NULL,
            notification_id VARCHAR(255) NOT NULL UNIQUE,
            user_id VARCHAR(255) NOT NULL,
            email TEXT,
            name TEXT,
            subject TEXT NOT NULL,
            body TEXT NOT NULL,
            created_ms BIGINT NOT NULL,
            sent_ms BIGINT,
            PRIMARY KEY (order_id, kind)
          );
          CREATE INDEX emails_by_user ON emails (user_id, notification_id);",
    ),
)];

statements! {
    pub(crate) STATEMENTS;
    WRITE_ADDRESS = "INSERT INTO addresses (user_id, email, name) VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE SET email = $2, name = $3",
        mysql "INSERT INTO addresses (user_id, email, name) VALUES ($1, $2, $3)
         ON DUPLICATE KEY UPDATE email = $2, name = $3";
    ADDRESS_WAITING = "UPDATE emails SET email = $2, name = $3, sent_ms = $4 WHERE user_id = $1 AND email IS NULL";
    ADDRESS = "SELECT email, name FROM addresses WHERE user_id = $1";
    ADD_EMAIL = "INSERT INTO emails (order_id, kind, notification_id, user_id, email, name, subject, body, created_ms, sent_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (order_id, kind) DO NOTHING",
        mysql "INSERT IGNORE INTO emails (order_id, kind, notification_id, user_id, email, name, subject, body, created_ms, sent_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    SENT_TO = "SELECT order_id, kind, notification_id, email, subject, body, created_ms
         FROM emails WHERE user_id = $1 AND notification_id < $2 AND email IS NOT NULL
         ORDER BY notification_id DESC LIMIT $3";
}

/// Keeps a customer's address and sends what waited for it. Doing it again changes nothing.
pub(crate) fn learn(tx: &mut Tx<'_>, user_id: &str, email: &str, name: &str) -> Result<()> {
    let now_ms = tx.now_ms();
    tx.execute(WRITE_ADDRESS, params![user_id, email, name])?;
    tx.execute(ADDRESS_WAITING, params![user_id, email, name, now_ms])?;
    Ok(())
}

/// Sends an e-mail, or lets it wait for its address. Does nothing if the order has one of this kind already.
pub(crate) fn send(tx: &mut Tx<'_>, draft: &Draft) -> Result<()> {
    let address = tx.query_opt(ADDRESS, params![&draft.user_id], |row| {
        Ok((row.get::<String>("email")?, row.get::<String>("name")?))
    })?;
    let (notification_id, now_ms) = (tx.new_id(), tx.now_ms());
    let sent_ms = address.is_some().then_some(now_ms);
    let (email, name) = address.unzip();
    tx.execute(
        ADD_EMAIL,
        params![
            &draft.order_id,
            i32::from(draft.kind),
            notification_id,
            &draft.user_id,
            email,
            name,
            &draft.subject,
            &draft.body,
            now_ms,
            sent_ms,
        ],
    )?;
    Ok(())
}

/// Returns a page of the e-mails sent to a user, the newest first.
pub(crate) fn sent_to(q: &mut impl Query, user_id: &str, page: &Page) -> Result<Vec<Notification>> {
    q.query(SENT_TO, params![user_id, page.below_id(), page.limit()], |row| {
        Ok(Notification {
            notification_id: row.get("notification_id")?,
            order_id: row.get("order_id")?,
            kind: row.get("kind")?,
            email: row.get("email")?,
            subject: row.get("subject")?,
            body: row.get("body")?,
            created_at: Some(timestamp(row.get("created_ms")?)),
        })
    })
}
