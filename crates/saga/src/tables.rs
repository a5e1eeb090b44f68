//! The tables of the sagas in a service's store, and every statement that is run on them.

use banyan_store::{Migration, Statement, statements};

/// SQLite keeps a table with a key of texts in the order of that key only if it has no row ids. On the servers numbers
/// are `BIGINT`; MySQL needs key columns with a length, and has no index of some rows only.
pub(crate) const MIGRATIONS: &[Migration] = &[SAGAS, SIGNAL_TRACES];

/// Where in a trace a signal was sent: what the saga does next follows from there.
const SIGNAL_TRACES: Migration = Migration::new(
    2,
    "traces of signals",
    Statement::new("ALTER TABLE banyan_saga_signals ADD COLUMN traceparent TEXT"),
);

const SAGAS: Migration = Migration::new(
    1,
    "sagas",
    Statement::new(
        "CREATE TABLE banyan_sagas (
            id TEXT NOT NULL PRIMARY KEY,
            workflow TEXT NOT NULL,
            state TEXT NOT NULL,
            parked_in TEXT,
            last_seq INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            next_run_at INTEGER,
            awaits TEXT,
            cancel_reason TEXT,
            error TEXT,
            correlation_id TEXT NOT NULL,
            traceparent TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            ended_at INTEGER
          );
          CREATE INDEX banyan_sagas_due ON banyan_sagas (next_run_at) WHERE next_run_at IS NOT NULL;
          CREATE INDEX banyan_sagas_state ON banyan_sagas (state, id);
          CREATE INDEX banyan_sagas_ended ON banyan_sagas (ended_at) WHERE ended_at IS NOT NULL;
          CREATE TABLE banyan_saga_journal (
            saga_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            op INTEGER,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            payload BLOB NOT NULL,
            error TEXT,
            due_at INTEGER,
            at INTEGER NOT NULL,
            PRIMARY KEY (saga_id, seq)
          ) WITHOUT ROWID;
          CREATE TABLE banyan_saga_signals (
            saga_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            name TEXT NOT NULL,
            payload BLOB NOT NULL,
            idempotency_key TEXT,
            consumed_at INTEGER,
            at INTEGER NOT NULL,
            PRIMARY KEY (saga_id, seq),
            UNIQUE (saga_id, idempotency_key)
          ) WITHOUT ROWID;",
    )
    .postgres(
        "CREATE TABLE banyan_sagas (
            id TEXT NOT NULL PRIMARY KEY,
            workflow TEXT NOT NULL,
            state TEXT NOT NULL,
            parked_in TEXT,
            last_seq BIGINT NOT NULL,
            attempts BIGINT NOT NULL DEFAULT 0,
            next_run_at BIGINT,
            awaits TEXT,
            cancel_reason TEXT,
            error TEXT,
            correlation_id TEXT NOT NULL,
            traceparent TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL,
            ended_at BIGINT
          );
          CREATE INDEX banyan_sagas_due ON banyan_sagas (next_run_at) WHERE next_run_at IS NOT NULL;
          CREATE INDEX banyan_sagas_state ON banyan_sagas (state, id);
          CREATE INDEX banyan_sagas_ended ON banyan_sagas (ended_at) WHERE ended_at IS NOT NULL;
          CREATE TABLE banyan_saga_journal (
            saga_id TEXT NOT NULL,
            seq BIGINT NOT NULL,
            op BIGINT,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            payload BYTEA NOT NULL,
            error TEXT,
            due_at BIGINT,
            at BIGINT NOT NULL,
            PRIMARY KEY (saga_id, seq)
          );
          CREATE TABLE banyan_saga_signals (
            saga_id TEXT NOT NULL,
            seq BIGINT NOT NULL,
            name TEXT NOT NULL,
            payload BYTEA NOT NULL,
            idempotency_key TEXT,
            consumed_at BIGINT,
            at BIGINT NOT NULL,
            PRIMARY KEY (saga_id, seq),
            UNIQUE (saga_id, idempotency_key)
          );",
    )
    .mysql(
        "CREATE TABLE banyan_sagas (
            id VARCHAR(200) NOT NULL PRIMARY KEY,
            workflow TEXT NOT NULL,
            state VARCHAR(40) NOT NULL,
            parked_in TEXT,
            last_seq BIGINT NOT NULL,
            attempts BIGINT NOT NULL DEFAULT 0,
            next_run_at BIGINT,
            awaits TEXT,
            cancel_reason LONGTEXT,
            error LONGTEXT,
            correlation_id TEXT NOT NULL,
            traceparent TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL,
            ended_at BIGINT,
            INDEX banyan_sagas_due (next_run_at),
            INDEX banyan_sagas_state (state, id),
            INDEX banyan_sagas_ended (ended_at)
          );
          CREATE TABLE banyan_saga_journal (
            saga_id VARCHAR(200) NOT NULL,
            seq BIGINT NOT NULL,
            op BIGINT,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            payload LONGBLOB NOT NULL,
            error LONGTEXT,
            due_at BIGINT,
            at BIGINT NOT NULL,
            PRIMARY KEY (saga_id, seq)
          );
          CREATE TABLE banyan_saga_signals (
            saga_id VARCHAR(200) NOT NULL,
            seq BIGINT NOT NULL,
            name TEXT NOT NULL,
            payload LONGBLOB NOT NULL,
            idempotency_key VARCHAR(512),
            consumed_at BIGINT,
            at BIGINT NOT NULL,
            PRIMARY KEY (saga_id, seq),
            UNIQUE (saga_id, idempotency_key)
          );",
    ),
);

statements! {
    pub(crate) STATEMENTS;
    START = "INSERT INTO banyan_sagas
               (id, workflow, state, last_seq, next_run_at, correlation_id, traceparent, created_at, updated_at)
             VALUES ($1, $2, $3, 1, $4, $5, $6, $4, $4) ON CONFLICT (id) DO NOTHING",
        mysql "INSERT IGNORE INTO banyan_sagas
                 (id, workflow, state, last_seq, next_run_at, correlation_id, traceparent, created_at, updated_at)
               VALUES ($1, $2, $3, 1, $4, $5, $6, $4, $4)";
    SAGA = "SELECT * FROM banyan_sagas WHERE id = $1";
    ADMISSION = "SELECT last_seq, cancel_reason FROM banyan_sagas WHERE id = $1";
    GO_ON = "UPDATE banyan_sagas SET last_seq = $2, updated_at = $3 WHERE id = $1";
    CHANGE = "UPDATE banyan_sagas SET state = $2, parked_in = $3, last_seq = $4, attempts = $5, next_run_at = $6,
                awaits = $7, error = CASE WHEN $2 = 'COMPLETED' THEN NULL ELSE COALESCE($8, error) END,
                updated_at = $9, ended_at = $10 WHERE id = $1";
    RESUME = "UPDATE banyan_sagas SET state = $2, parked_in = NULL, last_seq = $3, attempts = 0, next_run_at = $4,
                error = CASE WHEN $2 = 'RUNNING' THEN NULL ELSE error END, updated_at = $4 WHERE id = $1";
    CANCEL = "UPDATE banyan_sagas SET cancel_reason = COALESCE(cancel_reason, $2) WHERE id = $1";
    MAKE_DUE = "UPDATE banyan_sagas SET next_run_at = $2 WHERE id = $1";
    DUE = "SELECT id FROM banyan_sagas WHERE next_run_at <= $1 ORDER BY next_run_at LIMIT $2";
    NEXT_DUE = "SELECT MIN(next_run_at) AS next_at FROM banyan_sagas WHERE next_run_at > $1";
    ADD_ENTRY = "INSERT INTO banyan_saga_journal (saga_id, seq, op, kind, name, payload, error, due_at, at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    ENTRIES = "SELECT seq, op, kind, name, payload, error, due_at, at
               FROM banyan_saga_journal WHERE saga_id = $1 ORDER BY seq";
    INPUT = "SELECT payload FROM banyan_saga_journal WHERE saga_id = $1 AND seq = 1";
    NEXT_SIGNAL = "SELECT seq, payload, traceparent FROM banyan_saga_signals
                   WHERE saga_id = $1 AND name = $2 AND consumed_at IS NULL ORDER BY seq LIMIT 1";
    CONSUME_SIGNAL = "UPDATE banyan_saga_signals SET consumed_at = $3 WHERE saga_id = $1 AND seq = $2";
    KNOWN_SIGNAL = "SELECT COUNT(*) AS known FROM banyan_saga_signals WHERE saga_id = $1 AND idempotency_key = $2";
    SIGNALS = "SELECT COUNT(*) - COUNT(consumed_at) AS waiting, COALESCE(MAX(seq), 0) AS last_seq
               FROM banyan_saga_signals WHERE saga_id = $1";
    ADD_SIGNAL = "INSERT INTO banyan_saga_signals (saga_id, seq, name, payload, idempotency_key, at, traceparent)
                  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (saga_id, idempotency_key) DO NOTHING",
        mysql "INSERT IGNORE INTO banyan_saga_signals (saga_id, seq, name, payload, idempotency_key, at, traceparent)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    // A parameter is compared first: so PostgreSQL knows its type.
    LIST = "SELECT s.*, (SELECT j.name FROM banyan_saga_journal j WHERE j.saga_id = s.id AND j.op IS NOT NULL
                         ORDER BY j.seq DESC LIMIT 1) AS step
            FROM banyan_sagas s WHERE (s.workflow = $1 OR $1 IS NULL) AND (s.id < $2 OR $2 IS NULL)
            ORDER BY s.id DESC LIMIT $3";
    LIST_IN_STATE = "SELECT s.*, (SELECT j.name FROM banyan_saga_journal j WHERE j.saga_id = s.id AND j.op IS NOT NULL
                                  ORDER BY j.seq DESC LIMIT 1) AS step
                     FROM banyan_sagas s WHERE s.state = $1 AND (s.workflow = $2 OR $2 IS NULL)
                       AND (s.id < $3 OR $3 IS NULL) ORDER BY s.id DESC LIMIT $4";
    ENDED_BEFORE = "SELECT id FROM banyan_sagas WHERE ended_at < $1 ORDER BY ended_at LIMIT $2";
    DELETE_SIGNALS = "DELETE FROM banyan_saga_signals WHERE saga_id = $1";
    DELETE_JOURNAL = "DELETE FROM banyan_saga_journal WHERE saga_id = $1";
    DELETE_SAGA = "DELETE FROM banyan_sagas WHERE id = $1";
}
