//! What the service answers: the generated contract, implemented.

use crate::domain::{Listing, Search};
use crate::{Catalog, store};
use banyan::prelude::*;
use shop_contracts::catalog::v1::*;
use shop_contracts::checks::{check_items, check_product_id};
use shop_contracts::types::v1::Money;

impl CatalogService for Catalog {
    async fn get_product(&self, cx: &Context, req: GetProductRequest) -> Result<Product> {
        check_product_id("product_id", &req.product_id)?;
        let (store, product_id) = (self.store.clone(), req.product_id.clone());
        let load = async move |cx: Context| store.read(&cx, move |q| store::get(q, &product_id)).await;
        let product = self.products.get_or_load(cx, &req.product_id, load).await?;
        product.ok_or_else(|| Error::not_found("product", &req.product_id))
    }

    async fn search_products(
        &self,
        cx: &Context,
        req: SearchProductsRequest,
    ) -> Result<SearchProductsResponse> {
        let search = Search::try_from(req)?;
        let page = search.page.clone();
        let mut products = self.store.read(cx, move |q| store::search(q, &search)).await?;
        let next_page_token = page.cut(&mut products, |product| &product.product_id);
        Ok(SearchProductsResponse { products, next_page_token })
    }

    async fn list_categories(
        &self,
        cx: &Context,
        _: ListCategoriesRequest,
    ) -> Result<ListCategoriesResponse> {
        let categories = self.store.read(cx, |q| store::categories(q)).await?;
        Ok(ListCategoriesResponse { categories })
    }

    async fn put_product(&self, cx: &Context, req: PutProductRequest) -> Result<Product> {
        let listing = Listing::new(req.product.clone())?;
        let product = self.store.once(cx, "PutProduct", &req, move |tx| store::put(tx, listing)).await?;
        // The event does this too, a moment later; so an error changes nothing.
        let _ = self.products.invalidate(cx, &product.product_id).await;
        Ok(product)
    }

    async fn price_items(&self, cx: &Context, req: PriceItemsRequest) -> Result<PriceItemsResponse> {
        check_items(&req.items)?;
        let lines = self.store.read(cx, move |q| store::price(q, req.items)).await?;
        let total = Money::total(lines.iter().filter_map(|line| line.total.as_ref()))?;
        Ok(PriceItemsResponse { lines, total: Some(total) })
    }

    /// Products that are there already are not announced again, so that an import that broke off is simply repeated.
    async fn import_products(
        &self,
        cx: &Context,
        mut requests: Streaming<ImportProductsRequest>,
    ) -> Result<ImportProductsResponse> {
        let mut imported = 0;
        loop {
            let batch = self.next_batch(&mut requests, imported).await?;
            if batch.is_empty() {
                let imported = i32::try_from(imported).expect("the settings bound it");
                return Ok(ImportProductsResponse { imported });
            }
            imported += batch.len();
            self.store
                .transact(cx, move |tx| batch.into_iter().try_for_each(|l| store::put(tx, l).map(drop)))
                .await?;
        }
    }
}

impl Catalog {
    /// Reads the products of an import that are written together; none at its end.
    async fn next_batch(
        &self,
        requests: &mut Streaming<ImportProductsRequest>,
        imported: usize,
    ) -> Result<Vec<Listing>> {
        let mut batch = Vec::new();
        while batch.len() < self.settings.import_batch
            && let Some(request) = requests.message().await?
        {
            let index = imported + batch.len();
            if index == self.settings.import_products_max {
                let message = format!("an import has at most {index} products");
                return Err(Error::invalid(format!("[{index}]"), message));
            }
            batch.push(Listing::imported(index, request.product)?);
        }
        Ok(batch)
    }
}
