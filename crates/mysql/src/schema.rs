//! The platform's own tables on MySQL and MariaDB.

/// Makes what is missing; runs under the lock `schema` (see `script`).
///
/// A key has 3072 bytes at most: those of the inbox are bytes, so that a key of any alphabet has the same room.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS banyan_migrations (
    namespace VARCHAR(200) NOT NULL, version BIGINT NOT NULL, name VARCHAR(500) NOT NULL, checksum VARBINARY(64) NOT NULL,
    at_ms BIGINT NOT NULL, PRIMARY KEY (namespace, version)) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS banyan_migration_steps (
    step VARBINARY(32) PRIMARY KEY, done INTEGER NOT NULL) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS banyan_outbox (
    id BIGINT AUTO_INCREMENT PRIMARY KEY, envelope_id TEXT NOT NULL, event_type TEXT NOT NULL, source TEXT NOT NULL,
    topic TEXT NOT NULL, event_key TEXT NOT NULL, time_ms BIGINT NOT NULL, correlation_id TEXT NOT NULL,
    traceparent TEXT NOT NULL, reply_to TEXT NOT NULL, payload LONGBLOB NOT NULL, lane INTEGER NOT NULL,
    INDEX banyan_outbox_lane (lane, id)) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS banyan_outbox_lanes (
    lane INTEGER PRIMARY KEY, taken BIGINT NOT NULL, INDEX banyan_outbox_lanes_taken (taken)) ENGINE = InnoDB;
INSERT IGNORE INTO banyan_outbox_lanes (lane, taken) VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0),
    (8, 0), (9, 0), (10, 0), (11, 0), (12, 0), (13, 0), (14, 0), (15, 0);
CREATE TABLE IF NOT EXISTS banyan_inbox (
    scope VARBINARY(512) NOT NULL, subject VARBINARY(2048) NOT NULL, idempotency_key VARBINARY(512) NOT NULL,
    request LONGBLOB NOT NULL, response LONGBLOB NOT NULL, at_ms BIGINT NOT NULL,
    PRIMARY KEY (scope, subject, idempotency_key), INDEX banyan_inbox_at (at_ms)) ENGINE = InnoDB;
";

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_a_row_for_every_lane() {
        let last = format!("({}, 0);", banyan_store::LANES - 1);
        assert!(super::SCHEMA.contains(&last));
    }
}
