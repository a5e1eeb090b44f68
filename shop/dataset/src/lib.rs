//! The shop's real input: order lines of a UK gift wholesaler, cleaned into products, customers and orders.
//!
//! Pure: bytes in, a [`Dataset`] out. Nothing is dropped in silence: the [`Report`] says of every line whether it became
//! part of an order, and if not, why. Money is whole pence, parsed from the decimal text and never through a float.
//!
//! ```
//! let dataset = shop_dataset::seed().expect("the seed data is readable");
//! println!("{}", dataset.report);
//! assert!(dataset.orders.iter().all(|order| !order.lines.is_empty()));
//! ```

mod category;
mod clean;
mod line;
mod report;

pub use category::category_of;
pub use report::{Malformed, Report, SetAside};

use flate2::read::GzDecoder;
use std::io::Read;

/// Most lines of one file; the whole published data set has 541,909.
pub const LINES_MAX: u64 = 2_000_000;
/// Most bytes of one file, uncompressed.
pub const BYTES_MAX: u64 = 512 * 1024 * 1024;

static SEED: &[u8] = include_bytes!("../data/online-retail-2010-12.csv.gz");

/// What a file of order lines says, cleaned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    /// By stock code.
    pub products: Vec<Product>,
    /// By number.
    pub customers: Vec<Customer>,
    /// In the order of the file, which is the order in time.
    pub orders: Vec<Order>,
    pub report: Report,
}

/// Something the shop sells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The retailer's stock code in upper case, for example `85123A`.
    pub id: String,
    pub name: String,
    pub category: &'static str,
    /// The median of the prices it was sold at; of an even number of prices the lower middle one.
    pub price_pence: i64,
    /// Units to start with: [`STOCK_PER_UNIT`] for each unit ordered in the file, at least [`STOCK_MIN`].
    pub stock: i64,
}

/// Units of stock for each unit ordered in the file, so that its orders can be placed several times.
pub const STOCK_PER_UNIT: i64 = 10;
/// Units of stock of a product that nobody ordered.
pub const STOCK_MIN: i64 = 10;

/// Somebody who ordered, or whose lines were all set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    /// The retailer's customer number, for example `17850`.
    pub id: String,
    /// As the file writes it, for example `United Kingdom`.
    pub country: String,
}

impl Customer {
    /// Returns the customer's address; `example.com` receives no mail (RFC 2606).
    pub fn email(&self) -> String {
        format!("customer-{}@example.com", self.id)
    }
}

/// An invoice: goods only, one line per product, quantities positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub invoice: String,
    pub customer_id: String,
    /// RFC 3339 without a zone, which the file does not say: `2010-12-01T08:26:00`.
    pub placed_at: String,
    /// In the order of the invoice.
    pub lines: Vec<OrderLine>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLine {
    pub product_id: String,
    pub quantity: i64,
}

/// Why a file cannot be read at all. A bad line is no error: it is counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the file cannot be read")]
    Read(#[from] csv::Error),
    #[error("the file has the columns {found:?}, expected {:?}", line::COLUMNS)]
    Columns { found: Vec<String> },
    #[error("the file has more than {LINES_MAX} lines or {BYTES_MAX} bytes")]
    TooLong,
}

/// Reads the seed data that comes with the project (see `data/README.md` for its source and licence).
///
/// # Errors
/// None in practice: the data is part of the program.
pub fn seed() -> Result<Dataset, Error> {
    from_csv_gz(SEED)
}

/// Reads gzip-compressed CSV.
///
/// # Errors
/// When it is not gzip, not CSV with the expected columns, or too long.
pub fn from_csv_gz(compressed: impl Read) -> Result<Dataset, Error> {
    from_csv(GzDecoder::new(compressed))
}

/// Reads CSV.
///
/// # Errors
/// When it is not CSV with the expected columns, or too long.
pub fn from_csv(text: impl Read) -> Result<Dataset, Error> {
    let read = line::read(text)?;
    Ok(clean::clean(read))
}
