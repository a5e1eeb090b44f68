//! The tables of the service, and every statement on them.

use crate::domain::{Account, Email, Profile};
use banyan::prelude::*;
use banyan_identity::{KeyRecord, KeyRing, KeyRole, Secret};

/// Values may be larger than the 64 KiB of a `BLOB` of MySQL. The other engines have no such bound.
const LARGE: Migration = Migration::new(
    2,
    "large values",
    Statement::new("-- A BLOB has no bound here.")
        .mysql("ALTER TABLE signing_keys MODIFY pkcs8 LONGBLOB NOT NULL"),
);

/// How the store came to look as it does. Released steps are never changed.
pub const MIGRATIONS: &[Migration] = &[
    Migration::new(
        1,
        "accounts and signing keys",
        Statement::new(
            "
        CREATE TABLE users (
            user_id       VARCHAR(255) PRIMARY KEY,
            email         VARCHAR(255) NOT NULL UNIQUE,
            name          TEXT    NOT NULL,
            country       TEXT    NOT NULL,
            is_admin      INTEGER NOT NULL,
            password_hash TEXT    NOT NULL,
            created_at_ms BIGINT  NOT NULL
        );
        CREATE TABLE signing_keys (
            kid    VARCHAR(255) PRIMARY KEY,
            pkcs8  BLOB   NOT NULL,
            role   TEXT   NOT NULL,
            time_s BIGINT NOT NULL
        );
    ",
        ),
    ),
    LARGE,
];

statements! {
    pub(crate) STATEMENTS;
    INSERT_ACCOUNT = "INSERT INTO users (user_id, email, name, country, is_admin, password_hash, created_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (email) DO NOTHING",
        mysql "INSERT IGNORE INTO users (user_id, email, name, country, is_admin, password_hash, created_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    ACCOUNT_BY_ID = "SELECT * FROM users WHERE user_id = $1";
    ACCOUNT_BY_EMAIL = "SELECT * FROM users WHERE email = $1";
    KEYS = "SELECT * FROM signing_keys";
    DELETE_KEYS = "DELETE FROM signing_keys";
    INSERT_KEY = "INSERT INTO signing_keys (kid, pkcs8, role, time_s) VALUES ($1, $2, $3, $4)";
}

/// Adds an account; `false` if its e-mail address has one.
pub(crate) fn insert_account(tx: &mut Tx<'_>, account: &Account, password_hash: &str) -> Result<bool> {
    let Account { user_id, profile, is_admin, created_at_ms } = account;
    let rows = tx.execute(
        INSERT_ACCOUNT,
        params![
            user_id,
            profile.email.as_str(),
            &profile.name,
            &profile.country,
            *is_admin,
            password_hash,
            *created_at_ms
        ],
    )?;
    Ok(rows == 1)
}

pub(crate) fn account_by_id(query: &mut impl Query, user_id: &str) -> Result<Option<Account>> {
    query.query_opt(ACCOUNT_BY_ID, params![user_id], read_account)
}

/// Returns the account of an e-mail address, with the hash of its password.
pub(crate) fn account_by_email(query: &mut impl Query, email: &Email) -> Result<Option<(Account, String)>> {
    query.query_opt(ACCOUNT_BY_EMAIL, params![email.as_str()], |row| {
        Ok((read_account(row)?, row.get("password_hash")?))
    })
}

fn read_account(row: &Row<'_>) -> Result<Account> {
    Ok(Account {
        user_id: row.get("user_id")?,
        profile: Profile {
            email: Email::stored(row.get("email")?),
            name: row.get("name")?,
            country: row.get("country")?,
        },
        is_admin: row.get("is_admin")?,
        created_at_ms: row.get("created_at_ms")?,
    })
}

/// Returns the signing keys; `None` before the first were made.
pub(crate) fn key_ring(query: &mut impl Query, overlap_s: u64) -> Result<Option<KeyRing>> {
    let records = query.query(KEYS, params![], |row| {
        Ok(KeyRecord {
            kid: row.get("kid")?,
            pkcs8: Secret::new(row.get("pkcs8")?),
            role: KeyRole::from_name(&row.get::<String>("role")?)?,
            time_s: row.get("time_s")?,
        })
    })?;
    if records.is_empty() { Ok(None) } else { KeyRing::from_records(&records, overlap_s).map(Some) }
}

/// Replaces the signing keys.
pub(crate) fn put_key_ring(tx: &mut Tx<'_>, ring: &KeyRing) -> Result<()> {
    tx.execute(DELETE_KEYS, params![])?;
    for record in ring.to_records() {
        tx.execute(
            INSERT_KEY,
            params![record.kid, record.pkcs8.expose().as_slice(), record.role.name(), record.time_s],
        )?;
    }
    Ok(())
}
