//! What may be sold and what may be asked: pure checks, no I/O.

use crate::words;
use banyan::core::FieldViolation;
use banyan::prelude::*;
use shop_contracts::catalog::v1::{Product, SearchProductsRequest};
use shop_contracts::checks::{check_product_id, check_text, of_entry};
use shop_contracts::money::GBP;
use shop_contracts::paging::Page;
use shop_contracts::time::timestamp;
use shop_contracts::types::v1::Money;

/// Characters of a product's name, and of a query.
const NAME_MAX: usize = 200;
/// Characters of a category's name.
const CATEGORY_MAX: usize = 60;
/// The highest price of one piece, in pence: the dearest possible order still fits into 64 bits.
const PRICE_MINOR_MAX: i64 = 1_000_000_000;
/// Different words of a query, the last one not counted.
pub(crate) const QUERY_WORDS_MAX: usize = 11;
/// Categories the shop may have.
pub(crate) const CATEGORIES_MAX: u64 = 1_000;

/// The shop has as many categories as it may have.
pub(crate) const CATEGORIES_FULL: Reason = Reason::new("CATEGORIES_FULL");

/// A checked product.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listing {
    pub(crate) product_id: String,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) price_minor: i64,
}

impl Listing {
    /// Checks the `product` of a request.
    pub(crate) fn new(product: Option<Product>) -> Result<Self> {
        let Product { product_id, name, category, price, updated_at: _ } =
            product.ok_or_else(|| Error::invalid("product", "is required"))?;
        check_product_id("product.product_id", &product_id)?;
        if name.trim().is_empty() {
            return Err(Error::invalid("product.name", "is required"));
        }
        check_text("product.name", &name, NAME_MAX)?;
        check_text("product.category", &category, CATEGORY_MAX)?;
        let price = price.ok_or_else(|| Error::invalid("product.price", "is required"))?;
        if price.currency_code != GBP {
            return Err(Error::invalid("product.price.currency_code", format!("must be {GBP}")));
        }
        if !(1..=PRICE_MINOR_MAX).contains(&price.minor_units) {
            let message = format!("must be 1 to {PRICE_MINOR_MAX}");
            return Err(Error::invalid("product.price.minor_units", message));
        }
        Ok(Self { product_id, name, category, price_minor: price.minor_units })
    }

    /// Checks the product number `index` of an import; what is wrong with it is said of `[index].field`.
    pub(crate) fn imported(index: usize, product: Option<Product>) -> Result<Self> {
        Self::new(product).map_err(|error| of_entry(index, error))
    }

    pub(crate) fn view(self, updated_ms: u64) -> Product {
        Product {
            product_id: self.product_id,
            name: self.name,
            category: self.category,
            price: Some(Money::gbp(self.price_minor)),
            updated_at: Some(timestamp(updated_ms)),
        }
    }
}

/// A checked search.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Search {
    /// Words that a name must have; at most [`QUERY_WORDS_MAX`], each once.
    pub(crate) words: Vec<String>,
    /// What one of its words must begin with; empty for a search without words.
    pub(crate) prefix: String,
    pub(crate) category: String,
    pub(crate) price_minor_min: i64,
    pub(crate) price_minor_max: i64,
    /// Its tokens are ids of products.
    pub(crate) page: Page,
}

impl TryFrom<SearchProductsRequest> for Search {
    type Error = Error;

    fn try_from(req: SearchProductsRequest) -> Result<Self> {
        let (words, prefix) = query(&req.query)?;
        check_text("category", &req.category, CATEGORY_MAX)?;
        let price_minor_min = req.min_price_minor.unwrap_or(0);
        let price_minor_max = req.max_price_minor.unwrap_or(i64::MAX);
        if price_minor_min < 0 {
            return Err(Error::invalid("min_price_minor", "must not be below 0"));
        }
        if price_minor_max < price_minor_min {
            return Err(Error::invalid("max_price_minor", "must not be below 0 or min_price_minor"));
        }
        let is_id = |token: &str| check_product_id("page_token", token).is_ok();
        let page = Page::with_tokens(req.page_size, req.page_token, is_id)?;
        Ok(Self { words, prefix, category: req.category, price_minor_min, price_minor_max, page })
    }
}

/// Splits a query into its whole words and the beginning of one that ends it.
fn query(text: &str) -> Result<(Vec<String>, String)> {
    if text.chars().count() > NAME_MAX {
        return Err(Error::invalid("query", format!("must have at most {NAME_MAX} characters")));
    }
    let mut words: Vec<String> = words::in_order(text).collect();
    let Some(prefix) = words.pop() else {
        return match text.trim().is_empty() {
            true => Ok((Vec::new(), String::new())),
            false => Err(Error::invalid("query", "must have a letter or a digit")),
        };
    };
    words.sort_unstable();
    words.dedup();
    if words.len() > QUERY_WORDS_MAX {
        return Err(Error::invalid("query", format!("must have at most {} words", QUERY_WORDS_MAX + 1)));
    }
    Ok((words, prefix))
}

/// Says that the item number `index` is not sold.
pub(crate) fn not_sold(index: usize, product_id: &str) -> Error {
    let field = format!("items[{index}].product_id");
    let description = format!("there is no product {product_id:?}");
    Error::new(Code::NotFound, Reason::NOT_FOUND, format!("{field}: {description}"))
        .with_violation(FieldViolation { field, description })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shop_contracts::checks::{ITEMS_MAX, QUANTITY_MAX};

    fn product() -> Product {
        Product {
            product_id: "85123A".into(),
            name: "WHITE HANGING HEART T-LIGHT HOLDER".into(),
            category: "Candles & Lights".into(),
            price: Some(Money::gbp(255)),
            updated_at: None,
        }
    }

    fn field<T: std::fmt::Debug>(outcome: Result<T>) -> String {
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        error.violations()[0].field.clone()
    }

    #[test]
    fn a_product_comes_through_unchanged() {
        let viewed = Listing::new(Some(product())).unwrap().view(1_500);
        assert_eq!(viewed, Product { updated_at: Some(timestamp(1_500)), ..product() });
        assert!(Listing::new(Some(Product { category: String::new(), ..product() })).is_ok());
    }

    #[test]
    fn a_bad_product_names_its_field() {
        let euro = Money { currency_code: "EUR".into(), minor_units: 1 };
        for (name, bad) in [
            ("product.product_id", Product { product_id: String::new(), ..product() }),
            ("product.product_id", Product { product_id: "85123 A".into(), ..product() }),
            ("product.product_id", Product { product_id: "x".repeat(41), ..product() }),
            ("product.name", Product { name: "  ".into(), ..product() }),
            ("product.name", Product { name: "x".repeat(201), ..product() }),
            ("product.name", Product { name: "a\0b".into(), ..product() }),
            ("product.category", Product { category: "x".repeat(61), ..product() }),
            ("product.price", Product { price: None, ..product() }),
            ("product.price.currency_code", Product { price: Some(euro), ..product() }),
            ("product.price.minor_units", Product { price: Some(Money::gbp(0)), ..product() }),
            ("product.price.minor_units", Product { price: Some(Money::gbp(i64::MAX)), ..product() }),
        ] {
            assert_eq!(field(Listing::new(Some(bad.clone()))), name);
            assert_eq!(field(Listing::imported(7, Some(bad))), format!("[7].{name}"));
        }
        assert_eq!(field(Listing::new(None)), "product");
    }

    #[test]
    fn the_dearest_order_can_be_counted() {
        let line = Money::gbp(PRICE_MINOR_MAX).checked_mul(QUANTITY_MAX.into()).unwrap();
        assert!(line.checked_mul(ITEMS_MAX as i64).is_ok());
    }

    #[test]
    fn the_last_word_of_a_query_is_a_beginning() {
        let parts = |text: &str| query(text).unwrap();
        assert_eq!(parts("Hanging white hea"), (vec!["hanging".into(), "white".into()], "hea".into()));
        assert_eq!(parts("red RED re"), (vec!["red".into()], "re".into()));
        assert_eq!(parts("t-light "), (vec!["t".into()], "light".into()));
        assert_eq!(parts("  "), (vec![], String::new()));
    }

    #[test]
    fn a_bad_search_names_its_field() {
        let good = SearchProductsRequest::default();
        let many = (0..QUERY_WORDS_MAX + 2).map(|n| format!("w{n} ")).collect::<String>();
        for (name, bad) in [
            ("query", SearchProductsRequest { query: "x".repeat(201), ..good.clone() }),
            ("query", SearchProductsRequest { query: "!?".into(), ..good.clone() }),
            ("query", SearchProductsRequest { query: many, ..good.clone() }),
            ("category", SearchProductsRequest { category: "x".repeat(61), ..good.clone() }),
            ("min_price_minor", SearchProductsRequest { min_price_minor: Some(-1), ..good.clone() }),
            ("max_price_minor", SearchProductsRequest { max_price_minor: Some(-1), ..good.clone() }),
            (
                "max_price_minor",
                SearchProductsRequest { min_price_minor: Some(2), max_price_minor: Some(1), ..good.clone() },
            ),
            ("page_size", SearchProductsRequest { page_size: -1, ..good.clone() }),
            ("page_size", SearchProductsRequest { page_size: 101, ..good.clone() }),
            ("page_token", SearchProductsRequest { page_token: "' OR 1=1".into(), ..good.clone() }),
        ] {
            assert_eq!(field(Search::try_from(bad)), name);
        }
        assert_eq!(Search::try_from(good).unwrap().page.limit(), 21);
    }

    #[test]
    fn what_is_not_sold_is_named_by_its_number() {
        let error = not_sold(3, "nope");
        assert_eq!(
            (error.code(), error.violations()[0].field.as_str()),
            (Code::NotFound, "items[3].product_id")
        );
    }
}
