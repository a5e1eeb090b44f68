//! The service as its callers see it: in one process with the catalog and an order service that notes what is placed.

mod checkout;
mod orders;

use banyan::prelude::*;
use banyan_testkit::TestSystem;
use orders::Desk;
use shop_contracts::cart::v1::*;
use shop_contracts::catalog::v1::{CatalogServiceClient, ImportProductsRequest, Product};
use shop_contracts::orders::v1::Order;
use shop_contracts::types::v1::{Address, Money};

/// A running cart service and what it calls.
struct Fixture {
    system: TestSystem,
    carts: CartServiceClient,
    desk: Arc<Desk>,
}

impl Fixture {
    /// Starts a shop that sells `a` (1.00), `b` (2.00) and `c` (3.00).
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(settings: &str) -> Self {
        let desk = Arc::new(Desk::default());
        let services = [shop_catalog::service(), orders::service(desk.clone()), shop_cart::service()];
        let setup = TestSystem::of(services).settings("cart", settings);
        let system = setup.start().await.expect("the services start");
        let it = Self { carts: system.client(), desk, system };
        it.sell([("a", 100), ("b", 200), ("c", 300)]).await;
        it
    }

    async fn sell(&self, products: impl IntoIterator<Item = (impl Into<String>, i64)>) {
        let request = |(id, pence): (_, i64)| {
            let product_id: String = Into::into(id);
            let name = format!("THING {product_id}");
            let price = Some(Money::gbp(pence));
            ImportProductsRequest { product: Some(Product { product_id, name, price, ..Default::default() }) }
        };
        let requests: Vec<_> = products.into_iter().map(request).collect();
        let catalog: CatalogServiceClient = self.system.client();
        catalog.import_products(&self.user("admin"), Streaming::of(requests)).await.expect("they are valid");
    }

    fn user(&self, user_id: &str) -> Context {
        self.system.as_user(user_id)
    }

    async fn put(&self, cx: &Context, product_id: &str, quantity: i32) -> Result<Cart> {
        self.carts.put_item(cx, PutItemRequest { product_id: product_id.into(), quantity }).await
    }

    async fn remove(&self, cx: &Context, product_id: &str) -> Result<Cart> {
        self.carts.remove_item(cx, RemoveItemRequest { product_id: product_id.into() }).await
    }

    async fn cart(&self, cx: &Context) -> Cart {
        self.carts.get_cart(cx, GetCartRequest {}).await.expect("everybody has a cart")
    }

    async fn checkout(&self, cx: &Context, card_token: &str) -> Result<Order> {
        let request = CheckoutRequest { card_token: card_token.into(), shipping_address: Some(address()) };
        self.carts.checkout(cx, request).await
    }
}

fn address() -> Address {
    Address {
        name: "Ann".into(),
        street: "1 High Street".into(),
        city: "Leeds".into(),
        postal_code: "LS1 1AA".into(),
        country: "United Kingdom".into(),
    }
}

/// Returns what is in a cart: products and quantities.
fn contents(cart: &Cart) -> Vec<(&str, i32)> {
    cart.lines.iter().map(|line| (line.product_id.as_str(), line.quantity)).collect()
}

#[tokio::test]
async fn a_cart_keeps_what_is_put_in_its_order() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    let unused = it.cart(&ann).await;
    assert_eq!(unused, Cart { lines: Vec::new(), total: Some(Money::gbp(0)), updated_at: None });

    it.put(&ann, "c", 1).await.unwrap();
    it.put(&ann, "a", 2).await.unwrap();
    let cart = it.put(&ann, "c", 4).await.unwrap();
    assert_eq!(contents(&cart), [("c", 4), ("a", 2)]);
    assert_eq!(cart.total, Some(Money::gbp(14_00)));
    assert_eq!(cart.lines[1].name, "THING a");
    assert!(cart.updated_at.is_some());
    assert_eq!(it.cart(&ann).await, cart);

    assert_eq!(contents(&it.remove(&ann, "c").await.unwrap()), [("a", 2)]);
    let again = it.remove(&ann, "c").await.unwrap();
    assert_eq!(again, it.cart(&ann).await);
    let cleared = it.carts.clear_cart(&ann, ClearCartRequest {}).await.unwrap();
    assert_eq!((contents(&cleared), &cleared.total), (vec![], &Some(Money::gbp(0))));
}

#[tokio::test]
async fn a_cart_shows_the_prices_of_today_and_survives_a_restart() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    it.put(&ann, "a", 3).await.unwrap();
    it.sell([("a", 110)]).await;
    it.system.restart("cart").await;
    assert_eq!(it.cart(&ann).await.total, Some(Money::gbp(3_30)));
}

#[tokio::test]
async fn everybody_has_a_cart_of_his_own_and_nobody_has_none() {
    let it = Fixture::new().await;
    it.put(&it.user("ann"), "a", 1).await.unwrap();
    assert!(it.cart(&it.user("bob")).await.lines.is_empty());
    for identity in [Identity::anonymous(), Identity::service("ann")] {
        let cx = it.system.as_identity(identity);
        let outcomes = [
            it.carts.get_cart(&cx, GetCartRequest {}).await.err(),
            it.put(&cx, "a", 1).await.err(),
            it.remove(&cx, "a").await.err(),
            it.carts.clear_cart(&cx, ClearCartRequest {}).await.err(),
            it.checkout(&cx, "tok_visa").await.err(),
        ];
        assert!(outcomes.into_iter().all(|error| error.is_some_and(|e| e.code() == Code::Unauthenticated)));
    }
    assert_eq!(contents(&it.cart(&it.user("ann")).await), [("a", 1)]);
}

#[tokio::test]
async fn what_is_not_sold_or_not_valid_is_not_put() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    for (product_id, quantity, code, part) in [
        ("nope", 1, Code::NotFound, "nope"),
        ("a", 0, Code::InvalidArgument, "quantity"),
        ("a", -1, Code::InvalidArgument, "quantity"),
        ("a", 100_001, Code::InvalidArgument, "quantity"),
        ("", 1, Code::InvalidArgument, "product_id"),
        ("a b", 1, Code::InvalidArgument, "product_id"),
    ] {
        let error = it.put(&ann, product_id, quantity).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!(it.remove(&ann, &"x".repeat(41)).await.unwrap_err().violations()[0].field, "product_id");
    assert_eq!(it.cart(&ann).await.updated_at, None);
}

#[tokio::test]
async fn a_cart_is_full_with_five_hundred_products() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    it.sell((0..501).map(|n| (format!("p{n}"), 1))).await;
    for n in 0..500 {
        it.put(&ann, &format!("p{n}"), 1).await.unwrap();
    }
    let error = it.put(&ann, "p500", 1).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "CART_FULL"));
    assert_eq!(it.put(&ann, "p499", 100_000).await.unwrap().lines.len(), 500);
}

#[tokio::test]
async fn a_repeated_request_does_not_undo_a_later_one() {
    let it = Fixture::new().await;
    let ann = it.user("ann");
    let key = |key: &str| ann.with_idempotency_key(key);
    it.put(&key("k-1"), "a", 1).await.unwrap();
    it.put(&key("k-2"), "a", 2).await.unwrap();
    assert_eq!(contents(&it.put(&key("k-1"), "a", 1).await.unwrap()), [("a", 2)]);
    assert_eq!(it.put(&key("k-1"), "a", 9).await.unwrap_err().reason(), "IDEMPOTENCY_KEY_REUSED");
}
