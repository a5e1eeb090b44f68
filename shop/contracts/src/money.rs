//! Exact arithmetic of money: no floats, no silent overflow, no mixed currencies.

use crate::types::v1::{Item, LineItem, Money};
use banyan_core::{Code, Error, Reason, Result};
use std::fmt;

/// The currency the shop trades in.
pub const GBP: &str = "GBP";

/// The amount is too large to be represented, or two currencies were mixed.
pub const MONEY_NOT_REPRESENTABLE: Reason = Reason::new("MONEY_NOT_REPRESENTABLE");

impl Money {
    /// Makes an amount of `pence`.
    pub fn gbp(pence: i64) -> Self {
        Self { currency_code: GBP.to_owned(), minor_units: pence }
    }

    /// Adds two amounts of one currency.
    ///
    /// # Errors
    /// `MONEY_NOT_REPRESENTABLE` if the currencies differ or the sum is beyond 64 bits.
    pub fn checked_add(&self, other: &Money) -> Result<Money> {
        let sum = self.same_currency(other)?.minor_units.checked_add(other.minor_units);
        self.amount(sum)
    }

    /// Subtracts `other`; the result may be below zero.
    ///
    /// # Errors
    /// `MONEY_NOT_REPRESENTABLE` if the currencies differ or the difference is beyond 64 bits.
    pub fn checked_sub(&self, other: &Money) -> Result<Money> {
        let difference = self.same_currency(other)?.minor_units.checked_sub(other.minor_units);
        self.amount(difference)
    }

    /// Multiplies the amount, for example a unit price by a quantity.
    ///
    /// # Errors
    /// `MONEY_NOT_REPRESENTABLE` if the product is beyond 64 bits.
    pub fn checked_mul(&self, factor: i64) -> Result<Money> {
        self.amount(self.minor_units.checked_mul(factor))
    }

    /// Adds up any number of amounts in GBP; of none, zero.
    ///
    /// # Errors
    /// As [`Money::checked_add`].
    pub fn total<'a>(amounts: impl IntoIterator<Item = &'a Money>) -> Result<Money> {
        amounts.into_iter().try_fold(Money::gbp(0), |sum, amount| sum.checked_add(amount))
    }

    fn same_currency(&self, other: &Money) -> Result<&Self> {
        if self.currency_code == other.currency_code {
            Ok(self)
        } else {
            Err(not_representable(format!(
                "{} and {} do not add up",
                self.currency_code, other.currency_code
            )))
        }
    }

    fn amount(&self, minor_units: Option<i64>) -> Result<Money> {
        let minor_units =
            minor_units.ok_or_else(|| not_representable("the amount is too large".to_owned()))?;
        Ok(Money { currency_code: self.currency_code.clone(), minor_units })
    }
}

impl fmt::Display for Money {
    /// Writes `12.34 GBP`: the shop's currency has two decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor_units < 0 { "-" } else { "" };
        let minor = self.minor_units.unsigned_abs();
        write!(f, "{sign}{}.{:02} {}", minor / 100, minor % 100, self.currency_code)
    }
}

impl LineItem {
    /// Prices `quantity` pieces of a product.
    ///
    /// # Errors
    /// `MONEY_NOT_REPRESENTABLE` if the total is beyond 64 bits.
    pub fn priced(product_id: String, name: String, quantity: i32, unit_price: Money) -> Result<LineItem> {
        let total = unit_price.checked_mul(quantity.into())?;
        Ok(LineItem { product_id, name, quantity, unit_price: Some(unit_price), total: Some(total) })
    }

    /// Returns what and how much it is, without the price.
    pub fn item(&self) -> Item {
        Item { product_id: self.product_id.clone(), quantity: self.quantity }
    }
}

fn not_representable(message: String) -> Error {
    Error::new(Code::OutOfRange, MONEY_NOT_REPRESENTABLE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_one_currency_add_up() {
        let sum = Money::total([&Money::gbp(1_05), &Money::gbp(2_95), &Money::gbp(-1_00)]).unwrap();
        assert_eq!(sum, Money::gbp(3_00));
        assert_eq!(Money::gbp(2_55).checked_mul(6).unwrap(), Money::gbp(15_30));
        assert_eq!(Money::gbp(1).checked_sub(&Money::gbp(3)).unwrap(), Money::gbp(-2));
    }

    #[test]
    fn what_cannot_be_represented_is_an_error() {
        let euro = Money { currency_code: "EUR".to_owned(), minor_units: 1 };
        for outcome in [
            Money::gbp(1).checked_add(&euro),
            Money::gbp(i64::MAX).checked_add(&Money::gbp(1)),
            Money::gbp(i64::MIN).checked_sub(&Money::gbp(1)),
            Money::gbp(i64::MAX / 2).checked_mul(3),
        ] {
            assert!(outcome.unwrap_err().is(MONEY_NOT_REPRESENTABLE));
        }
    }

    #[test]
    fn money_reads_as_people_write_it() {
        assert_eq!(Money::gbp(123_405).to_string(), "1234.05 GBP");
        assert_eq!(Money::gbp(-5).to_string(), "-0.05 GBP");
        assert_eq!(Money::gbp(i64::MIN).to_string(), "-92233720368547758.08 GBP");
    }

    #[test]
    fn a_line_costs_its_price_times_its_quantity() {
        let line = LineItem::priced("85123A".into(), "HEART HOLDER".into(), 6, Money::gbp(2_55)).unwrap();
        assert_eq!(line.total, Some(Money::gbp(15_30)));
        assert_eq!(line.item(), Item { product_id: "85123A".into(), quantity: 6 });
    }
}
