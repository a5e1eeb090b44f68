//! The property that every subscriber must have: an event that comes twice ends in the same state as one that comes
//! once.

use crate::TestSystem;
use banyan::core::Envelope;
use banyan::event_log::TopicInfo;
use banyan::event_log::dead_letters::{self, DeadLetter, Entry};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;

/// The rows of each table of each store, as text, sorted; and the ends of each topic's partitions.
type State = BTreeMap<String, Vec<String>>;

impl TestSystem {
    /// Has every service that runs handle every event again that it has handled, and checks that nothing comes of it:
    /// the same rows in all stores, no new event, no dead letter.
    ///
    /// # Panics
    /// If something changed, naming the table or topic.
    pub async fn assert_redelivery_changes_nothing(&self) {
        self.settled().await;
        let before = self.state().await;
        for name in self.process().groups().await.into_values().flatten() {
            self.replay(&name).await;
        }
        self.settled().await;
        let after = self.state().await;
        for (place, rows) in &after {
            let known = before.get(place).map_or(&[][..], Vec::as_slice);
            let gone: Vec<_> = known.iter().filter(|row| !rows.contains(row)).collect();
            let new: Vec<_> = rows.iter().filter(|row| !known.contains(row)).collect();
            assert!(
                rows == known,
                "{place} changed when its events came again\n  gone: {gone:#?}\n  new: {new:#?}"
            );
        }
        assert_eq!(before.len(), after.len(), "a table is gone");
    }

    /// Checks that no service that runs has given up on an event.
    ///
    /// # Panics
    /// If one has, naming the event and the error.
    pub async fn assert_no_dead_letters(&self) {
        for group in self.process().groups().await.into_values().flatten() {
            let letters = dead_letters::list(&*self.log(), &group, 1).await.expect("the log can be read");
            if let Some(Entry { letter, .. }) = letters.first() {
                let DeadLetter { envelope, reason, message, attempts, .. } = letter;
                let Envelope { event_type, key, .. } = envelope;
                panic!(
                    "{group} gave up on {event_type} {key} after {attempts} attempts: {reason}: {message}"
                );
            }
        }
    }

    async fn state(&self) -> State {
        let topics = self.log().topics().await.expect("the log is open");
        let ends = |t: TopicInfo| {
            let ends = t.partitions.iter().map(|p| format!("partition {} to {}", p.partition, p.end_offset));
            (format!("the topic {}", t.topic), ends.collect())
        };
        let mut state: State = topics.into_iter().map(ends).collect();
        for service in self.process().running().await {
            let path = self.folder().join("stores").join(format!("{service}.db"));
            if path.exists() {
                let store = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY);
                tables(service, &store.expect("the store can be read"), &mut state)
                    .unwrap_or_else(|e| panic!("the store of {service} cannot be read: {e}"));
            }
        }
        state
    }
}

/// Reads the service's own tables; those of the platform (inbox, outbox, journal) may change.
fn tables(service: &str, store: &Connection, state: &mut State) -> rusqlite::Result<()> {
    let mut names = store.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'banyan\\_%' ESCAPE '\\'
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    let names: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        let mut select = store.prepare(&format!("SELECT * FROM \"{name}\""))?;
        let columns: Vec<String> = select.column_names().into_iter().map(str::to_owned).collect();
        let row = |row: &rusqlite::Row<'_>| {
            let value = |(i, column): (usize, &String)| Ok(format!("{column}={}", text(row.get_ref(i)?)));
            let values: Vec<String> =
                columns.iter().enumerate().map(value).collect::<rusqlite::Result<_>>()?;
            Ok(values.join(" "))
        };
        let mut rows: Vec<String> = select.query_map([], row)?.collect::<rusqlite::Result<_>>()?;
        rows.sort_unstable();
        state.insert(format!("the table {service}.{name}"), rows);
    }
    Ok(())
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
