//! One line of the file: what each column has to look like.

use crate::report::Malformed;
use crate::{BYTES_MAX, Error, LINES_MAX};
use csv::{ReaderBuilder, StringRecord};
use std::io::Read;

pub(crate) const COLUMNS: [&str; 8] = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
];

/// Largest quantity and price that are taken for real.
const QUANTITY_MAX: i64 = 1_000_000_000;
const POUNDS_DIGITS_MAX: usize = 9;

/// A line that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) invoice: String,
    /// As the file writes it.
    pub(crate) stock_code: String,
    /// Without surrounding or doubled blanks; may be empty.
    pub(crate) description: String,
    pub(crate) quantity: i64,
    pub(crate) placed_at: String,
    pub(crate) price_pence: i64,
    pub(crate) customer_id: Option<String>,
    pub(crate) country: String,
}

/// All lines of a file.
pub(crate) struct Lines {
    pub(crate) readable: Vec<Line>,
    pub(crate) malformed: Vec<Malformed>,
}

pub(crate) fn read(text: impl Read) -> Result<Lines, Error> {
    // One byte more than allowed, so that a file of exactly the limit is still read.
    let mut bounded = text.take(BYTES_MAX + 1);
    let mut lines = Lines { readable: Vec::new(), malformed: Vec::new() };
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(&mut bounded);
    let found = reader.headers()?;
    if found != COLUMNS[..] {
        return Err(Error::Columns { found: found.iter().map(str::to_owned).collect() });
    }
    for (index, record) in reader.records().enumerate() {
        if index as u64 >= LINES_MAX {
            return Err(Error::TooLong);
        }
        let parsed = match record {
            Ok(record) => {
                let number = record.position().map_or(0, csv::Position::line);
                parse(&record).map_err(|problem| Malformed { line: number, problem })
            }
            Err(error) => match error.kind() {
                csv::ErrorKind::Utf8 { pos, .. } => {
                    let number = pos.as_ref().map_or(0, csv::Position::line);
                    Err(Malformed { line: number, problem: "is not UTF-8".to_owned() })
                }
                _ => return Err(error.into()),
            },
        };
        match parsed {
            Ok(line) => lines.readable.push(line),
            Err(malformed) => lines.malformed.push(malformed),
        }
    }
    drop(reader);
    if bounded.limit() == 0 { Err(Error::TooLong) } else { Ok(lines) }
}

fn parse(record: &StringRecord) -> Result<Line, String> {
    if record.len() != COLUMNS.len() {
        return Err(format!("has {} columns instead of {}", record.len(), COLUMNS.len()));
    }
    let column = |index: usize| record.get(index).unwrap_or_default().trim();
    let [invoice, stock_code, country] = [column(0), column(1), column(7)];
    for (name, value) in [(COLUMNS[0], invoice), (COLUMNS[1], stock_code), (COLUMNS[7], country)] {
        if value.is_empty() {
            return Err(format!("{name} is empty"));
        }
    }
    let customer = column(6);
    Ok(Line {
        invoice: invoice.to_owned(),
        stock_code: stock_code.to_owned(),
        description: column(2).split_whitespace().collect::<Vec<_>>().join(" "),
        quantity: quantity(column(3))?,
        placed_at: placed_at(column(4))
            .ok_or_else(|| format!("InvoiceDate {:?} is no MM-DD-YYYY HH:MM", column(4)))?,
        price_pence: pence(column(5))
            .ok_or_else(|| format!("UnitPrice {:?} is no amount in pounds", column(5)))?,
        customer_id: (!customer.is_empty()).then(|| customer.to_owned()),
        country: country.to_owned(),
    })
}

fn quantity(text: &str) -> Result<i64, String> {
    let number: Option<i64> = text.parse().ok();
    number
        .filter(|number| number.abs() <= QUANTITY_MAX)
        .ok_or_else(|| format!("Quantity {text:?} is no whole number up to {QUANTITY_MAX}"))
}

/// Reads pounds as exact pence: `2.55`, `2.5`, `2`, `-0.01`. More than two decimals are refused, not rounded.
fn pence(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (pounds, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let number = |digits: &str, digits_max: usize| -> Option<i64> {
        let plain =
            (1..=digits_max).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let scale = if decimals.len() == 1 { 10 } else { 1 };
    Some(sign * (number(pounds, POUNDS_DIGITS_MAX)? * 100 + number(decimals, 2)? * scale))
}

/// Turns `12-01-2010 08:26` (month first) into `2010-12-01T08:26:00`.
fn placed_at(text: &str) -> Option<String> {
    let (date, time) = text.split_once(' ')?;
    let mut date = date.split('-');
    let (month, day, year) = (date.next()?, date.next()?, date.next()?);
    let (hour, minute) = time.split_once(':')?;
    if date.next().is_some() {
        return None;
    }
    let within = |text: &str, digits: usize, first: u32, last: u32| {
        text.len() == digits
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u32>().is_ok_and(|number| (first..=last).contains(&number))
    };
    let leap = year.parse().is_ok_and(|year: u32| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    });
    let days = match month {
        "02" if leap => 29,
        "02" => 28,
        "04" | "06" | "09" | "11" => 30,
        _ => 31,
    };
    let valid = within(year, 4, 1970, 2100)
        && within(month, 2, 1, 12)
        && within(day, 2, 1, days)
        && within(hour, 2, 0, 23)
        && within(minute, 2, 0, 59);
    valid.then(|| format!("{year}-{month}-{day}T{hour}:{minute}:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pounds_become_exact_pence_or_nothing() {
        for (text, expected) in [
            ("2.55", Some(255)),
            ("2.5", Some(250)),
            ("2.05", Some(205)),
            ("2", Some(200)),
            ("0", Some(0)),
            ("0.29", Some(29)),
            ("1126.27", Some(112_627)),
            ("-11062.06", Some(-1_106_206)),
            ("0.001", None),
            ("1e3", None),
            (".5", None),
            ("5.", None),
            ("+5", None),
            ("1,5", None),
            ("--5", None),
            ("", None),
            ("9999999999", None),
        ] {
            assert_eq!(pence(text), expected, "{text:?}");
        }
    }

    #[test]
    fn dates_are_month_first_and_exist() {
        assert_eq!(placed_at("12-01-2010 08:26").as_deref(), Some("2010-12-01T08:26:00"));
        assert_eq!(placed_at("02-29-2012 23:59").as_deref(), Some("2012-02-29T23:59:00"));
        for text in
            ["02-29-2010 08:26", "13-01-2010 08:26", "12-01-2010", "12-1-2010 08:26", "12-01-2010 24:00", ""]
        {
            assert_eq!(placed_at(text), None, "{text:?}");
        }
    }
}
