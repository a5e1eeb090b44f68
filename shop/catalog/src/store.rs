//! The catalog store: one row a product, and one for each different word of its name.

use crate::domain::{CATEGORIES_FULL, CATEGORIES_MAX, Listing, QUERY_WORDS_MAX, Search, not_sold};
use crate::words;
use banyan::prelude::*;
use shop_contracts::catalog::v1::{Category, Product, ProductChanged};
use shop_contracts::types::v1::{Item, LineItem, Money};

/// Texts are compared by their bytes (on PostgreSQL: in a database of collation `C`).
pub(crate) const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "products and their words",
    Statement::new(
        "CREATE TABLE products (
            product_id VARCHAR(255) PRIMARY KEY,
            name TEXT NOT NULL,
            category VARCHAR(255) NOT NULL,
            price_minor BIGINT NOT NULL CHECK (price_minor > 0),
            updated_ms BIGINT NOT NULL
          );
          CREATE INDEX products_by_category ON products (category, product_id);
          CREATE TABLE product_words (
            word VARCHAR(255) NOT NULL,
            product_id VARCHAR(255) NOT NULL,
            PRIMARY KEY (word, product_id)
          );",
    ),
)];

statements! {
    pub(crate) STATEMENTS;
    WRITE = "INSERT INTO products (product_id, name, category, price_minor, updated_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (product_id) DO UPDATE SET name = $2, category = $3, price_minor = $4, updated_ms = $5",
        mysql "INSERT INTO products (product_id, name, category, price_minor, updated_ms) VALUES ($1, $2, $3, $4, $5)
         ON DUPLICATE KEY UPDATE name = $2, category = $3, price_minor = $4, updated_ms = $5";
    CATEGORIES = "SELECT category, count(*) AS products FROM products WHERE category <> ''
         GROUP BY category ORDER BY category LIMIT $1";
    DELETE_WORD = "DELETE FROM product_words WHERE word = $1 AND product_id = $2";
    ADD_WORD = "INSERT INTO product_words (word, product_id) VALUES ($1, $2)";
    CATEGORY_EXISTS = "SELECT 1 AS n FROM products WHERE category = $1 LIMIT 1";
    COUNT_CATEGORIES = "SELECT count(DISTINCT category) AS n FROM products WHERE category <> ''";
    FIND = "SELECT product_id, name, category, price_minor, updated_ms FROM products WHERE product_id = $1";
    ALL = "SELECT product_id, name, category, price_minor, updated_ms FROM products
     WHERE product_id > $1 AND price_minor BETWEEN $2 AND $3
     ORDER BY product_id LIMIT $4";
    IN_CATEGORY = "SELECT product_id, name, category, price_minor, updated_ms FROM products
     WHERE category = $5 AND product_id > $1 AND price_minor BETWEEN $2 AND $3
     ORDER BY product_id LIMIT $4";
    // As many placeholders for whole words as QUERY_WORDS_MAX. A word occurs once per product, so that as many rows as words
    // means that all of them occur.
    WITH_WORDS = "SELECT product_id, name, category, price_minor, updated_ms FROM products
     WHERE product_id IN (SELECT product_id FROM product_words WHERE word BETWEEN $6 AND $7)
       AND ($8 = 0 OR product_id IN (
             SELECT product_id FROM product_words
             WHERE word IN ($9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
             GROUP BY product_id HAVING count(*) = $8))
       AND product_id > $1 AND price_minor BETWEEN $2 AND $3 AND ($5 = '' OR category = $5)
     ORDER BY product_id LIMIT $4";
}

/// Creates or replaces a product, and announces it if it is not the same as before.
///
/// # Errors
/// `CATEGORIES_FULL`.
pub(crate) fn put(tx: &mut Tx<'_>, listing: Listing) -> Result<Product> {
    let before = find(tx, &listing.product_id)?.map(|(before, _)| before);
    if before.as_ref().is_none_or(|b| b.category != listing.category) {
        check_category(tx, &listing.category)?;
    }
    let now_ms = tx.now_ms();
    tx.execute(
        WRITE,
        params![&listing.product_id, &listing.name, &listing.category, listing.price_minor, now_ms],
    )?;
    let changed = before.as_ref() != Some(&listing);
    index(tx, &listing.product_id, before.as_ref().map_or("", |b| &b.name), &listing.name)?;
    let product = listing.view(now_ms);
    if changed {
        tx.publish(&ProductChanged {
            product_id: product.product_id.clone(),
            product: Some(product.clone()),
        })?;
    }
    Ok(product)
}

/// Returns a product; `None` if it is not sold.
pub(crate) fn get(q: &mut impl Query, product_id: &str) -> Result<Option<Product>> {
    Ok(find(q, product_id)?.map(|(listing, updated_ms)| listing.view(updated_ms)))
}

/// Prices every item.
///
/// # Errors
/// [`Code::NotFound`], naming the first item that is not sold.
pub(crate) fn price(q: &mut impl Query, items: Vec<Item>) -> Result<Vec<LineItem>> {
    let line = |(i, Item { product_id, quantity }): (usize, Item)| {
        let (listing, _) = find(q, &product_id)?.ok_or_else(|| not_sold(i, &product_id))?;
        LineItem::priced(product_id, listing.name, quantity, Money::gbp(listing.price_minor))
    };
    items.into_iter().enumerate().map(line).collect()
}

/// Returns the products on the page of a search, and one more if there is a further page.
pub(crate) fn search(q: &mut impl Query, search: &Search) -> Result<Vec<Product>> {
    let (after, limit) = (search.page.token(), search.page.limit());
    let Search { category, price_minor_min: min, price_minor_max: max, prefix, words, .. } = search;
    let view = |row: &Row<'_>| read(row).map(|(listing, updated_ms)| listing.view(updated_ms));
    if prefix.is_empty() {
        return match category.is_empty() {
            true => q.query(ALL, params![after, *min, *max, limit], view),
            false => q.query(IN_CATEGORY, params![after, *min, *max, limit, category], view),
        };
    }
    let mut values = params![after, *min, *max, limit, category, prefix, words::last_with(prefix)].to_vec();
    values.push(words.len().into());
    // The empty text is nobody's word.
    values.extend((0..QUERY_WORDS_MAX).map(|i| Value::from(words.get(i).map_or("", |w| w.as_str()))));
    q.query(WITH_WORDS, &values, view)
}

/// Returns the categories that have products, by name.
pub(crate) fn categories(q: &mut impl Query) -> Result<Vec<Category>> {
    q.query(CATEGORIES, params![CATEGORIES_MAX], |row| {
        Ok(Category { name: row.get("category")?, products: row.get("products")? })
    })
}

/// Writes the words of a product's new name and removes those that only the old one had.
fn index(tx: &mut Tx<'_>, product_id: &str, old: &str, new: &str) -> Result<()> {
    if old == new {
        return Ok(());
    }
    let (old, new) = (words::set(old), words::set(new));
    for word in old.difference(&new) {
        tx.execute(DELETE_WORD, params![word, product_id])?;
    }
    for word in new.difference(&old) {
        tx.execute(ADD_WORD, params![word, product_id])?;
    }
    Ok(())
}

/// Checks that one more product may be in `category`.
fn check_category(tx: &mut Tx<'_>, category: &str) -> Result<()> {
    let number = |row: &Row<'_>| row.get::<u64>("n");
    let known = CATEGORY_EXISTS;
    if category.is_empty() || tx.query_opt(known, params![category], number)?.is_some() {
        return Ok(());
    }
    let count = COUNT_CATEGORIES;
    match tx.query_one(count, params![], number)? < CATEGORIES_MAX {
        true => Ok(()),
        false => {
            let message = format!("the shop has {CATEGORIES_MAX} categories; {category:?} would be one more");
            Err(Error::failed_precondition(CATEGORIES_FULL, message))
        }
    }
}

fn find(q: &mut impl Query, product_id: &str) -> Result<Option<(Listing, u64)>> {
    q.query_opt(FIND, params![product_id], read)
}

fn read(row: &Row<'_>) -> Result<(Listing, u64)> {
    let listing = Listing {
        product_id: row.get("product_id")?,
        name: row.get("name")?,
        category: row.get("category")?,
        price_minor: row.get("price_minor")?,
    };
    Ok((listing, row.get("updated_ms")?))
}
