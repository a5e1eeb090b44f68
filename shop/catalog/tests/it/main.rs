//! The service as its callers see it: in a process of its own, with its store and the event log.

use banyan::prelude::*;
use banyan_testkit::{TestSystem, until};
use shop_contracts::catalog::v1::*;
use shop_contracts::types::v1::{Item, Money};

/// A running catalog.
struct Fixture {
    system: TestSystem,
    catalog: CatalogServiceClient,
    cx: Context,
}

impl Fixture {
    async fn new() -> Self {
        Self::with("").await.expect("the service starts")
    }

    async fn with(settings: &str) -> Result<Self> {
        let system = TestSystem::of([shop_catalog::service()]).settings("catalog", settings).start().await?;
        Ok(Self { catalog: system.client(), cx: system.as_admin(), system })
    }

    async fn put(&self, product: Product) -> Result<Product> {
        self.catalog.put_product(&self.cx, PutProductRequest { product: Some(product) }).await
    }

    async fn import(&self, products: impl IntoIterator<Item = Product>) -> Result<i32> {
        let requests: Vec<_> =
            products.into_iter().map(|p| ImportProductsRequest { product: Some(p) }).collect();
        Ok(self.catalog.import_products(&self.cx, Streaming::of(requests)).await?.imported)
    }

    async fn get(&self, product_id: &str) -> Result<Product> {
        self.catalog.get_product(&self.cx, GetProductRequest { product_id: product_id.into() }).await
    }

    async fn search(&self, request: SearchProductsRequest) -> SearchProductsResponse {
        self.catalog.search_products(&self.cx, request).await.expect("the search is valid")
    }

    /// Returns the ids of what is found by words.
    async fn found(&self, query: &str) -> Vec<String> {
        ids(&self.search(SearchProductsRequest { query: query.into(), ..Default::default() }).await)
    }

    async fn price(&self, items: &[(&str, i32)]) -> Result<PriceItemsResponse> {
        let item = |(id, quantity): &(&str, i32)| Item { product_id: (*id).into(), quantity: *quantity };
        let items = items.iter().map(item).collect();
        self.catalog.price_items(&self.cx, PriceItemsRequest { items }).await
    }

    /// Waits for `number` announcements and returns the names in them.
    async fn announced(&self, number: usize) -> Vec<String> {
        let mut listener = self.system.listen("catalog").await;
        let mut names = Vec::new();
        while names.len() < number {
            let event: ProductChanged = listener.next_of().await;
            assert_eq!(event.product_id, event.product.as_ref().expect("it is always set").product_id);
            names.push(event.product.expect("it is always set").name);
        }
        names
    }
}

fn product(product_id: &str, name: &str, category: &str, pence: i64) -> Product {
    Product {
        product_id: product_id.into(),
        name: name.into(),
        category: category.into(),
        price: Some(Money::gbp(pence)),
        updated_at: None,
    }
}

fn ids(found: &SearchProductsResponse) -> Vec<String> {
    found.products.iter().map(|p| p.product_id.clone()).collect()
}

#[tokio::test]
async fn a_product_is_kept_across_a_restart() {
    let it = Fixture::new().await;
    let put = it.put(product("85123A", "HEART HOLDER", "Candles", 255)).await.unwrap();
    assert!(put.updated_at.is_some());
    it.system.restart("catalog").await;
    assert_eq!(it.get("85123A").await.unwrap(), put);
    assert_eq!(it.get("85123a").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(it.found("heart").await, ["85123A"]);
}

#[tokio::test]
async fn only_a_change_is_announced() {
    let it = Fixture::new().await;
    it.put(product("a", "FIRST", "", 1)).await.unwrap();
    it.put(product("a", "FIRST", "", 1)).await.unwrap();
    it.import([product("a", "FIRST", "", 1)]).await.unwrap();
    it.put(product("a", "SECOND", "", 1)).await.unwrap();
    // They come in order: an announcement too many would be between these.
    assert_eq!(it.announced(2).await, ["FIRST", "SECOND"]);
}

#[tokio::test]
async fn a_repeated_request_does_not_undo_a_later_one() {
    let it = Fixture::new().await;
    let cx = it.cx.with_idempotency_key("k-1");
    let request = PutProductRequest { product: Some(product("a", "FIRST", "", 1)) };
    let first = it.catalog.put_product(&cx, request.clone()).await.unwrap();
    it.put(product("a", "SECOND", "", 1)).await.unwrap();
    assert_eq!(it.catalog.put_product(&cx, request).await.unwrap(), first);
    assert_eq!(it.get("a").await.unwrap().name, "SECOND");
}

#[tokio::test]
async fn products_are_found_by_their_words() {
    let it = Fixture::new().await;
    it.import([
        product("1", "WHITE HANGING HEART T-LIGHT HOLDER", "Candles", 255),
        product("2", "RED HEART Holder", "Candles", 125),
        product("3", "White metal lantern", "Candles", 339),
        product("4", "Tea towel", "Kitchen", 295),
    ])
    .await
    .unwrap();
    assert_eq!(it.found("heart").await, ["1", "2"]);
    assert_eq!(it.found("HOLDER heart").await, ["1", "2"]);
    assert_eq!(it.found("holder white hea").await, ["1"]);
    assert_eq!(it.found("t-li").await, ["1"]);
    assert_eq!(it.found("te").await, ["4"]);
    // Only the last word may be a beginning.
    assert_eq!(it.found("hea holder").await, Vec::<String>::new());
    assert_eq!(it.found("white heart towel").await, Vec::<String>::new());
    assert_eq!(it.found("").await, ["1", "2", "3", "4"]);

    // A new name is found, the old one no more.
    it.put(product("2", "BLUE HEART HOLDER", "Candles", 125)).await.unwrap();
    assert_eq!(it.found("red").await, Vec::<String>::new());
    assert_eq!(it.found("blue heart").await, ["2"]);
}

#[tokio::test]
async fn conditions_narrow_a_search_with_and_without_words() {
    let it = Fixture::new().await;
    it.import([
        product("1", "HEART HOLDER", "Candles", 100),
        product("2", "HEART TOWEL", "Kitchen", 200),
        product("3", "HEART BOWL", "Kitchen", 300),
        product("4", "TEA TOWEL", "Kitchen", 400),
    ])
    .await
    .unwrap();
    let search = |query: &str, category: &str, min, max| {
        it.search(SearchProductsRequest {
            query: query.into(),
            category: category.into(),
            min_price_minor: min,
            max_price_minor: max,
            ..Default::default()
        })
    };
    assert_eq!(ids(&search("", "Kitchen", None, None).await), ["2", "3", "4"]);
    assert_eq!(ids(&search("heart", "Kitchen", None, None).await), ["2", "3"]);
    assert_eq!(ids(&search("", "", Some(200), Some(300)).await), ["2", "3"]);
    assert_eq!(ids(&search("towel", "Kitchen", Some(201), None).await), ["4"]);
    assert_eq!(ids(&search("heart", "", None, Some(199)).await), ["1"]);
    assert!(search("", "kitchen", None, None).await.products.is_empty());
}

#[tokio::test]
async fn pages_neither_repeat_nor_miss_anything() {
    for query in ["", "thing"] {
        let it = Fixture::new().await;
        let numbered = |n: usize| product(&format!("p{n:03}"), "THING", "Things", 100);
        it.import((10..55).map(numbered)).await.unwrap();
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = SearchProductsRequest {
                query: query.into(),
                category: "Things".into(),
                page_size: 10,
                page_token,
                ..Default::default()
            };
            let page = it.search(request).await;
            assert!(page.products.len() <= 10);
            seen.extend(ids(&page));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
            // Something that sorts before all pages changes none of them.
            it.put(numbered(seen.len() / 10)).await.unwrap();
        }
        assert_eq!(seen, (10..55).map(|n| format!("p{n:03}")).collect::<Vec<_>>(), "{query:?}");
    }
}

#[tokio::test]
async fn a_full_last_page_has_no_next() {
    let it = Fixture::new().await;
    it.import((0..20).map(|n| product(&format!("p{n:02}"), "THING", "", 1))).await.unwrap();
    let page = it.search(SearchProductsRequest::default()).await;
    assert_eq!((page.products.len(), page.next_page_token.as_str()), (20, ""));
}

#[tokio::test]
async fn items_are_priced_in_their_order() {
    let it = Fixture::new().await;
    it.import([product("a", "ARK", "", 255), product("b", "BOAT", "", 100)]).await.unwrap();
    let priced = it.price(&[("b", 3), ("a", 2), ("b", 1)]).await.unwrap();
    let line = |l: &shop_contracts::types::v1::LineItem| {
        (l.name.clone(), l.quantity, l.total.clone().map(|t| t.minor_units))
    };
    let lines: Vec<_> = priced.lines.iter().map(line).collect();
    let expected = [("BOAT", 3, 300), ("ARK", 2, 510), ("BOAT", 1, 100)];
    assert_eq!(lines, expected.map(|(name, quantity, total)| (name.to_owned(), quantity, Some(total))));
    assert_eq!(priced.total, Some(Money::gbp(910)));

    let error = it.price(&[("a", 1), ("b", 1), ("nope", 1), ("gone", 1)]).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(error.violations()[0].field, "items[2].product_id");
    assert!(error.message().contains("nope"), "{error}");
}

#[tokio::test]
async fn an_import_says_which_product_is_bad_and_keeps_the_batches_before_it() {
    let it = Fixture::with("import_batch = 10\nimport_products_max = 30").await.unwrap();
    let numbered = |n: usize| product(&format!("p{n:03}"), "THING", "", if n == 25 { 0 } else { 100 });
    let error = it.import((0..30).map(numbered)).await.unwrap_err();
    assert_eq!(error.violations()[0].field, "[25].product.price.minor_units");
    assert!(it.get("p019").await.is_ok());
    assert_eq!(it.get("p020").await.unwrap_err().code(), Code::NotFound);

    assert_eq!(it.import((30..60).map(numbered)).await.unwrap(), 30);
    let error = it.import((60..91).map(numbered)).await.unwrap_err();
    assert_eq!(error.violations()[0].field, "[30]");
    assert_eq!(it.import([]).await.unwrap(), 0);
}

#[tokio::test]
async fn categories_are_counted_and_bounded() {
    let it = Fixture::new().await;
    let numbered = |n: usize| product(&format!("p{n}"), "THING", &format!("Category {n:04}"), 100);
    it.import([product("x", "THING", "", 1), product("y", "THING", "Category 0003", 1)]).await.unwrap();
    it.import((0..1000).map(numbered)).await.unwrap();
    let error = it.put(numbered(1000)).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "CATEGORIES_FULL"));
    assert!(it.put(product("z", "THING", "Category 0003", 1)).await.is_ok());

    let listed = it.catalog.list_categories(&it.cx, ListCategoriesRequest {}).await.unwrap().categories;
    assert_eq!(listed.len(), 1000);
    assert_eq!((listed[3].name.as_str(), listed[3].products), ("Category 0003", 3));
    assert!(listed.is_sorted_by(|a, b| a.name < b.name));

    // A category ends with its last product and makes room.
    it.put(product("p7", "THING", "", 100)).await.unwrap();
    assert!(it.put(numbered(1000)).await.is_ok());
}

#[tokio::test]
async fn what_is_invalid_names_its_field_and_changes_nothing() {
    let it = Fixture::new().await;
    let field = |error: Error| {
        assert_eq!(error.code(), Code::InvalidArgument);
        error.violations()[0].field.clone()
    };
    assert_eq!(field(it.put(product("a b", "ARK", "", 1)).await.unwrap_err()), "product.product_id");
    assert_eq!(field(it.put(product("a", "ARK", "", 0)).await.unwrap_err()), "product.price.minor_units");
    assert_eq!(field(it.get("").await.unwrap_err()), "product_id");
    assert_eq!(field(it.price(&[("a", 0)]).await.unwrap_err()), "items[0].quantity");
    assert!(it.found("").await.is_empty());
}

#[tokio::test]
async fn a_wrong_setting_keeps_the_service_from_starting() {
    for (text, key) in [
        ("import_batch = 0", "services.catalog.import_batch"),
        ("import_batch = 2001", "services.catalog.import_batch"),
        ("batch = 1", "services.catalog.batch"),
    ] {
        let error = Fixture::with(text).await.err().expect("it does not start");
        assert_eq!(error.violations()[0].field, key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_read_though_the_product_was_cached() {
    let catalog = Fixture::new().await;
    assert_eq!(catalog.get("p-1").await.unwrap_err().code(), Code::NotFound);
    catalog.put(product("p-1", "Lamp", "", 100)).await.unwrap();
    for pence in [200, 300] {
        catalog.get("p-1").await.unwrap();
        catalog.put(product("p-1", "Lamp", "", pence)).await.unwrap();
        assert_eq!(catalog.get("p-1").await.unwrap().price, Some(Money::gbp(pence)));
    }
    // An import only announces what it changed.
    catalog.import([product("p-1", "Lamp", "", 400)]).await.unwrap();
    let changed = async || catalog.get("p-1").await.unwrap().price == Some(Money::gbp(400));
    until("the imported price", changed).await;
}
