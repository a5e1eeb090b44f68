//! What was in the file besides goods that somebody ordered.

use std::collections::BTreeMap;
use std::fmt;

/// Malformed lines that are kept with their problem; the rest is only counted.
pub(crate) const MALFORMED_SHOWN: usize = 10;

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Number of the line in the file; the header is line 1.
    pub line: u64,
    pub problem: String,
}

/// Why a line is no part of an order. Every line has at most one reason: the first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetAside {
    /// A column cannot be read.
    Malformed,
    /// The invoice begins with C.
    Cancellation,
    /// The stock code is postage, a fee, a discount, a manual entry.
    NotGoods,
    /// Written off or corrected: the quantity is zero or negative.
    QuantityNotPositive,
    /// Given away, or a note of the warehouse: the price is zero or negative.
    PriceNotPositive,
    /// Nobody to send an order to.
    WithoutCustomer,
    /// The product has no name in the whole file, so that it cannot be sold.
    ProductWithoutName,
}

impl SetAside {
    fn describe(self) -> &'static str {
        match self {
            SetAside::Malformed => "malformed",
            SetAside::Cancellation => "of cancelled invoices",
            SetAside::NotGoods => "not goods",
            SetAside::QuantityNotPositive => "with a quantity that is not positive",
            SetAside::PriceNotPositive => "with a price that is not positive",
            SetAside::WithoutCustomer => "without a customer",
            SetAside::ProductWithoutName => "of products without a name",
        }
    }
}

/// Counts over the whole file. `lines` is the sum of `lines_ordered` and everything in `set_aside`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines of the file, without its header.
    pub lines: usize,
    /// Lines that became part of an order.
    pub lines_ordered: usize,
    /// Lines that did not, by the first reason that applies.
    pub set_aside: BTreeMap<SetAside, usize>,
    /// The first ten malformed lines.
    pub malformed: Vec<Malformed>,

    /// Different invoices, cancellations included.
    pub invoices: usize,
    /// Invoices that begin with C.
    pub invoices_cancelled: usize,
    /// Different stock codes as written, those that are not goods included.
    pub stock_codes: usize,
    /// Stock codes that differ from another only in letter case, and were merged with it.
    pub stock_codes_merged: usize,
    /// Stock codes of goods that were never sold at a positive price or never had a name, and are no products.
    pub stock_codes_unsellable: Vec<String>,
    /// Products with more than one name, of which the best was taken.
    pub descriptions_conflicting: Vec<String>,
    /// Lines with stock codes that are not goods, by code.
    pub not_goods: BTreeMap<String, usize>,
    /// Lines without a customer, whatever else is wrong with them.
    pub lines_without_customer: usize,
    /// Lines with a zero price, whatever else is wrong with them.
    pub lines_price_zero: usize,
    /// Lines with a negative price, whatever else is wrong with them.
    pub lines_price_negative: usize,
    /// Lines without a description, whatever else is wrong with them.
    pub lines_without_description: usize,

    pub products: usize,
    pub customers: usize,
    pub orders: usize,
    /// Lines of the orders after lines of one product were merged.
    pub order_lines: usize,
    pub units: i64,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} lines, {} invoices, {} stock codes", self.lines, self.invoices, self.stock_codes)?;
        writeln!(
            out,
            "imported: {} products, {} customers, {} orders with {} lines and {} units",
            self.products, self.customers, self.orders, self.order_lines, self.units
        )?;
        writeln!(out, "{:>7} lines ordered", self.lines_ordered)?;
        for (reason, lines) in &self.set_aside {
            writeln!(out, "{lines:>7} lines {}", reason.describe())?;
        }
        let codes: Vec<String> =
            self.not_goods.iter().map(|(code, lines)| format!("{code} {lines}")).collect();
        writeln!(out, "not goods: {}", codes.join(", "))?;
        writeln!(
            out,
            "in all, overlapping: {} cancelled invoices; {} lines without a customer, {} without a description, {} with \
             a zero and {} with a negative price",
            self.invoices_cancelled,
            self.lines_without_customer,
            self.lines_without_description,
            self.lines_price_zero,
            self.lines_price_negative
        )?;
        writeln!(
            out,
            "stock codes: {} merged by letter case, {} unsellable, {} with conflicting descriptions",
            self.stock_codes_merged,
            self.stock_codes_unsellable.len(),
            self.descriptions_conflicting.len()
        )?;
        for Malformed { line, problem } in &self.malformed {
            writeln!(out, "line {line} {problem}")?;
        }
        Ok(())
    }
}
