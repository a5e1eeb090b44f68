//! Customers: they sign up, place orders over HTTP and follow each to its end over gRPC.

use super::gateway::{Gateway, Headers};
use super::goods::{PRODUCTS, product_id};
use crate::clock;
use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use http::uri::PathAndQuery;
use serde_json::json;
use shop_contracts::orders::v1::{Order, OrderState, WatchOrderRequest, order_service};
use std::time::{Duration, Instant};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic_prost::ProstCodec;

const PASSWORD: &str = "the bench's password";
/// Sign-ups at the same time: hashing a password takes a core for tens of milliseconds, on purpose.
const AT_ONCE: usize = 4;
/// Orders that are followed on one connection.
const CUSTOMERS_PER_CONNECTION: usize = 32;
/// Lines of an order.
const LINES: usize = 3;
/// How long an order may take to its end.
const ORDER_MAX: Duration = Duration::from_secs(60);

/// Somebody with an account who is signed in.
pub(crate) struct Customer {
    gateway: Gateway,
    grpc: Grpc<tonic::transport::Channel>,
    token: String,
    bearer: MetadataValue<Ascii>,
    rng: fastrand::Rng,
    orders: u64,
    name: String,
}

/// How long an order took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Until the shop had accepted it: durable, and answered.
    pub(crate) accepted: Duration,
    /// Until the customer knew that it was confirmed.
    pub(crate) confirmed: Duration,
}

/// Signs customers up, or in if they have an account.
///
/// # Errors
/// If the shop refuses.
pub(crate) async fn sign_up(url: &str, run: &str, customers: usize) -> Result<Vec<Customer>> {
    let gateway = Gateway::new(url);
    let mut connections = Vec::new();
    for _ in 0..customers.div_ceil(CUSTOMERS_PER_CONNECTION) {
        connections.push(tonic::transport::Endpoint::from_shared(url.to_owned())?.connect().await?);
    }
    let sign_up = |number: usize| {
        let (gateway, connection) = (gateway.clone(), connections[number / CUSTOMERS_PER_CONNECTION].clone());
        async move {
            let name = format!("{run}-{number}");
            let email = format!("{name}@example.com");
            let account = json!({"email": email, "password": PASSWORD, "name": name, "country": "France"});
            gateway.send(Method::POST, "/v1/users", Headers::default(), &account).await?;
            let login = json!({"email": email, "password": PASSWORD});
            let login = gateway.send(Method::POST, "/v1/users:login", Headers::default(), &login).await?;
            let token = login["accessToken"].as_str().context("the login gave no token")?.to_owned();
            let bearer = format!("Bearer {token}").parse()?;
            let (grpc, rng) = (Grpc::new(connection), fastrand::Rng::with_seed(number as u64));
            Ok(Customer { gateway, grpc, token, bearer, rng, orders: 0, name })
        }
    };
    stream::iter((0..customers).map(sign_up)).buffer_unordered(AT_ONCE).try_collect().await
}

impl Customer {
    /// Places an order and waits until it is confirmed.
    ///
    /// # Errors
    /// If it is refused, cancelled, or takes too long.
    pub(crate) async fn checkout(&mut self) -> Result<Taken> {
        let began = clock::now();
        self.orders += 1;
        let key = format!("{}-{}", self.name, self.orders);
        let headers = Headers { token: Some(&self.token), idempotency_key: Some(&key) };
        let first = self.rng.usize(..PRODUCTS);
        let items: Vec<_> = (0..LINES)
            .map(|line| json!({"productId": product_id((first + line * 7) % PRODUCTS), "quantity": 1 + line}))
            .collect();
        let order = json!({
            "items": items,
            "cardToken": "tok_visa",
            "shippingAddress": {
                "name": self.name, "street": "1 Rue de Rivoli", "city": "Paris", "postalCode": "75001",
                "country": "France",
            },
        });
        let placed = self.gateway.send(Method::POST, "/v1/orders", headers, &order).await?;
        let accepted = began.elapsed();
        let order_id = placed["orderId"].as_str().context("the order has no id")?.to_owned();
        let following = tokio::time::timeout(ORDER_MAX, self.follow(order_id));
        let confirmed_at = following.await.context("the order did not end")??;
        Ok(Taken { accepted, confirmed: confirmed_at - began })
    }

    /// Watches an order to its end; returns when it was confirmed.
    async fn follow(&mut self, order_id: String) -> Result<Instant> {
        let mut request = tonic::Request::new(WatchOrderRequest { order_id });
        request.metadata_mut().insert("authorization", self.bearer.clone());
        self.grpc.ready().await?;
        let path = PathAndQuery::from_static(order_service::WATCH_ORDER.path);
        let codec: ProstCodec<WatchOrderRequest, Order> = ProstCodec::default();
        let mut states = self.grpc.server_streaming(request, path, codec).await?.into_inner();
        let mut confirmed_at = None;
        // To the end of the stream, which follows at once: one that is dropped has to be reset.
        while let Some(order) = states.next().await.transpose()? {
            match order.state() {
                OrderState::Pending => {}
                OrderState::Confirmed => confirmed_at = Some(clock::now()),
                other => bail!("the order became {}: {}", other.as_str_name(), order.cancel_reason),
            }
        }
        confirmed_at.context("the shop stopped telling about the order")
    }
}
