//! Slots and publications of a server.

use super::{Failure, Link, Lsn, identifier, literal};

/// Bytes of a slot's name at most.
pub(crate) const NAME_BYTES_MAX: usize = 63;

/// A logical slot: what a reader of the log still needs, kept for it by the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    pub database: String,
    /// The output plug-in; `pgoutput` where Banyan made it.
    pub plugin: String,
    /// The process of the server that serves its reader; `None` if nobody reads it.
    pub active_pid: Option<u32>,
    /// What its reader has confirmed.
    pub confirmed: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`; empty before PostgreSQL 13.
    pub wal_status: String,
    /// Bytes of log that its reader has not confirmed.
    pub lag_bytes: u64,
    /// Bytes of log that the server keeps because of it.
    pub retained_bytes: u64,
    /// The tables of the publication of the same name; empty if there is none, or in another database.
    pub tables: String,
}

impl Slot {
    /// Tells whether the server removed log that its reader still needed.
    pub(crate) fn is_lost(&self) -> bool {
        self.wal_status == "lost"
    }
}

/// Lists the logical slots, sorted by name.
pub(crate) async fn slots(link: &mut Link) -> Result<Vec<Slot>, Failure> {
    find(link, "NOT temporary").await
}

/// Finds a slot by its name.
pub(crate) async fn find_slot(link: &mut Link, name: &str) -> Result<Option<Slot>, Failure> {
    Ok(find(link, &format!("slot_name = {}", literal(name))).await?.pop())
}

async fn find(link: &mut Link, condition: &str) -> Result<Vec<Slot>, Failure> {
    // A standby has no place where it writes.
    let now = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END";
    let rows = link
        .query(&format!(
            "SELECT slot_name, coalesce(database, ''), plugin, active_pid, confirmed_flush_lsn, \
             coalesce(to_jsonb(s) ->> 'wal_status', ''), greatest(0, ({now}) - confirmed_flush_lsn)::bigint, \
             greatest(0, ({now}) - restart_lsn)::bigint, \
             (SELECT string_agg(format('%s.%s', schemaname, tablename), ', ') FROM pg_publication_tables p \
              WHERE p.pubname = s.slot_name AND s.database = current_database()) \
             FROM pg_replication_slots s WHERE slot_type = 'logical' AND {condition} ORDER BY 1"
        ))
        .await?;
    Ok(rows.into_iter().map(slot).collect())
}

fn slot(row: Vec<Option<String>>) -> Slot {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten();
    let mut text = || next().unwrap_or_default();
    let (name, database, plugin) = (text(), text(), text());
    let active_pid = text().parse().ok();
    let (confirmed, wal_status) = (text().parse().ok(), text());
    let mut bytes = || text().parse().unwrap_or_default();
    let (lag_bytes, retained_bytes) = (bytes(), bytes());
    let tables = text();
    Slot { name, database, plugin, active_pid, confirmed, wal_status, lag_bytes, retained_bytes, tables }
}

/// A slot that was just made.
pub(crate) struct Made {
    /// Everything that is committed after this comes from the slot.
    pub(crate) consistent: Lsn,
    /// What was committed before, for as long as the connection is not used; empty if it was not wanted.
    pub(crate) snapshot: String,
}

/// Makes a slot. It waits for the transactions that run at this moment, however long they take.
pub(crate) async fn create_slot(link: &mut Link, name: &str, temporary: bool) -> Result<Made, Failure> {
    let name = identifier(name);
    let sql = match temporary {
        true => format!("CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT"),
        false => format!("CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput NOEXPORT_SNAPSHOT"),
    };
    let mut rows = link.query_patiently(&sql).await?;
    let row = rows.pop().unwrap_or_default();
    let text = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
    let consistent = text(1).parse();
    let consistent =
        consistent.map_err(|()| Failure::Protocol(format!("the place of a new slot: {:?}", text(1))))?;
    Ok(Made { consistent, snapshot: text(2) })
}

/// Makes the publication `name` of a table (as it is written in SQL), with a comment, unless there is one of this name.
pub(crate) async fn ensure_publication(
    link: &mut Link,
    name: &str,
    table: &str,
    publish: &str,
    comment: Option<&str>,
) -> Result<(), Failure> {
    if has_publication(link, name).await? {
        return Ok(());
    }
    let version: u32 =
        link.query_one("SHOW server_version_num").await?.and_then(|v| v.parse().ok()).unwrap_or(0);
    // The partitions of a table are one table to its readers.
    let root = if version >= 130_000 { ", publish_via_partition_root = true" } else { "" };
    let (publication, publish) = (identifier(name), literal(publish));
    // Both in one transaction: nobody sees the one without the other.
    let comment = comment
        .map(|text| format!("; COMMENT ON PUBLICATION {publication} IS {}", literal(text)))
        .unwrap_or_default();
    let make = format!(
        "CREATE PUBLICATION {publication} FOR TABLE {table} WITH (publish = {publish}{root}){comment}"
    );
    match link.query(&make).await {
        // Another process was faster.
        Err(failure) if failure.code() == "42710" => Ok(()),
        made => made.map(drop),
    }
}

/// Tells whether there is a publication of this name.
pub(crate) async fn has_publication(link: &mut Link, name: &str) -> Result<bool, Failure> {
    let known = format!("SELECT 1 FROM pg_publication WHERE pubname = {}", literal(name));
    Ok(link.query_one(&known).await?.is_some())
}

/// Removes the slot and the publication `name`; returns which of them there were.
pub(crate) async fn drop_slot_and_publication(link: &mut Link, name: &str) -> Result<(bool, bool), Failure> {
    let slot = find_slot(link, name).await?.is_some();
    if slot {
        link.query(&format!("SELECT pg_drop_replication_slot({})", literal(name))).await?;
    }
    let publication = has_publication(link, name).await?;
    if publication {
        link.query(&format!("DROP PUBLICATION IF EXISTS {}", identifier(name))).await?;
    }
    Ok((slot, publication))
}

/// Makes a name for a slot: lower-case letters, digits and underscores, and at most so long as the server allows.
pub(crate) fn slot_name(parts: &[&str]) -> String {
    let whole = parts.join("_");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut name: String = whole.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    if name != whole || name.len() > NAME_BYTES_MAX {
        // Names that differ stay different.
        push_hash(&mut name, &whole);
    }
    name
}

/// Makes a name like [`slot_name`] that also depends on `purpose`, by a hash at its end. The same on every machine.
pub(crate) fn slot_name_for(parts: &[&str], purpose: &[&str]) -> String {
    let mut name = slot_name(parts);
    push_hash(&mut name, &[parts, purpose].concat().join("\n"));
    name
}

fn push_hash(name: &mut String, text: &str) {
    let hash = text.bytes().fold(0x811c_9dc5u32, |h, byte| (h ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    name.truncate(NAME_BYTES_MAX - 9);
    name.push_str(&format!("_{hash:08x}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_a_name_that_the_server_takes() {
        assert_eq!(slot_name(&["banyan", "shop", "public", "orders"]), "banyan_shop_public_orders");
        let (one, other) = (slot_name(&["shop", "Orders"]), slot_name(&["shop", "orders"]));
        assert!(one != other && one.starts_with("shop__rders_"), "{one}");
        assert_eq!(slot_name(&["a".repeat(99).as_str()]).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn a_slot_of_another_purpose_has_another_name() {
        let of =
            |table: &str, topic: &str, to: &str| slot_name_for(&["banyan_cdc", "crm", table], &[topic, to]);
        let one = of("customers", "legacy.customers", "shop");
        assert!(one.starts_with("banyan_cdc_crm_customers_") && one.len() == 33, "{one}");
        assert_eq!(one, of("customers", "legacy.customers", "shop"));
        assert_ne!(one, of("customers", "second", "shop"));
        assert_ne!(one, of("customers", "legacy.customers", "nats://127.0.0.1:4222"));
        let long = |end: &str| of(&format!("{}{end}", "t".repeat(90)), "topic", "shop");
        assert!(long("a") != long("b") && long("a").len() == NAME_BYTES_MAX, "{}", long("a"));
    }
}
