//! One visit, from the door to the end of the order.

use super::intent::{Intent, Then};
use crate::http::{Call, Failure};
use crate::replay::shopper::{Outcome, Shoppers};
use banyan::core::Env;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// Products that visitors choose from, in pages of the catalog.
const PAGES_MAX: usize = 5;
const PAGE: usize = 100;

/// The shop, as visitors see it.
pub(crate) struct Visits {
    pub(crate) env: Env,
    pub(crate) shoppers: Shoppers,
    /// The numbers of the products that they choose from.
    pub(crate) products: Vec<String>,
    /// How long an order may take to come to its end.
    pub(crate) limit: Duration,
}

/// What came of a visit.
#[derive(Debug)]
pub(crate) enum Visit {
    /// Somebody looked around.
    Looked,
    /// Something stayed in the cart.
    Abandoned,
    Ordered {
        outcome: Outcome,
        /// Whether the customer wanted it cancelled, and the shop said no: it was too late.
        too_late: bool,
    },
    /// The shop did not answer, or refused what it should not.
    Failed(Failure),
}

/// Reads which products there are.
///
/// # Errors
/// The first failure.
pub(crate) async fn products(shoppers: &Shoppers) -> Result<Vec<String>, Failure> {
    let (mut products, mut token) = (Vec::new(), String::new());
    for _ in 0..PAGES_MAX {
        let path = format!("/v1/products?pageSize={PAGE}&pageToken={token}");
        let page = shoppers.send(Call { path: &path, ..Call::default() }).await?;
        let ids = page["products"].as_array().into_iter().flatten();
        products.extend(ids.filter_map(|product| product["productId"].as_str()).map(str::to_owned));
        token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    Ok(products)
}

impl Visits {
    /// Lets the customer do what is planned. A customer makes one visit at a time: there is one cart.
    pub(crate) async fn visit(&self, email: &str, intent: &Intent) -> Visit {
        self.attempt(email, intent).await.unwrap_or_else(Visit::Failed)
    }

    async fn attempt(&self, email: &str, intent: &Intent) -> Result<Visit, Failure> {
        self.look(intent).await?;
        if intent.items.is_empty() {
            return Ok(Visit::Looked);
        }
        // What a visitor before left in the cart is not bought.
        self.change(email, Method::DELETE, "/v1/cart", Value::Null).await?;
        for (product, pieces) in &intent.items {
            let path = format!("/v1/cart/items/{}", self.products[*product]);
            self.change(email, Method::PUT, &path, json!({"quantity": pieces})).await?;
        }
        match &intent.then {
            Then::Leave => Ok(Visit::Abandoned),
            Then::CheckOut { card, cancel } => self.check_out(email, card, *cancel).await,
        }
    }

    /// What anybody can do without signing in.
    async fn look(&self, intent: &Intent) -> Result<(), Failure> {
        self.get("/v1/categories").await?;
        let query =
            intent.search.map_or(String::new(), |words| format!("&query={}", words.replace(' ', "%20")));
        self.get(&format!("/v1/products?pageSize=24{query}")).await?;
        for product in &intent.looks {
            let product = &self.products[*product];
            self.get(&format!("/v1/products/{product}")).await?;
            self.get(&format!("/v1/stock/{product}")).await?;
        }
        Ok(())
    }

    async fn check_out(&self, email: &str, card: &str, cancel: bool) -> Result<Visit, Failure> {
        let began = self.env.clock.now();
        let key = self.env.new_id();
        let body = json!({
            "cardToken": card,
            "shippingAddress": {
                "name": email.split('@').next().unwrap_or(email), "street": "1 Market Street",
                "city": "Springfield", "postalCode": "00001", "country": "United Kingdom",
            },
        });
        let call = Call {
            method: Method::POST,
            path: "/v1/cart:checkout",
            idempotency_key: Some(&key),
            body: body.to_string().into(),
            ..Call::default()
        };
        let order = self.shoppers.send_as(email, call).await?;
        let accepted = Some(self.env.clock.now() - began);
        let order_id = order["orderId"].as_str().unwrap_or_default().to_owned();
        let mut too_late = false;
        if cancel {
            let path = format!("/v1/orders/{order_id}:cancel");
            let cancelled =
                self.change(email, Method::POST, &path, json!({"reason": "changed my mind"})).await;
            too_late = match cancelled {
                Err(failure) if failure.reason() == "ORDER_NOT_CANCELLABLE" => true,
                other => other.map(|_| false)?,
            };
        }
        let end = self.shoppers.follow(email, order, &order_id, began + self.limit).await;
        let ended = Some(self.env.clock.now() - began);
        Ok(Visit::Ordered {
            outcome: Outcome { end, accepted, ended, retries: 0, placed_ms: None },
            too_late,
        })
    }

    async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.shoppers.send(Call { path, ..Call::default() }).await
    }

    async fn change(&self, email: &str, method: Method, path: &str, body: Value) -> Result<Value, Failure> {
        let body = if body.is_null() { Default::default() } else { body.to_string().into() };
        self.shoppers.send_as(email, Call { method, path, body, ..Call::default() }).await
    }
}
