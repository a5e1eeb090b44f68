//! The data set that a command works on, and the accounts that its customers get.

use anyhow::{Context, Result};
use clap::Args;
use shop_dataset::{Customer, Dataset};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// The first bytes of what gzip wrote (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The password of the accounts that an import makes. They are test accounts: their addresses are at example.com, which
/// receives no mail, and nobody's data is in them.
const PASSWORD: &str = "online-retail";

/// Which data set, and how its customers sign in.
#[derive(Args, Clone, Debug)]
pub(crate) struct DatasetArgs {
    /// Order lines as CSV, also compressed with gzip [default: the seed data that comes with the shop]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The password of all imported customers
    #[arg(long, default_value = PASSWORD, env = "SHOP_CUSTOMER_PASSWORD", hide_env_values = true)]
    pub(crate) password: String,
}

impl DatasetArgs {
    /// Reads the data set.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn read(&self) -> Result<Dataset> {
        match &self.file {
            None => shop_dataset::seed().context("the seed data cannot be read"),
            Some(path) => read(path).with_context(|| format!("{} cannot be read", path.display())),
        }
    }
}

fn read(path: &Path) -> Result<Dataset> {
    let mut file = File::open(path)?;
    let mut start = [0; GZIP.len()];
    let compressed = file.read(&mut start)? == GZIP.len() && start == GZIP;
    file.rewind()?;
    let file = BufReader::new(file);
    Ok(if compressed { shop_dataset::from_csv_gz(file)? } else { shop_dataset::from_csv(file)? })
}

/// Names a customer, of whom the data set knows a number only.
pub(crate) fn name(customer: &Customer) -> String {
    format!("Customer {}", customer.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let lines = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
                     536365,85123A,HEART HOLDER,6,12-01-2010 08:26,2.55,17850,United Kingdom\n";
        let plain = folder.path().join("lines.csv");
        std::fs::write(&plain, lines).unwrap();
        let args = |file| DatasetArgs { file, password: String::new() };
        let read = args(Some(plain)).read().unwrap();
        assert_eq!((read.orders.len(), read.products[0].id.as_str()), (1, "85123A"));
        assert_eq!(args(None).read().unwrap().report.lines, 10_000);

        let missing = args(Some(folder.path().join("none.csv"))).read().unwrap_err();
        assert!(missing.to_string().contains("none.csv"), "{missing}");
    }
}
