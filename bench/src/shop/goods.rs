//! What is sold: products and stock, put in by the shop's administrator.

use super::gateway::{Gateway, Headers};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use std::path::Path;

/// Products of the shop.
pub(crate) const PRODUCTS: usize = 200;
/// Pieces of each: more than any run can sell.
const STOCK: u32 = 100_000_000;
/// Requests at the same time.
const AT_ONCE: usize = 8;

/// Names a product.
pub(crate) fn product_id(number: usize) -> String {
    format!("B{number:05}")
}

/// Fills the shop at `url`, whose data is in `data`.
///
/// # Errors
/// If the shop refuses.
pub(crate) async fn fill(url: &str, data: &Path) -> Result<()> {
    let gateway = Gateway::new(url);
    let path = data.join("run/admin.json");
    let admin = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let admin: Value = serde_json::from_slice(&admin)?;
    let login = json!({"email": admin["email"], "password": admin["password"]});
    let login = gateway.send(Method::POST, "/v1/users:login", Headers::default(), &login).await?;
    let token = login["accessToken"].as_str().context("the login gave no token")?;
    let put = |number: usize| {
        let (gateway, headers) = (&gateway, Headers { token: Some(token), ..Headers::default() });
        async move {
            let (id, price) = (product_id(number), 100 + number);
            let product = json!({
                "productId": id, "name": format!("PRODUCT NUMBER {number}"), "category": "bench",
                "price": {"currencyCode": "GBP", "minorUnits": price.to_string()},
            });
            gateway.send(Method::PUT, &format!("/v1/products/{id}"), headers, &product).await?;
            let stock = json!({"onHand": STOCK});
            gateway.send(Method::PUT, &format!("/v1/stock/{id}"), headers, &stock).await
        }
    };
    stream::iter((0..PRODUCTS).map(put)).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
}
