//! Somebody with an account: registers, signs in, orders, looks after his orders.

use super::{Answer, Ask, Client, END_MAX, setup::unique, until};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const PASSWORD: &str = "correct horse battery";

/// A signed-in person.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) user_id: String,
    pub(crate) token: String,
}

/// An order that may be placed.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    items: Vec<(String, u32)>,
    card: &'static str,
    country: String,
}

impl Draft {
    /// Orders pieces of one product with a card that is approved.
    pub(crate) fn of(product_id: &str, quantity: u32) -> Self {
        let items = vec![(product_id.to_owned(), quantity)];
        Self { items, card: "tok_visa", country: "United Kingdom".to_owned() }
    }

    pub(crate) fn and(mut self, product_id: &str, quantity: u32) -> Self {
        self.items.push((product_id.to_owned(), quantity));
        self
    }

    pub(crate) fn card(mut self, token: &'static str) -> Self {
        self.card = token;
        self
    }

    pub(crate) fn to(mut self, country: &str) -> Self {
        country.clone_into(&mut self.country);
        self
    }

    pub(crate) fn json(&self) -> Value {
        let items: Vec<_> =
            self.items.iter().map(|(id, quantity)| json!({"productId": id, "quantity": quantity})).collect();
        json!({"items": items, "cardToken": self.card, "shippingAddress": self.address()})
    }

    pub(crate) fn address(&self) -> Value {
        json!({"name": "A. Customer", "street": "1 High Street", "city": "London", "postalCode": "N1 1AA",
            "country": self.country})
    }
}

impl Person {
    /// Opens an account that nobody has yet and signs in.
    pub(crate) async fn register(client: &Client) -> Self {
        let email = format!("{}@example.com", unique("customer"));
        let body =
            json!({"email": email, "name": "A. Customer", "password": PASSWORD, "country": "United Kingdom"});
        let user = client.ask(Ask::post("/v1/users", &body).key(&email)).await.ok();
        assert_eq!(user["email"], email);
        Self::sign_in(client, &email, PASSWORD).await
    }

    pub(crate) async fn sign_in(client: &Client, email: &str, password: &str) -> Self {
        let body = json!({"email": email, "password": password});
        let login = client.ask(Ask::post("/v1/users:login", &body)).await.ok();
        let text = |key: &str| login[key].as_str().unwrap_or_default().to_owned();
        Self {
            client: client.clone(),
            email: email.to_owned(),
            password: password.to_owned(),
            user_id: text("userId"),
            token: text("accessToken"),
        }
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        self.client.ask(ask.token(&self.token)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask(Ask::get(path)).await.ok()
    }

    /// Places an order under a key of its own.
    pub(crate) async fn place(&self, draft: &Draft) -> Value {
        self.place_again(draft, &unique("order")).await.ok()
    }

    /// Places an order under `key`.
    pub(crate) async fn place_again(&self, draft: &Draft, key: &str) -> Answer {
        self.ask(Ask::post("/v1/orders", &draft.json()).key(key)).await
    }

    /// Places the same order by way of the cart.
    pub(crate) async fn check_out(&self, draft: &Draft, key: &str) -> Answer {
        for (product_id, quantity) in &draft.items {
            let put = Ask::new(Method::PUT, format!("/v1/cart/items/{product_id}"));
            self.ask(put.json(&json!({"quantity": quantity}))).await.ok();
        }
        let body = json!({"cardToken": draft.card, "shippingAddress": draft.address()});
        self.ask(Ask::post("/v1/cart:checkout", &body).key(key)).await
    }

    /// Places an order and returns it as it is at its end.
    pub(crate) async fn buy(&self, draft: &Draft) -> Value {
        let placed = self.place(draft).await;
        self.ended(&order_id(&placed)).await
    }

    /// Waits until an order is no longer pending.
    pub(crate) async fn ended(&self, order_id: &str) -> Value {
        self.reached(order_id, |state| state != "PENDING").await
    }

    pub(crate) async fn reached(&self, order_id: &str, wanted: impl Fn(&str) -> bool) -> Value {
        let path = format!("/v1/orders/{order_id}");
        let wanted = &wanted;
        until(END_MAX, &format!("order {order_id} came to its end"), || async {
            let order = self.get(&path).await;
            wanted(state(&order)).then_some(order)
        })
        .await
    }

    pub(crate) async fn cancel(&self, order_id: &str, reason: &str) -> Answer {
        let path = format!("/v1/orders/{order_id}:cancel");
        self.ask(Ask::post(path, &json!({"reason": reason})).key(&unique("cancel"))).await
    }

    pub(crate) async fn refund(&self, order_id: &str) -> Answer {
        let path = format!("/v1/orders/{order_id}:refund");
        self.ask(Ask::post(path, &json!({})).key(&unique("refund"))).await
    }

    /// Waits until the kinds of the e-mails about an order are `kinds`, oldest first.
    pub(crate) async fn emails(&self, order_id: &str, kinds: &[&str]) -> Vec<Value> {
        until(END_MAX, &format!("the e-mails about {order_id} were {kinds:?}"), || async {
            let sent = self.get("/v1/notifications?pageSize=100").await;
            let mut about: Vec<Value> = list(&sent["notifications"]);
            about.retain(|email| email["orderId"] == order_id);
            about.reverse();
            let found = about.iter().filter_map(|email| email["kind"].as_str());
            let found: Vec<_> =
                found.map(|kind| kind.trim_start_matches("NOTIFICATION_KIND_ORDER_")).collect();
            (found == kinds).then_some(about)
        })
        .await
    }

    /// Waits until the points that an order brought are `points`, oldest first, and returns the sum of all.
    pub(crate) async fn points(&self, order_id: &str, points: &[i64]) -> i64 {
        until(END_MAX, &format!("the points of {order_id} were {points:?}"), || async {
            let loyalty = self.get("/v1/loyalty?pageSize=100").await;
            let mut entries = list(&loyalty["entries"]);
            entries.retain(|entry| entry["orderId"] == order_id);
            let found: Vec<i64> = entries.iter().rev().map(|entry| number(&entry["points"])).collect();
            (found == points).then(|| number(&loyalty["points"]))
        })
        .await
    }

    /// Creates a product, as an administrator, with so many pieces of it. Returns its id.
    pub(crate) async fn product(&self, pence: i64, pieces: u32) -> String {
        let id: String = unique("p").chars().take(30).collect();
        let body = json!({"name": format!("Lantern {id}"), "category": "Lights", "price": gbp(pence)});
        let put = Ask::new(Method::PUT, format!("/v1/products/{id}")).json(&body).key(&id);
        self.ask(put).await.ok();
        let put = Ask::new(Method::PUT, format!("/v1/stock/{id}")).json(&json!({"onHand": pieces})).key(&id);
        let stock = self.ask(put).await.ok();
        assert_eq!(stock["available"], pieces);
        id
    }

    /// Returns the pieces of a product that are in the house and that are held for orders.
    pub(crate) async fn stock(&self, product_id: &str) -> (i64, i64) {
        let stock = self.get(&format!("/v1/stock/{product_id}")).await;
        (number(&stock["onHand"]), number(&stock["reserved"]))
    }

    /// Waits until a product's pieces in the house and held are these: what is undone is undone a moment later.
    pub(crate) async fn held(&self, product_id: &str, stock: (i64, i64)) {
        until(END_MAX, &format!("the stock of {product_id} was {stock:?}"), || async {
            (self.stock(product_id).await == stock).then_some(())
        })
        .await;
    }

    /// Reads a sales report as an administrator: the row `key`, as orders, pieces and pence.
    pub(crate) async fn sales(&self, group: &str, key: &str) -> Option<(i64, i64, i64)> {
        let mut page = String::new();
        loop {
            let path =
                format!("/v1/analytics/sales?groupBy=SALES_GROUP_{group}&pageSize=100&pageToken={page}");
            let report = self.get(&path).await;
            for row in list(&report["rows"]) {
                if row["key"] == key {
                    let revenue = number(&row["revenue"]["minorUnits"]);
                    return Some((number(&row["orders"]), number(&row["units"]), revenue));
                }
            }
            page = report["nextPageToken"].as_str().unwrap_or_default().to_owned();
            if page.is_empty() {
                return None;
            }
        }
    }
}

/// Writes an amount of money.
pub(crate) fn gbp(pence: i64) -> Value {
    json!({"currencyCode": "GBP", "minorUnits": pence.to_string()})
}

pub(crate) fn order_id(order: &Value) -> String {
    order["orderId"].as_str().unwrap_or_default().to_owned()
}

/// Returns an order's state without its prefix.
pub(crate) fn state(order: &Value) -> &str {
    order["state"].as_str().unwrap_or_default().trim_start_matches("ORDER_STATE_")
}

/// Reads a 64-bit number, which is a string in canonical proto3 JSON; absent means 0.
pub(crate) fn number(value: &Value) -> i64 {
    match value {
        Value::Null => 0,
        Value::String(text) => text.parse().unwrap_or_else(|_| panic!("{text:?} is no number")),
        other => other.as_i64().unwrap_or_else(|| panic!("{other} is no number")),
    }
}

pub(crate) fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// A time in which nothing that hangs would come to its end.
pub(crate) fn quickly() -> Duration {
    Duration::from_secs(15)
}
