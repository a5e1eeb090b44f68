//! What goes into a table comes out of it.

use super::{Database, Fixture};
use crate::{Migration, Query, Statement, Tx, Value, params};
use banyan_core::{Code, Result};
use std::sync::Arc;

const KINDS: &[Migration] = &[Migration::new(
    1,
    "kinds",
    Statement::new(
        "CREATE TABLE kinds (id BIGINT PRIMARY KEY, whole BIGINT, fraction DOUBLE PRECISION, words VARCHAR(200), \
         bytes BLOB)",
    ),
)];

pub async fn values_come_back_as_they_went_in(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    fixture.store.migrate("kinds", KINDS).await.expect("the portable types are known");
    let int = Value::Int;
    let rows = [
        [Value::Null, Value::Null, Value::Null, Value::Null],
        [
            int(i64::MIN),
            Value::Real(0.1),
            Value::Text("größer als 'x' $1 🌳".into()),
            Value::Blob(vec![0, 255]),
        ],
        [int(i64::MAX), Value::Real(-1e300), Value::Text(String::new()), Value::Blob(Vec::new())],
        [
            int(0),
            Value::Real(f64::MIN_POSITIVE),
            Value::Text("\\ \" \t\n".into()),
            Value::Blob((0..=255).collect()),
        ],
    ];
    let sent = rows.clone();
    let written = fixture.store.transact(&fixture.cx, move |tx| {
        for (id, row) in sent.into_iter().enumerate() {
            let mut values = vec![Value::from(id)];
            values.extend(row);
            let sql = "INSERT INTO kinds (id, whole, fraction, words, bytes) VALUES ($1, $2, $3, $4, $5)";
            assert_eq!(tx.execute(sql, &values)?, 1);
        }
        Ok(())
    });
    written.await.expect("every value is taken");
    let back = fixture.store.read(&fixture.cx, |read| {
        read.query("SELECT id, whole, fraction, words, bytes FROM kinds ORDER BY id", params![], |row| {
            Ok([row.get("whole")?, row.get("fraction")?, row.get("words")?, row.get::<Value>("bytes")?])
        })
    });
    assert_eq!(back.await.expect("every value is read"), rows);
    let counted = fixture.store.read(&fixture.cx, |read| {
        read.query_one(
            "SELECT COUNT(*) AS rows_n, SUM(id) AS total, AVG(id) AS mean, MAX(whole) AS top FROM kinds WHERE id > $1",
            params![0],
            |row| Ok((row.get("rows_n")?, row.get("total")?, row.get::<f64>("mean")?, row.get("top")?)),
        )
    });
    assert_eq!(counted.await.expect("sums are numbers"), (3u64, 6i64, 2.0, i64::MAX));
    let by_value = fixture.store.read(&fixture.cx, |read| {
        let sql = "SELECT id FROM kinds WHERE words = $1 AND bytes = $2 AND whole = $3 LIMIT $4";
        read.query(sql, params!["", Vec::new(), i64::MAX, 5], |row| row.get::<u32>("id"))
    });
    assert_eq!(by_value.await.expect("values compare"), [2]);
}

pub async fn numbers_out_of_range_are_refused(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    fixture.insert("a", 7).await.expect("it commits");
    let set = |value: Value| {
        let work = move |tx: &mut Tx<'_>| tx.execute("UPDATE notes SET quantity = $1", &[value]);
        fixture.store.transact(&fixture.cx, work)
    };
    assert_eq!(set(u64::MAX.into()).await.unwrap_err().code(), Code::OutOfRange);
    let few =
        fixture.store.transact(&fixture.cx, |tx| tx.execute("UPDATE notes SET quantity = $1", params![]));
    assert_eq!(few.await.unwrap_err().code(), Code::Internal);
    let many = fixture.store.transact(&fixture.cx, |tx| tx.execute("DELETE FROM notes", params![1]));
    assert_eq!(many.await.unwrap_err().code(), Code::Internal);
    let wrong: Result<i64> = fixture
        .store
        .read(&fixture.cx, |read| read.query_one("SELECT id FROM notes", params![], |row| row.get("id")))
        .await;
    let error = wrong.unwrap_err();
    assert!(format!("{error:?}").contains("\"id\" holds a text"), "{error:?}");
    assert_eq!(fixture.notes().await, [("a".into(), 7)]);
}

/// `BLOB` holds 64 KiB on MySQL: whoever keeps more says so in a variant.
const LARGE: &[Migration] = &[Migration::new(
    1,
    "large",
    Statement::new("CREATE TABLE large (id BIGINT PRIMARY KEY, bytes BLOB NOT NULL)")
        .mysql("CREATE TABLE large (id BIGINT PRIMARY KEY, bytes LONGBLOB NOT NULL)"),
)];

pub async fn a_large_blob_comes_back_as_it_went_in(database: Arc<dyn Database>) {
    const BYTES: usize = 3 << 20;
    let fixture = Fixture::new(database).await;
    fixture.store.migrate("large", LARGE).await.expect("each engine has a type for it");
    let bytes: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    let sent = bytes.clone();
    let written = fixture.store.transact(&fixture.cx, move |tx| {
        tx.execute("INSERT INTO large (id, bytes) VALUES ($1, $2)", params![1, sent])
    });
    written.await.expect("it fits");
    let back = fixture.store.read(&fixture.cx, |read| {
        read.query_one("SELECT bytes FROM large WHERE id = 1", params![], |row| row.get::<Vec<u8>>("bytes"))
    });
    assert!(back.await.expect("it is read") == bytes, "{BYTES} bytes came back changed");
}

const NARROW: &[Migration] = &[Migration::new(
    1,
    "narrow",
    Statement::new(
        "CREATE TABLE narrow (id BIGINT PRIMARY KEY, words VARCHAR(10) NOT NULL CHECK (words <> 'bad'), bytes BLOB)",
    ),
)];

const ADD_NARROW: Statement =
    Statement::new("INSERT INTO narrow (id, words, bytes) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .mysql("INSERT IGNORE INTO narrow (id, words, bytes) VALUES ($1, $2, $3)");

pub async fn a_value_that_does_not_fit_is_refused_and_never_cut(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    fixture.store.migrate("narrow", NARROW).await.expect("the portable types are known");
    let add = |id: i64, words: &str, bytes: Value| {
        let values = [Value::from(id), Value::from(words), bytes];
        fixture.store.transact(&fixture.cx, move |tx| tx.execute(ADD_NARROW, &values))
    };
    assert_eq!(add(1, "short", Value::Null).await.expect("it fits"), 1);
    assert_eq!(add(1, "other", Value::Null).await.expect("a known key is passed over"), 0);
    let (long, large) = ("x".repeat(11), vec![7; 70_000]);
    for (id, words, bytes) in [(2, long.as_str(), Value::Null), (3, "large", Value::Blob(large.clone()))] {
        match add(id, words, bytes).await {
            Err(error) => assert_eq!(error.code(), Code::OutOfRange, "{error:?}"),
            // An engine may have more room than the type says.
            Ok(changed) => assert_eq!(changed, 1),
        }
    }
    let bad = add(4, "bad", Value::Null).await.unwrap_err();
    assert_eq!(bad.code(), Code::FailedPrecondition, "a rule is no known key: {bad:?}");
    let kept = fixture.store.read(&fixture.cx, |read| {
        read.query("SELECT id, words, bytes FROM narrow ORDER BY id", params![], |row| {
            Ok((row.get("id")?, row.get::<String>("words")?, row.get::<Value>("bytes")?))
        })
    });
    let whole = [
        (1, "short".to_owned(), Value::Null),
        (2, long.clone(), Value::Null),
        (3, "large".into(), Value::Blob(large)),
    ];
    let kept: Vec<(i64, String, Value)> = kept.await.expect("it can be read");
    assert_eq!(kept[0], whole[0]);
    assert!(kept.iter().all(|row| whole.contains(row)), "something was cut");
}
