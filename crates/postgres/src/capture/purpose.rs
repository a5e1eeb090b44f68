//! What a slot is for, remembered with its publication.
//!
//! The server knows no topics, so a comment on the publication holds, as JSON, which table becomes events of which topic.
//! A capture of something else does not go on with the slot: its topic would silently lack the rows of before. A
//! publication without such a comment was made by its owner; only its tables say what it is for.

use super::table::{Table, refused};
use super::{Capture, End};
use crate::replication::{Link, ensure_publication, find_slot, has_publication, literal};
use serde_json::{Value, json};

/// What happens to a table that becomes events.
const PUBLISHED_CHANGES: &str = "insert, update, delete, truncate";
/// The member of the comment that is ours.
const MEMBER: &str = "banyan_cdc";

/// Makes the publication `name` of `table` unless there is one, and checks that it and the slot are for this capture.
pub(super) async fn ensure(link: &mut Link, capture: &Capture, table: &Table, name: &str) -> Result<(), End> {
    let options = &capture.options;
    // In this order: a publication is made before its slot.
    let slot = find_slot(link, name).await?;
    if slot.is_some_and(|slot| slot.database == table.database) && !has_publication(link, name).await? {
        return Err(refused(format!(
            "the slot {name} has no publication: it was made for something else, or the publication was removed; choose \
             another --slot, or remove it (cdc drop {name}) and begin anew with a snapshot"
        )));
    }
    let comment = json!({
        MEMBER: {"table": table.full_name(), "topic": options.topic, "log": options.log}
    });
    let comment = comment.to_string();
    ensure_publication(link, name, &table.quoted(), PUBLISHED_CHANGES, Some(&comment)).await?;
    let known = Known::read(link, table, name).await?;
    match known.other_purpose(&table.full_name(), &options.topic) {
        None => Ok(()),
        Some(other) => Err(refused(format!(
            "the slot {name} is for {other}, not for {} to the topic {}; choose another --slot, or remove it if it is not \
             needed any more (cdc drop {name})",
            table.full_name(),
            options.topic
        ))),
    }
}

/// What a publication says of itself.
struct Known {
    /// It publishes the table that is to be captured.
    has_table: bool,
    tables: String,
    /// From our comment; empty without one.
    table: String,
    topic: String,
}

impl Known {
    async fn read(link: &mut Link, table: &Table, name: &str) -> Result<Self, End> {
        let of = literal(name);
        let (schema, own) = (literal(&table.schema), literal(&table.name));
        let sql = format!(
            "SELECT obj_description(p.oid, 'pg_publication'), \
             (SELECT bool_or(schemaname = {schema} AND tablename = {own}) FROM pg_publication_tables WHERE pubname = {of}), \
             (SELECT string_agg(tables.name, ', ') FROM (SELECT format('%s.%s', schemaname, tablename) AS name \
             FROM pg_publication_tables WHERE pubname = {of} ORDER BY 1 LIMIT 5) AS tables) \
             FROM pg_publication p WHERE p.pubname = {of}"
        );
        let mut row = link.query(&sql).await?.into_iter().flatten();
        let mut next = || row.next().flatten().unwrap_or_default();
        let (comment, has_table, tables) = (next(), next() == "t", next());
        let comment = serde_json::from_str(&comment).unwrap_or(Value::Null);
        let said = |name: &str| comment[MEMBER][name].as_str().unwrap_or_default().to_owned();
        Ok(Self { has_table, tables, table: said("table"), topic: said("topic") })
    }

    /// Returns what it is for, if it is not for `table` to `topic`.
    fn other_purpose(&self, table: &str, topic: &str) -> Option<String> {
        let named = if self.table.is_empty() { &self.tables } else { &self.table };
        // A table may have been renamed. One that was dropped and made again is found gone by the stream, after its last
        // change.
        let other_table = !self.has_table && !named.is_empty() && named != table;
        let other_topic = !self.topic.is_empty() && self.topic != topic;
        let to = if self.topic.is_empty() { String::new() } else { format!(" to the topic {}", self.topic) };
        (other_table || other_topic).then(|| format!("{named}{to}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_for_something_else_is_refused() {
        let known = |has_table, tables: &str, table: &str, topic: &str| {
            let [tables, table, topic] = [tables, table, topic].map(str::to_owned);
            Known { has_table, tables, table, topic }.other_purpose("public.a", "t")
        };
        // Ours; ours after the table was dropped; the owner's, by hand; of a table that was renamed.
        assert_eq!(known(true, "public.a", "public.a", "t"), None);
        assert_eq!(known(false, "", "public.a", "t"), None);
        assert_eq!(known(true, "public.a, public.b", "", ""), None);
        assert_eq!(known(true, "public.a", "public.old", "t"), None);
        assert_eq!(known(true, "public.a", "public.a", "u").as_deref(), Some("public.a to the topic u"));
        assert_eq!(known(false, "public.b", "public.b", "t").as_deref(), Some("public.b to the topic t"));
        assert_eq!(known(false, "public.b", "", "").as_deref(), Some("public.b"));
    }
}
