//! What every service refuses in the same way: texts, items and addresses that cannot be.

use crate::types::v1::{Address, Item};
use banyan_core::{Error, Result};
use std::collections::HashSet;

/// Characters of an id, a token or a field of an address.
pub const TEXT_CHARS_MAX: usize = 200;
/// Characters of a product's id.
pub const PRODUCT_ID_CHARS_MAX: usize = 40;
/// Items of an order, and so of all that follows from one.
pub const ITEMS_MAX: usize = 500;
/// Pieces of one item.
pub const QUANTITY_MAX: i32 = 100_000;

/// Checks a text that may be empty: at most `chars_max` characters, none of them a control character.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] naming `field`.
pub fn check_text(field: &str, value: &str, chars_max: usize) -> Result<()> {
    if value.chars().count() > chars_max {
        return Err(Error::invalid(field, format!("must have at most {chars_max} characters")));
    }
    // Not every engine keeps a NUL in a text, and an address is printed on a parcel.
    match value.chars().any(char::is_control) {
        true => Err(Error::invalid(field, "must not have control characters")),
        false => Ok(()),
    }
}

/// Checks an id, a token or a field of an address: a text of 1 to 200 characters that is not blank.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] naming `field`.
pub fn check_required(field: &str, value: &str) -> Result<()> {
    match value.trim().is_empty() {
        true => Err(Error::invalid(field, "is required")),
        false => check_text(field, value, TEXT_CHARS_MAX),
    }
}

/// Checks the id of a product: 1 to 40 letters, digits, `-`, `_`, `.`.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] naming `field`.
pub fn check_product_id(field: &str, id: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match (1..=PRODUCT_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(allowed) {
        true => Ok(()),
        false => {
            let max = PRODUCT_ID_CHARS_MAX;
            Err(Error::invalid(field, format!("must be 1 to {max} letters, digits, '-', '_' or '.'")))
        }
    }
}

/// Checks how many pieces are wanted: 1 to 100,000.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] naming `field`.
pub fn check_quantity(field: &str, quantity: i32) -> Result<()> {
    match (1..=QUANTITY_MAX).contains(&quantity) {
        true => Ok(()),
        false => Err(Error::invalid(field, format!("must be 1 to {QUANTITY_MAX}"))),
    }
}

/// Checks the field `items` of a request: 1 to 500 items, each of a product and a quantity that can be.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] naming the item's field.
pub fn check_items(items: &[Item]) -> Result<()> {
    if items.is_empty() || items.len() > ITEMS_MAX {
        return Err(Error::invalid("items", format!("must be 1 to {ITEMS_MAX} items")));
    }
    for (i, item) in items.iter().enumerate() {
        check_product_id(&format!("items[{i}].product_id"), &item.product_id)?;
        check_quantity(&format!("items[{i}].quantity"), item.quantity)?;
    }
    Ok(())
}

/// Checks the field `items` as [`check_items`], and that each product is in it once.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] naming the item's field.
pub fn check_distinct_items(items: &[Item]) -> Result<()> {
    check_items(items)?;
    let mut seen = HashSet::new();
    match items.iter().position(|item| !seen.insert(item.product_id.as_str())) {
        Some(i) => Err(Error::invalid(format!("items[{i}].product_id"), "is in the list twice")),
        None => Ok(()),
    }
}

/// Checks the field `shipping_address` of a request: all of its fields are required.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] naming the address's field.
pub fn check_shipping_address(address: Option<&Address>) -> Result<&Address> {
    let address = address.ok_or_else(|| Error::invalid("shipping_address", "is required"))?;
    for (field, value) in [
        ("name", &address.name),
        ("street", &address.street),
        ("city", &address.city),
        ("postal_code", &address.postal_code),
        ("country", &address.country),
    ] {
        check_required(&format!("shipping_address.{field}"), value)?;
    }
    Ok(address)
}

/// Says of the entry number `index` of an import what is wrong with it: of `[index].field`.
pub fn of_entry(index: usize, error: Error) -> Error {
    match error.violations() {
        [first, ..] => Error::invalid(format!("[{index}].{}", first.field), first.description.clone()),
        [] => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<T: std::fmt::Debug>(outcome: Result<T>) -> String {
        outcome.unwrap_err().violations()[0].field.clone()
    }

    fn item(product_id: &str, quantity: i32) -> Item {
        Item { product_id: product_id.into(), quantity }
    }

    fn address() -> Address {
        Address {
            name: "Ann".into(),
            street: "1 High Street".into(),
            city: "Málaga".into(),
            postal_code: "29001".into(),
            country: "Spain".into(),
        }
    }

    #[test]
    fn texts_are_bounded_and_printable() {
        assert!(check_text("t", &"é".repeat(200), 200).is_ok() && check_text("t", "", 0).is_ok());
        assert!(check_required("t", &"é".repeat(200)).is_ok());
        for bad in [&*"x".repeat(201), "a\nb", "a\0b", "\u{7f}"] {
            assert_eq!(field(check_text("t", bad, 200)), "t");
            assert_eq!(field(check_required("t", bad)), "t");
        }
        for blank in ["", " ", "\u{a0}\t"] {
            assert_eq!(field(check_required("t", blank)), "t");
        }
    }

    #[test]
    fn a_product_id_is_a_stock_code() {
        for good in ["85123A", "DCGS0076", "gift_0001.40-x", &"x".repeat(40)] {
            assert!(check_product_id("id", good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "é", "a/b", "' OR 1=1", &"x".repeat(41)] {
            assert_eq!(field(check_product_id("id", bad)), "id");
        }
    }

    #[test]
    fn bad_items_are_named_by_their_number() {
        assert!(check_items(&[item("85123A", 1), item("85123A", 100_000)]).is_ok());
        assert!(check_distinct_items(&[item("a", 1), item("A", 1)]).is_ok());
        for (items, bad) in [
            (vec![], "items"),
            (vec![item("a", 1); 501], "items"),
            (vec![item("a", 1), item("", 1)], "items[1].product_id"),
            (vec![item("a", 0)], "items[0].quantity"),
            (vec![item("a", -1)], "items[0].quantity"),
            (vec![item("a", 100_001)], "items[0].quantity"),
        ] {
            assert_eq!(field(check_items(&items)), bad);
            assert_eq!(field(check_distinct_items(&items)), bad);
        }
        assert_eq!(
            field(check_distinct_items(&[item("a", 1), item("b", 1), item("a", 2)])),
            "items[2].product_id"
        );
    }

    #[test]
    fn an_address_is_complete() {
        let good = address();
        assert_eq!(check_shipping_address(Some(&good)).unwrap(), &good);
        assert_eq!(field(check_shipping_address(None)), "shipping_address");
        let nowhere = Address { city: " ".into(), ..address() };
        assert_eq!(field(check_shipping_address(Some(&nowhere))), "shipping_address.city");
        let two_lines = Address { country: "Sp\nain".into(), ..address() };
        assert_eq!(field(check_shipping_address(Some(&two_lines))), "shipping_address.country");
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_said_of_its_number() {
        assert_eq!(of_entry(7, Error::invalid("name", "is required")).violations()[0].field, "[7].name");
        assert!(of_entry(7, Error::internal("x")).violations().is_empty());
    }
}
