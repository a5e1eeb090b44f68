//! What may be sold and what may be asked: pure checks, no I/O.

use crate::words;
use banyan::core::FieldViolation;
use banyan::prelude::*;
use shop_contracts::catalog::v1::{Product, SearchProductsRequest};
use shop_contracts::money::GBP;
use shop_contracts::time::timestamp;
use shop_contracts::types::v1::{Item, Money};

/// Characters of a product's id.
const PRODUCT_ID_MAX: usize = 40;
/// Characters of a product's name, and of a query.
const NAME_MAX: usize = 200;
/// Characters of a category's name.
const CATEGORY_MAX: usize = 60;
/// The highest price of one piece, in pence: the dearest possible order still fits into 64 bits.
const PRICE_MINOR_MAX: i64 = 1_000_000_000;
/// Items that are priced together.
const ITEMS_MAX: usize = 500;
/// Pieces of one item.
const QUANTITY_MAX: i32 = 100_000;
/// Products on a page unless the request says otherwise.
const PAGE_DEFAULT: i32 = 20;
/// Products on a page at most.
const PAGE_MAX: i32 = 100;
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
        Self::new(product).map_err(|error| match error.violations() {
            [first, ..] => Error::invalid(format!("[{index}].{}", first.field), first.description.clone()),
            [] => error,
        })
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
    /// Products on the page: 1 to 100.
    pub(crate) page_size: usize,
    /// The product behind which the page starts.
    pub(crate) after: String,
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
        let page_size = match req.page_size {
            0 => PAGE_DEFAULT,
            1..=PAGE_MAX => req.page_size,
            _ => return Err(Error::invalid("page_size", format!("must be 0 to {PAGE_MAX}"))),
        };
        if !req.page_token.is_empty() {
            check_product_id("page_token", &req.page_token)
                .map_err(|_| Error::invalid("page_token", "must be next_page_token of a previous page"))?;
        }
        Ok(Self {
            words,
            prefix,
            category: req.category,
            price_minor_min,
            price_minor_max,
            page_size: page_size as usize,
            after: req.page_token,
        })
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

/// Checks what is to be priced.
pub(crate) fn check_items(items: &[Item]) -> Result<()> {
    if items.is_empty() || items.len() > ITEMS_MAX {
        return Err(Error::invalid("items", format!("must be 1 to {ITEMS_MAX} items")));
    }
    for (i, item) in items.iter().enumerate() {
        check_product_id(&format!("items[{i}].product_id"), &item.product_id)?;
        if !(1..=QUANTITY_MAX).contains(&item.quantity) {
            return Err(Error::invalid(
                format!("items[{i}].quantity"),
                format!("must be 1 to {QUANTITY_MAX}"),
            ));
        }
    }
    Ok(())
}

/// Says that the item number `index` is not sold.
pub(crate) fn not_sold(index: usize, product_id: &str) -> Error {
    let field = format!("items[{index}].product_id");
    let description = format!("there is no product {product_id:?}");
    Error::new(Code::NotFound, Reason::NOT_FOUND, format!("{field}: {description}"))
        .with_violation(FieldViolation { field, description })
}

/// Checks the id of a product: 1 to 40 letters, digits, `-`, `_`, `.`.
pub(crate) fn check_product_id(field: &str, id: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match (1..=PRODUCT_ID_MAX).contains(&id.len()) && id.bytes().all(allowed) {
        true => Ok(()),
        false => Err(Error::invalid(
            field,
            format!("must be 1 to {PRODUCT_ID_MAX} letters, digits, '-', '_' or '.'"),
        )),
    }
}

fn check_text(field: &str, value: &str, chars_max: usize) -> Result<()> {
    if value.chars().count() > chars_max {
        return Err(Error::invalid(field, format!("must have at most {chars_max} characters")));
    }
    // Not every engine keeps a NUL in a text.
    match value.chars().any(char::is_control) {
        true => Err(Error::invalid(field, "must not have control characters")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product() -> Product {
        Product {
            product_id: "85123A".into(),
            name: "WHITE HANGING HEART T-LIGHT HOLDER".into(),
            category: "Candles & Lights".into(),
            price: Some(Money::gbp(255)),
            updated_at: None,
        }
    }

    fn item(product_id: &str, quantity: i32) -> Item {
        Item { product_id: product_id.into(), quantity }
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
        assert_eq!(Search::try_from(good).unwrap().page_size, 20);
    }

    #[test]
    fn bad_items_are_named_by_their_number() {
        assert!(check_items(&[item("85123A", 1), item("85123A", 100_000)]).is_ok());
        assert_eq!(field(check_items(&[])), "items");
        assert_eq!(field(check_items(&vec![item("a", 1); 501])), "items");
        assert_eq!(field(check_items(&[item("a", 1), item("", 1)])), "items[1].product_id");
        assert_eq!(field(check_items(&[item("a", 0)])), "items[0].quantity");
        assert_eq!(field(check_items(&[item("a", 100_001)])), "items[0].quantity");
        let error = not_sold(3, "nope");
        assert_eq!(
            (error.code(), error.violations()[0].field.as_str()),
            (Code::NotFound, "items[3].product_id")
        );
    }
}
