//! What a column holds, as each engine declares it.

use banyan_store::Dialect;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer {
        min: i64,
        max: i64,
    },
    Boolean,
    /// 64 bits.
    Real,
    /// 32 bits.
    Float,
    /// An exact number with decimal places: its text is read and written.
    Decimal,
    Text,
    Bytes,
    /// A type whose text is read and written; on PostgreSQL with its name.
    Cast(String),
    /// Whatever was put in: a column of SQLite without a known type.
    Any,
}

const BIG: Kind = Kind::Integer { min: i64::MIN, max: i64::MAX };

fn bits(bits: u32) -> Kind {
    let max = (1i64 << (bits - 1)) - 1;
    Kind::Integer { min: -max - 1, max }
}

impl Kind {
    /// Reads the declared type of a column of SQLite, as its own rules of affinity do (<https://sqlite.org/datatype3.html>).
    pub(crate) fn of_sqlite(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        match () {
            () if has(&["INT"]) => BIG,
            () if has(&["CHAR", "CLOB", "TEXT"]) => Kind::Text,
            () if has(&["BLOB"]) => Kind::Bytes,
            () if has(&["REAL", "FLOA", "DOUB"]) => Kind::Real,
            () if has(&["BOOL"]) => Kind::Boolean,
            () if has(&["NUM", "DEC"]) => Kind::Decimal,
            () => Kind::Any,
        }
    }

    /// Reads `data_type` of PostgreSQL's information schema; `named` is the type's own name, quoted.
    pub(crate) fn of_postgres(data_type: &str, named: &str) -> Self {
        match data_type {
            "bigint" => BIG,
            "integer" => bits(32),
            "smallint" => bits(16),
            "oid" => Kind::Integer { min: 0, max: u32::MAX.into() },
            "boolean" => Kind::Boolean,
            "double precision" => Kind::Real,
            "real" => Kind::Float,
            "numeric" => Kind::Decimal,
            "text" | "character varying" | "character" | "name" | "json" => Kind::Text,
            "bytea" => Kind::Bytes,
            _ => Kind::Cast(named.to_owned()),
        }
    }

    /// Reads `data_type` and `column_type` of MySQL's information schema; `None` for a type that has no text.
    pub(crate) fn of_mysql(data_type: &str, column_type: &str) -> Option<Self> {
        let unsigned = column_type.contains("unsigned");
        let whole = |n: u32| match unsigned {
            true => Kind::Integer { min: 0, max: (1i64 << n) - 1 },
            false => bits(n),
        };
        Some(match data_type {
            "tinyint" => whole(8),
            "smallint" => whole(16),
            "mediumint" => whole(24),
            "int" => whole(32),
            // Above what an integer of the store holds.
            "bigint" if unsigned => Kind::Decimal,
            "bigint" => BIG,
            "year" => Kind::Integer { min: 0, max: 2155 },
            "double" => Kind::Real,
            "float" => Kind::Float,
            "decimal" => Kind::Decimal,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
            | "json" => Kind::Text,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Bytes,
            "date" | "time" | "datetime" | "timestamp" | "uuid" | "inet4" | "inet6" => {
                Kind::Cast(data_type.to_owned())
            }
            _ => return None,
        })
    }

    /// Returns what reads the column named `quoted`: its text, where a value of the store would lose something.
    pub(crate) fn read(&self, dialect: Dialect, quoted: &str) -> String {
        match (self, dialect) {
            (Kind::Decimal | Kind::Cast(_), Dialect::Postgres) => format!("CAST({quoted} AS TEXT)"),
            (Kind::Decimal | Kind::Cast(_), Dialect::MySql) => format!("CAST({quoted} AS CHAR)"),
            _ => quoted.to_owned(),
        }
    }

    /// Returns what writes the parameter `$number` into the column.
    pub(crate) fn write(&self, dialect: Dialect, number: usize) -> String {
        match (self, dialect) {
            (Kind::Decimal, Dialect::Postgres) => format!("CAST(CAST(${number} AS TEXT) AS NUMERIC)"),
            (Kind::Cast(named), Dialect::Postgres) => format!("CAST(CAST(${number} AS TEXT) AS {named})"),
            _ => format!("${number}"),
        }
    }

    /// Returns what compares the parameter `$number` with the column.
    pub(crate) fn compare(&self, dialect: Dialect, number: usize) -> String {
        match (self, dialect) {
            // Against a text MySQL would compare as floating point numbers.
            (Kind::Decimal, Dialect::MySql) => format!("CAST(${number} AS DECIMAL(65, 30))"),
            _ => self.write(dialect, number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_reads_a_declared_type_by_its_words() {
        for (declared, kind) in [
            ("BIGINT", BIG),
            ("VARCHAR(255)", Kind::Text),
            ("longblob", Kind::Bytes),
            ("DOUBLE PRECISION", Kind::Real),
            ("NUMERIC(10, 2)", Kind::Decimal),
            ("BOOLEAN", Kind::Boolean),
            ("", Kind::Any),
            ("TIMESTAMP", Kind::Any),
        ] {
            assert_eq!(Kind::of_sqlite(declared), kind, "{declared}");
        }
    }

    #[test]
    fn integers_have_the_bounds_of_their_engine() {
        assert_eq!(Kind::of_mysql("tinyint", "tinyint(1)"), Some(Kind::Integer { min: -128, max: 127 }));
        assert_eq!(
            Kind::of_mysql("int", "int(10) unsigned"),
            Some(Kind::Integer { min: 0, max: u32::MAX.into() })
        );
        assert_eq!(Kind::of_mysql("bigint", "bigint(20) unsigned"), Some(Kind::Decimal));
        assert_eq!(Kind::of_postgres("smallint", "int2"), Kind::Integer { min: -32_768, max: 32_767 });
        assert_eq!(Kind::of_mysql("bit", "bit(3)"), None);
    }
}
