//! Looks whether a MySQL or MariaDB database can be used, and changes nothing that stays.

use crate::address::Address;
use crate::connector::{MySql, Patience};
use crate::failure::{is_denied, translate};
use banyan_core::{Check, Error, Finding, KnownVersions, Result, Version};
use banyan_store::StoreExamination;
use banyan_store::server::{examine as examine_server, unexpected};
use mysql::Conn;
use mysql::prelude::Queryable as _;
use std::sync::Arc;

const MARIADB: KnownVersions = KnownVersions { oldest: [10, 6, 0], newest: [10, 11, 0] };
const MYSQL: KnownVersions = KnownVersions { oldest: [8, 0, 17], newest: [8, 0, 17] };
/// Connections that should stay free for others, operators above all.
const SPARE_CONNECTIONS: u64 = 5;
/// Largest event with its envelope, in bytes: what one statement of the outbox must hold.
const PACKET_BYTES_MIN: u64 = 4 << 20;
/// What the probe's tables are called; one of them is made and dropped.
const PROBE: &str = "banyan_doctor_probe_";

/// What the server says of itself and of the database.
struct Facts {
    version: String,
    user: String,
    collation: String,
    tables: u64,
    read_only: bool,
    connections_max: u64,
    user_connections_max: u64,
    connections_used: u64,
    flush: u64,
    packet_bytes_max: u64,
}

pub(crate) async fn examine(url: &str, asked: StoreExamination) -> Vec<Finding> {
    let address = match Address::parse(url, &asked.options) {
        Ok(address) => address,
        Err(error) => {
            let next = format!("correct stores.{}", asked.options.service);
            return vec![Finding::of_error(Check::Configuration, "URL", &error, next)];
        }
    };
    let server = MySql::new(address, &asked.options);
    // The connection of a store runs only what a store may; what belongs to the server is asked on a second one.
    let dialled = server.clone();
    examine_server(Arc::new(server), asked, move |_, asked, findings| {
        let patience = Patience::AtMost(asked.limit);
        let (mut conn, flavor) = match dialled.dial(patience) {
            Ok(dialled) => dialled,
            Err(error) => return findings.push(unexpected(Check::Reachable, "second connection", &error)),
        };
        match facts(&mut conn) {
            Ok(facts) => {
                let known = if facts.version.contains("MariaDB") { &MARIADB } else { &MYSQL };
                let shown = facts.version.strip_prefix("5.5.5-").unwrap_or(&facts.version);
                findings.push(Finding::version("server", &Version::parse(shown), known));
                findings.extend([connections(&facts, asked), durability(&facts), packet(&facts)]);
                findings.push(collation(&facts, flavor.collation(), dialled.database()));
                permissions(&mut conn, &facts, &dialled, asked, findings);
            }
            Err(error) => findings.push(unexpected(Check::Version, "server", &error)),
        }
    })
    .await
}

fn facts(conn: &mut Conn) -> Result<Facts> {
    let sql = "SELECT VERSION(), CURRENT_USER(), @@global.read_only, @@global.max_connections, \
               @@global.max_user_connections, @@global.innodb_flush_log_at_trx_commit, @@global.max_allowed_packet";
    let row: Option<(String, String, u64, u64, u64, u64, u64)> =
        conn.query_first(sql).map_err(|e| translate(sql, e))?;
    let none = || Error::unavailable("the server says nothing of itself");
    let (version, user, read_only, connections_max, user_connections_max, flush, packet_bytes_max) =
        row.ok_or_else(none)?;
    let sql = "SELECT CAST(default_collation_name AS CHAR), (SELECT COUNT(*) FROM information_schema.tables \
               WHERE table_schema = DATABASE()) FROM information_schema.schemata WHERE schema_name = DATABASE()";
    let (collation, tables): (String, u64) =
        conn.query_first(sql).map_err(|e| translate(sql, e))?.unwrap_or_default();
    let sql = "SHOW GLOBAL STATUS LIKE 'Threads_connected'";
    let used: Option<(String, u64)> = conn.query_first(sql).map_err(|e| translate(sql, e))?;
    Ok(Facts {
        version,
        user,
        collation,
        tables,
        read_only: read_only != 0,
        connections_max,
        user_connections_max,
        connections_used: used.map_or(0, |(_, used)| used),
        flush,
        packet_bytes_max,
    })
}

fn connections(facts: &Facts, asked: &StoreExamination) -> Finding {
    let (subject, wanted) = ("max_connections", u64::from(asked.connections));
    let Facts { connections_max, connections_used, user_connections_max, .. } = facts;
    let free = connections_max.saturating_sub(*connections_used);
    let found = format!(
        "the system wants up to {wanted}; {free} of {connections_max} are free, with {connections_used} in use"
    );
    let next = format!(
        "SET GLOBAL max_connections = {}; (and in the server's configuration), or run fewer processes",
        wanted + connections_used + SPARE_CONNECTIONS
    );
    match () {
        () if *user_connections_max > 0 && *user_connections_max < wanted => {
            let found = format!("{found}; one user may have {user_connections_max} (max_user_connections)");
            Finding::warn(Check::Limits, subject, found, "raise max_user_connections")
        }
        () if wanted > *connections_max => Finding::fail(Check::Limits, subject, found, next),
        () if wanted + SPARE_CONNECTIONS > free => Finding::warn(Check::Limits, subject, found, next),
        () => Finding::ok(Check::Limits, subject, found),
    }
}

fn durability(facts: &Facts) -> Finding {
    match facts.flush {
        1 => Finding::ok(Check::Durability, "commits", "what is committed is on the disk"),
        other => {
            let found = format!(
                "innodb_flush_log_at_trx_commit = {other}: a crash of the server's machine loses what was committed"
            );
            let next = "SET GLOBAL innodb_flush_log_at_trx_commit = 1;";
            Finding::warn(Check::Durability, "commits", found, next)
        }
    }
}

fn packet(facts: &Facts) -> Finding {
    let found = format!("{} MiB", facts.packet_bytes_max >> 20);
    match facts.packet_bytes_max < PACKET_BYTES_MIN {
        false => Finding::ok(Check::Limits, "max_allowed_packet", found),
        true => {
            let found = format!("{found}: a large event or row is refused");
            let next = "SET GLOBAL max_allowed_packet = 16777216;";
            Finding::warn(Check::Limits, "max_allowed_packet", found, next)
        }
    }
}

fn collation(facts: &Facts, wanted: &str, database: &str) -> Finding {
    let subject = "collation";
    let Facts { collation, tables, .. } = facts;
    let change =
        format!("ALTER DATABASE `{}` CHARACTER SET utf8mb4 COLLATE {wanted};", database.replace('`', "``"));
    match () {
        () if collation == wanted => Finding::ok(Check::Configuration, subject, collation),
        () if *tables == 0 => {
            Finding::ok(Check::Configuration, subject, format!("the first start changes it to {wanted}"))
        }
        () => {
            let found = format!("{collation}, and the database has tables: texts would compare otherwise");
            let next = format!("use an empty database, or convert the tables and run: {change}");
            Finding::fail(Check::Configuration, subject, found, next)
        }
    }
}

/// Makes a table, works with it and drops it: the server cannot roll that back.
fn permissions(
    conn: &mut Conn,
    facts: &Facts,
    server: &MySql,
    asked: &StoreExamination,
    findings: &mut Vec<Finding>,
) {
    let (subject, user) = ("make tables", &facts.user);
    if facts.read_only {
        let next = "name the primary in the URL, or SET GLOBAL read_only = 0;";
        let found = "the server only reads (read_only)";
        return findings.push(Finding::fail(Check::Permissions, subject, found, next));
    }
    let table = format!("{PROBE}{}", asked.options.env.new_id().replace('-', ""));
    let database = server.database();
    let made = conn.query_drop(format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY) ENGINE = InnoDB"));
    let worked = made.and_then(|()| {
        let worked = [
            format!("INSERT INTO {table} (id) VALUES (1)"),
            format!("SELECT id FROM {table} FOR UPDATE"),
            format!("UPDATE {table} SET id = 2"),
            format!("DELETE FROM {table}"),
            format!("ALTER TABLE {table} ADD COLUMN x INTEGER, ADD INDEX (x)"),
        ]
        .into_iter()
        .try_for_each(|sql| conn.query_drop(sql));
        conn.query_drop(format!("DROP TABLE {table}")).and(worked)
    });
    findings.push(match worked {
        Ok(()) => {
            let found = format!("{user} may, in {database} (made {table}, and dropped it)");
            Finding::ok(Check::Permissions, subject, found)
        }
        Err(error) => {
            let denied = is_denied(&error);
            let error = translate("the probe", error);
            let next = format!("GRANT ALL ON `{}`.* TO {};", database.replace('`', "``"), quoted(user));
            match denied {
                true => Finding::of_error(Check::Permissions, subject, &error, next),
                false => unexpected(Check::Permissions, subject, &error),
            }
        }
    });
}

/// Writes `name@host` as a statement has it.
fn quoted(user: &str) -> String {
    let (name, host) = user.rsplit_once('@').unwrap_or((user, "%"));
    format!("'{name}'@'{host}'")
}
