//! Catalog knows what the shop sells and at what price.
//!
//! Contract: `shop/contracts/shop/catalog/v1/catalog.proto`. Owns the `catalog` store; nobody else reads it. Publishes
//! `ProductChanged` when a product is new or differs from what it was. Calls nobody.
//!
//! A product that is asked for by its id comes out of a cache, from which each `ProductChanged` removes it. Who changes a
//! product reads the change at once from the same replica (from all, if they share the cache) and a moment later from others.
//!
//! Products are found by the words of their names. Each name is split into words ([`words`]) that are written to a
//! table of their own in the transaction that writes the product, so that a search never sees one without the other.
//! A page ends at a product and the next one starts behind it: what is added or changed in the meantime neither
//! repeats nor hides anything else.

mod api;
mod domain;
mod store;
mod words;

use banyan::prelude::*;
use serde::Deserialize;
use shop_contracts::catalog::v1::{CatalogServiceClient, Product, ProductChanged, catalog_service};

/// Products of an import that one transaction may take at most: more would exceed the store's time limit.
const IMPORT_BATCH_MAX: usize = 2_000;

/// The settings of the service: `[services.catalog]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Products of an import that are written in one transaction: 1 to 2,000.
    import_batch: usize,
    /// Products that one import may have.
    import_products_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { import_batch: 500, import_products_max: 1_000_000 }
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        if !(1..=IMPORT_BATCH_MAX).contains(&self.import_batch) {
            let message = format!("must be 1 to {IMPORT_BATCH_MAX}");
            return Err(Error::invalid("services.catalog.import_batch", message));
        }
        // The answer of an import counts with 32 bits.
        if self.import_products_max > i32::MAX as usize {
            let message = format!("must be at most {}", i32::MAX);
            return Err(Error::invalid("services.catalog.import_products_max", message));
        }
        Ok(())
    }
}

/// The service.
pub(crate) struct Catalog {
    store: Store,
    /// Products by their ids. What is sold for which price is not read here: see [`store::price`].
    products: Cache<str, Product>,
    settings: Settings,
}

/// Defines the service.
pub fn service() -> ServiceDef {
    ServiceDef::new("catalog", [CatalogServiceClient::SERVICE], |host| async move {
        let settings: Settings = host.settings()?;
        settings.check()?;
        let store = host.store(store::MIGRATIONS, store::STATEMENTS).await?;
        let products = host.cache("products.v1", CacheOptions::default())?;
        host.invalidate(&products, |event: &ProductChanged| event.product_id.clone()).await?;
        host.serve(catalog_service(Arc::new(Catalog { store, products, settings })));
        Ok(())
    })
    .settings_within(Settings::check)
}
