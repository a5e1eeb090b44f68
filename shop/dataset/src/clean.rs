//! From readable lines to products, customers and orders, and the count of what was left out.

use crate::line::{Line, Lines};
use crate::report::{MALFORMED_SHOWN, Report, SetAside};
use crate::{Customer, Dataset, Order, OrderLine, Product, STOCK_MIN, STOCK_PER_UNIT, category_of};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Digits at the beginning of every stock code of goods; at most two letters follow.
const CODE_DIGITS: usize = 5;
const CODE_LETTERS_MAX: usize = 2;

pub(crate) fn clean(read: Lines) -> Dataset {
    let lines = read.readable;
    let mut report = facts(&lines);
    report.lines = lines.len() + read.malformed.len();
    if !read.malformed.is_empty() {
        report.set_aside.insert(SetAside::Malformed, read.malformed.len());
    }
    report.malformed = read.malformed.into_iter().take(MALFORMED_SHOWN).collect();

    let mut products = products(&lines, &mut report);
    let customers = customers(&lines);
    let orders = orders(&lines, &products, &mut report);
    let mut ordered: HashMap<&str, i64> = HashMap::new();
    for line in orders.iter().flat_map(|order| &order.lines) {
        *ordered.entry(line.product_id.as_str()).or_default() += line.quantity;
    }
    for product in products.values_mut() {
        let units = ordered.get(product.id.as_str()).copied().unwrap_or(0);
        product.stock = (units * STOCK_PER_UNIT).max(STOCK_MIN);
    }

    report.products = products.len();
    report.customers = customers.len();
    report.orders = orders.len();
    report.order_lines = orders.iter().map(|order| order.lines.len()).sum();
    report.units = ordered.values().sum();
    Dataset {
        products: products.into_values().collect(),
        customers: customers.into_values().collect(),
        orders,
        report,
    }
}

/// Counts what can be counted line by line.
fn facts(lines: &[Line]) -> Report {
    let invoices: BTreeSet<&str> = lines.iter().map(|line| line.invoice.as_str()).collect();
    let codes: BTreeSet<&str> = lines.iter().map(|line| line.stock_code.as_str()).collect();
    let merged: BTreeSet<String> = codes.iter().map(|code| code.to_uppercase()).collect();
    let count = |test: fn(&Line) -> bool| lines.iter().filter(|line| test(line)).count();
    let mut not_goods = BTreeMap::new();
    for line in lines.iter().filter(|line| !is_goods(&line.stock_code)) {
        *not_goods.entry(line.stock_code.clone()).or_default() += 1;
    }
    Report {
        invoices: invoices.len(),
        invoices_cancelled: invoices.iter().filter(|invoice| is_cancellation(invoice)).count(),
        stock_codes: codes.len(),
        stock_codes_merged: codes.len() - merged.len(),
        not_goods,
        lines_without_customer: count(|line| line.customer_id.is_none()),
        lines_price_zero: count(|line| line.price_pence == 0),
        lines_price_negative: count(|line| line.price_pence < 0),
        lines_without_description: count(|line| line.description.is_empty()),
        ..Report::default()
    }
}

/// What the lines say about one product.
#[derive(Default)]
struct Evidence<'a> {
    names: BTreeMap<&'a str, usize>,
    prices_pence: Vec<i64>,
}

fn products(lines: &[Line], report: &mut Report) -> BTreeMap<String, Product> {
    let mut evidence: BTreeMap<String, Evidence<'_>> = BTreeMap::new();
    for line in lines.iter().filter(|line| is_goods(&line.stock_code)) {
        let found = evidence.entry(product_id(line)).or_default();
        if !line.description.is_empty() {
            *found.names.entry(&line.description).or_default() += 1;
        }
        if line.price_pence > 0 && line.quantity > 0 && !is_cancellation(&line.invoice) {
            found.prices_pence.push(line.price_pence);
        }
    }
    let mut products = BTreeMap::new();
    for (id, mut found) in evidence {
        if found.names.len() > 1 {
            report.descriptions_conflicting.push(id.clone());
        }
        match (best_name(&found.names), median(&mut found.prices_pence)) {
            (Some(name), Some(price_pence)) => {
                let (name, category) = (name.to_owned(), category_of(name));
                products.insert(id.clone(), Product { id, name, category, price_pence, stock: 0 });
            }
            _ => report.stock_codes_unsellable.push(id),
        }
    }
    products
}

/// Takes the name that most lines use; of equals the longer, then the first by alphabet. A text without a capital letter
/// is a note of the warehouse (`amazon`, `damaged`) and no name.
fn best_name<'a>(names: &BTreeMap<&'a str, usize>) -> Option<&'a str> {
    let real = names.iter().filter(|(name, _)| name.chars().any(char::is_uppercase));
    // The map is sorted, and of equals `max_by_key` takes the last: reversed, the first by alphabet.
    real.rev().max_by_key(|(name, lines)| (**lines, name.len())).map(|(name, _)| *name)
}

/// Returns the middle value, of an even number of values the lower middle one.
fn median(values: &mut [i64]) -> Option<i64> {
    values.sort_unstable();
    values.len().checked_sub(1).map(|last| values[last / 2])
}

/// Takes everybody with a number, also those whose every line is set aside, with the country of their first line.
fn customers(lines: &[Line]) -> BTreeMap<String, Customer> {
    let mut customers = BTreeMap::new();
    for line in lines {
        if let Some(id) = &line.customer_id {
            let customer = || Customer { id: id.clone(), country: line.country.clone() };
            customers.entry(id.clone()).or_insert_with(customer);
        }
    }
    customers
}

fn orders(lines: &[Line], products: &BTreeMap<String, Product>, report: &mut Report) -> Vec<Order> {
    let mut orders: Vec<Order> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for line in lines {
        let (customer_id, product_id) = match order_line(line, products) {
            Ok(found) => found,
            Err(reason) => {
                *report.set_aside.entry(reason).or_default() += 1;
                continue;
            }
        };
        report.lines_ordered += 1;
        let place = *places.entry((&line.invoice, customer_id)).or_insert_with(|| {
            orders.push(Order {
                invoice: line.invoice.clone(),
                customer_id: customer_id.to_owned(),
                placed_at: line.placed_at.clone(),
                lines: Vec::new(),
            });
            orders.len() - 1
        });
        let order_lines = &mut orders[place].lines;
        match order_lines.iter_mut().find(|known| known.product_id == product_id) {
            Some(known) => known.quantity += line.quantity,
            None => order_lines.push(OrderLine { product_id, quantity: line.quantity }),
        }
    }
    orders
}

/// Returns the customer and the product of a line that belongs into an order, or why it does not.
fn order_line<'a>(
    line: &'a Line,
    products: &BTreeMap<String, Product>,
) -> Result<(&'a str, String), SetAside> {
    if is_cancellation(&line.invoice) {
        return Err(SetAside::Cancellation);
    }
    if !is_goods(&line.stock_code) {
        return Err(SetAside::NotGoods);
    }
    if line.quantity <= 0 {
        return Err(SetAside::QuantityNotPositive);
    }
    if line.price_pence <= 0 {
        return Err(SetAside::PriceNotPositive);
    }
    let customer_id = line.customer_id.as_deref().ok_or(SetAside::WithoutCustomer)?;
    let id = product_id(line);
    // The line itself shows a price, so what a missing product lacks is a name.
    if products.contains_key(&id) { Ok((customer_id, id)) } else { Err(SetAside::ProductWithoutName) }
}

fn is_cancellation(invoice: &str) -> bool {
    invoice.starts_with('C')
}

/// Tells goods (`22423`, `85123A`, `15056bl`) from the rest (`POST`, `D`, `M`, `C2`, `BANK CHARGES`).
fn is_goods(stock_code: &str) -> bool {
    let Some((digits, letters)) = stock_code.split_at_checked(CODE_DIGITS) else { return false };
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && letters.len() <= CODE_LETTERS_MAX
        && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn product_id(line: &Line) -> String {
    line.stock_code.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goods_are_told_from_fees() {
        for (code, expected) in [
            ("22423", true),
            ("85123A", true),
            ("15056bl", true),
            ("POST", false),
            ("D", false),
            ("C2", false),
            ("BANK CHARGES", false),
            ("22423ABC", false),
            ("2242", false),
            ("gift_0001_20", false),
        ] {
            assert_eq!(is_goods(code), expected, "{code}");
        }
    }

    #[test]
    fn the_median_is_a_price_that_was_asked() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [7]), Some(7));
        assert_eq!(median(&mut [9, 1]), Some(1));
        assert_eq!(median(&mut [9, 1, 5]), Some(5));
        assert_eq!(median(&mut [9, 1, 5, 7]), Some(5));
    }

    #[test]
    fn the_best_name_is_the_one_that_most_lines_use_and_never_a_note() {
        let best = |names: &[(&'static str, usize)]| best_name(&names.iter().copied().collect());
        assert_eq!(best(&[("amazon", 9), ("TEA SET", 1)]), Some("TEA SET"));
        assert_eq!(best(&[("TEA SET", 1), ("TEA SET, RED", 1)]), Some("TEA SET, RED"));
        assert_eq!(best(&[("CUP B", 2), ("CUP A", 2)]), Some("CUP A"));
        assert_eq!(best(&[("damaged", 3)]), None);
    }
}
