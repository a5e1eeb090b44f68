//! A service's store as the auditor reads it: rows of a query, whichever engine keeps them.

use std::fmt;
use std::path::PathBuf;

/// Where a service's store is.
#[derive(Clone)]
pub(crate) enum Location {
    File(PathBuf),
    Url(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::File(path) => write!(f, "{}", path.display()),
            // Without what may be a user and a password.
            Location::Url(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                write!(f, "{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, place)| place))
            }
        }
    }
}

/// Why a store cannot be read.
pub(crate) enum Failure {
    Engine(Box<dyn std::error::Error + Send + Sync>),
    /// A row makes no sense.
    Row {
        id: String,
        problem: String,
    },
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Engine(error.into())
    }
}

/// A value of a row. Servers answer in text, whatever the column.
enum Cell {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// A row of a query.
pub(crate) struct Row(Vec<(String, Cell)>);

impl Row {
    pub(crate) fn int(&self, column: &str) -> Result<i64, Failure> {
        match self.cell(column)? {
            Cell::Int(number) => Ok(*number),
            Cell::Text(text) => Ok(text.parse()?),
            Cell::Blob(bytes) => Ok(std::str::from_utf8(bytes)?.parse()?),
            Cell::Null => Err(no_value(column)),
        }
    }

    pub(crate) fn text(&self, column: &str) -> Result<String, Failure> {
        match self.cell(column)? {
            Cell::Text(text) => Ok(text.clone()),
            Cell::Blob(bytes) => Ok(String::from_utf8(bytes.clone())?),
            Cell::Int(number) => Ok(number.to_string()),
            Cell::Null => Err(no_value(column)),
        }
    }

    pub(crate) fn blob(&self, column: &str) -> Result<Vec<u8>, Failure> {
        match self.cell(column)? {
            Cell::Blob(bytes) => Ok(bytes.clone()),
            Cell::Text(text) => hex(text).ok_or_else(|| format!("column {column} holds no bytes").into()),
            Cell::Int(_) | Cell::Null => Err(no_value(column)),
        }
    }

    fn cell(&self, column: &str) -> Result<&Cell, Failure> {
        let found = self.0.iter().find(|(name, _)| name == column);
        found.map(|(_, cell)| cell).ok_or_else(|| format!("there is no column {column}").into())
    }
}

fn no_value(column: &str) -> Failure {
    format!("column {column} has no value of its kind").into()
}

/// Reads PostgreSQL's text of bytes: `\x` and two digits each.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

/// What a query calls for each row.
pub(crate) type EachRow<'a> = &'a mut dyn FnMut(&Row) -> Result<(), Failure>;

/// An open store, read as of one moment.
pub(crate) trait Source {
    fn each(&mut self, sql: &str, row: EachRow<'_>) -> Result<(), Failure>;

    /// Tells whether rows have a `rowid` that rises, as those of SQLite do.
    fn numbers_rows(&self) -> bool {
        false
    }
}

/// Opens a store to be read, as of now.
pub(crate) fn open(location: &Location) -> Result<Box<dyn Source>, Failure> {
    match location {
        Location::File(path) => Ok(Box::new(sqlite::open(path)?)),
        Location::Url(url) => match url.split_once("://").map_or("", |(scheme, _)| scheme) {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => Ok(Box::new(postgres::open(url)?)),
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => Ok(Box::new(mysql::open(url)?)),
            scheme => Err(format!("this auditor was built without what reads {scheme}:// stores").into()),
        },
    }
}

mod sqlite {
    use super::{Cell, EachRow, Failure, Row, Source};
    use rusqlite::types::ValueRef;
    use rusqlite::{Connection, OpenFlags};
    use std::path::Path;

    pub(super) struct File(Connection);

    pub(super) fn open(path: &Path) -> Result<File, Failure> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.execute_batch("BEGIN")?;
        Ok(File(connection))
    }

    impl Source for File {
        fn numbers_rows(&self) -> bool {
            true
        }

        fn each(&mut self, sql: &str, row: EachRow<'_>) -> Result<(), Failure> {
            let mut select = self.0.prepare(sql)?;
            let names: Vec<String> = select.column_names().into_iter().map(str::to_owned).collect();
            let mut rows = select.query([])?;
            while let Some(found) = rows.next()? {
                let cell = |index| -> Result<Cell, Failure> {
                    Ok(match found.get_ref(index)? {
                        ValueRef::Null => Cell::Null,
                        ValueRef::Integer(number) => Cell::Int(number),
                        ValueRef::Real(number) => return Err(format!("{number} is not whole").into()),
                        ValueRef::Text(text) => Cell::Text(String::from_utf8(text.to_vec())?),
                        ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
                    })
                };
                let cells = names.iter().enumerate().map(|(index, name)| Ok((name.clone(), cell(index)?)));
                row(&Row(cells.collect::<Result<_, Failure>>()?))?;
            }
            Ok(())
        }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::{Cell, EachRow, Failure, Row, Source};
    use tokio::runtime::{Builder, Runtime};
    use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

    pub(super) struct Database {
        runtime: Runtime,
        client: Client,
    }

    pub(super) fn open(url: &str) -> Result<Database, Failure> {
        if let Some(mode) = encryption(url) {
            return Err(format!(
                "its URL asks for encryption ({mode}), and the auditor reads without: audit by a tunnel, or a proxy on this \
                 machine, that encrypts, with sslmode=disable"
            )
            .into());
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (client, connection) = runtime.block_on(tokio_postgres::connect(&for_driver(url), NoTls))?;
        // Its end is noticed by the next query.
        drop(runtime.spawn(connection));
        runtime.block_on(client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))?;
        Ok(Database { runtime, client })
    }

    /// Returns the parameter by which a URL asks for an encrypted connection, if it does.
    pub(super) fn encryption(url: &str) -> Option<&str> {
        let start = url.rfind('@').unwrap_or_default();
        let (_, query) = url[start..].split_once('?')?;
        let asks = |parameter: &&str| match parameter.split_once('=') {
            Some(("sslmode", mode)) => !matches!(mode, "disable" | "allow" | "prefer"),
            Some((name, _)) => name == "sslrootcert",
            None => false,
        };
        query.split('&').find(asks)
    }

    /// Leaves out how events leave the outbox, which concerns the platform only.
    pub(super) fn for_driver(url: &str) -> String {
        // A question mark may be part of a password.
        let start = url.rfind('@').unwrap_or_default();
        let Some((before, query)) = url[start..].split_once('?') else { return url.to_owned() };
        let kept: Vec<_> = query.split('&').filter(|parameter| !parameter.starts_with("outbox=")).collect();
        let mark = if kept.is_empty() { "" } else { "?" };
        format!("{}{before}{mark}{}", &url[..start], kept.join("&"))
    }

    impl Source for Database {
        fn each(&mut self, sql: &str, row: EachRow<'_>) -> Result<(), Failure> {
            for message in self.runtime.block_on(self.client.simple_query(sql))? {
                let SimpleQueryMessage::Row(found) = message else { continue };
                let cell =
                    |index| found.get(index).map_or(Cell::Null, |text: &str| Cell::Text(text.to_owned()));
                let columns = found.columns().iter().enumerate();
                row(&Row(columns.map(|(index, c)| (c.name().to_owned(), cell(index))).collect()))?;
            }
            Ok(())
        }
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use super::{Cell, EachRow, Failure, Row, Source};
    use mysql::prelude::Queryable;
    use mysql::{Conn, Opts, Value};

    pub(super) struct Database(Conn);

    pub(super) fn open(url: &str) -> Result<Database, Failure> {
        let mut connection = Conn::new(Opts::from_url(&url.replacen("mariadb://", "mysql://", 1))?)?;
        connection.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")?;
        Ok(Database(connection))
    }

    impl Source for Database {
        fn each(&mut self, sql: &str, row: EachRow<'_>) -> Result<(), Failure> {
            for found in self.0.query_iter(sql)? {
                let found = found?;
                let columns = found.columns();
                let cell = |value: Value| match value {
                    Value::Bytes(bytes) => Ok(Cell::Blob(bytes)),
                    Value::Int(number) => Ok(Cell::Int(number)),
                    Value::NULL => Ok(Cell::Null),
                    other => Err(Failure::from(format!("a value of an unknown kind: {other:?}"))),
                };
                let values = found.unwrap().into_iter().zip(columns.iter());
                let cells = values.map(|(value, c)| Ok((c.name_str().into_owned(), cell(value)?)));
                row(&Row(cells.collect::<Result<_, Failure>>()?))?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_from_their_digits() {
        assert_eq!(hex("\\x00ff10"), Some(vec![0, 255, 16]));
        assert_eq!(hex("00ff"), None);
        assert_eq!(hex("\\xzz"), None);
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn what_only_the_platform_knows_is_left_out_of_a_url() {
        let of = postgres::for_driver;
        assert_eq!(of("postgres://me:a?b@h/d?outbox=replication"), "postgres://me:a?b@h/d");
        assert_eq!(of("postgres://h/d?a=1&outbox=table&b=2"), "postgres://h/d?a=1&b=2");
        assert_eq!(of("postgres://h/d"), "postgres://h/d");
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_url_that_asks_for_encryption_is_refused() {
        let of = postgres::encryption;
        assert_eq!(
            of("postgres://me:a?sslmode=require@h/d?sslmode=verify-full&x=1"),
            Some("sslmode=verify-full")
        );
        assert_eq!(of("postgres://h/d?sslrootcert=/ca.pem"), Some("sslrootcert=/ca.pem"));
        for plain in [
            "postgres://h/d",
            "postgres://h/d?sslmode=prefer",
            "postgres://h/d?outbox=replication&sslmode=disable",
        ] {
            assert_eq!(of(plain), None, "{plain}");
        }
        let opened = postgres::open("postgres://me:hunter2@127.0.0.1:1/d?sslmode=require");
        let Err(Failure::Engine(error)) = opened else { panic!("it is refused") };
        assert!(error.to_string().contains("audit by a tunnel"), "{error}");
    }

    #[test]
    fn a_location_is_shown_without_its_password() {
        let url = Location::Url("postgres://shop:secret@db.example/orders".to_owned());
        assert_eq!(url.to_string(), "postgres://db.example/orders");
    }
}
