//! What a cart is and how it may change: pure decisions, no I/O.

use banyan::prelude::*;
use shop_contracts::checks::ITEMS_MAX;
use shop_contracts::types::v1::Item;

/// There is nothing in the cart to be ordered.
pub(crate) const CART_EMPTY: Reason = Reason::new("CART_EMPTY");
/// The cart has as many products as it may have.
pub(crate) const CART_FULL: Reason = Reason::new("CART_FULL");
/// What is in the cart was ordered already, with another card or address.
pub(crate) const CART_ORDERED: Reason = Reason::new("CART_ORDERED");

/// The state of one cart, as the store keeps it. The default is the cart of somebody who never used it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CartRecord {
    /// Grows by one with every change; 0 for a cart that was never used.
    pub(crate) version: u64,
    pub(crate) updated_ms: u64,
    /// The key of the checkout that was the last change; empty if another change was.
    pub(crate) emptied_by: String,
    /// In the order in which they were first put.
    pub(crate) items: Vec<Item>,
}

impl CartRecord {
    /// Returns the key under which this version of the cart is ordered.
    ///
    /// The time is part of it so that a cart that was lost, and counts from the start again, does not come upon the
    /// keys of old orders.
    pub(crate) fn key(&self) -> String {
        format!("cart/{}/{}", self.version, self.updated_ms)
    }

    /// Returns the key of the checkout that emptied the cart, if that is less than `repeat_ms` ago.
    pub(crate) fn just_ordered(&self, now_ms: u64, repeat_ms: u64) -> Option<&str> {
        let recent = now_ms.saturating_sub(self.updated_ms) < repeat_ms;
        (recent && !self.emptied_by.is_empty()).then_some(&*self.emptied_by)
    }
}

/// A change of a cart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// This much of the product is in the cart from now on.
    Put(Item),
    /// None of the product is.
    Remove(String),
    /// Nothing is.
    Clear,
    /// Nothing is, if the cart still has this version: it was ordered under this key.
    Ordered { version: u64, key: String },
}

/// Decides whether `change` changes the cart.
///
/// # Errors
/// `CART_FULL`.
pub(crate) fn decide(cart: &CartRecord, change: &Change) -> Result<bool> {
    let in_cart = |id: &str| cart.items.iter().find(|item| item.product_id == id);
    match change {
        Change::Put(item) => match in_cart(&item.product_id) {
            Some(before) => Ok(before.quantity != item.quantity),
            None if cart.items.len() >= ITEMS_MAX => {
                let message = format!("a cart has at most {ITEMS_MAX} different products");
                Err(Error::failed_precondition(CART_FULL, message))
            }
            None => Ok(true),
        },
        Change::Remove(product_id) => Ok(in_cart(product_id).is_some()),
        Change::Clear => Ok(!cart.items.is_empty()),
        Change::Ordered { version, .. } => Ok(cart.version == *version && !cart.items.is_empty()),
    }
}

/// Says that there is nothing to order.
pub(crate) fn empty() -> Error {
    Error::failed_precondition(CART_EMPTY, "there is nothing in the cart")
}

/// Says that what is in the cart was ordered before.
pub(crate) fn ordered() -> Error {
    let message =
        "what was in the cart is ordered already, with another card or address: see the list of orders";
    Error::failed_precondition(CART_ORDERED, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(product_id: &str, quantity: i32) -> Item {
        Item { product_id: product_id.into(), quantity }
    }

    fn cart(items: Vec<Item>) -> CartRecord {
        CartRecord { version: 7, updated_ms: 1_000, emptied_by: String::new(), items }
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let one = cart(vec![item("a", 2)]);
        for (change, changes) in [
            (Change::Put(item("a", 2)), false),
            (Change::Put(item("a", 3)), true),
            (Change::Put(item("b", 2)), true),
            (Change::Remove("a".into()), true),
            (Change::Remove("b".into()), false),
            (Change::Clear, true),
            (Change::Ordered { version: 7, key: "k".into() }, true),
            (Change::Ordered { version: 6, key: "k".into() }, false),
        ] {
            assert_eq!(decide(&one, &change).unwrap(), changes, "{change:?}");
        }
        assert!(!decide(&cart(vec![]), &Change::Clear).unwrap());
    }

    #[test]
    fn a_full_cart_takes_no_other_product() {
        let full = cart((0..ITEMS_MAX).map(|n| item(&format!("p{n}"), 1)).collect());
        assert!(decide(&full, &Change::Put(item("another", 1))).unwrap_err().is(CART_FULL));
        assert!(decide(&full, &Change::Put(item("p3", 2))).unwrap());
        assert!(decide(&full, &Change::Remove("p3".into())).unwrap());
    }

    #[test]
    fn every_version_is_ordered_under_its_own_key() {
        let now = cart(vec![item("a", 1)]);
        assert_eq!(now.key(), now.clone().key());
        assert_ne!(now.key(), CartRecord { version: 8, ..now.clone() }.key());
        assert_ne!(now.key(), CartRecord { updated_ms: 1_001, ..now.clone() }.key());
    }

    #[test]
    fn a_checkout_is_a_repetition_for_a_while() {
        let emptied = CartRecord { emptied_by: "cart/6/900".into(), ..cart(vec![]) };
        assert_eq!(emptied.just_ordered(1_000, 500), Some("cart/6/900"));
        assert_eq!(emptied.just_ordered(1_499, 500), Some("cart/6/900"));
        assert_eq!(emptied.just_ordered(1_500, 500), None);
        assert_eq!(emptied.just_ordered(1_000, 0), None);
        assert_eq!(cart(vec![]).just_ordered(1_000, 500), None);
    }
}
