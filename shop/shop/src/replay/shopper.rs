//! The customers: they sign in, place an order, and look after it until it has come to its end.

use super::plan::Planned;
use crate::http::{Call, Failure, Gateway};
use banyan::core::{Backoff, Env};
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait between attempts to sign in or to place an order. The order's time limit bounds their number.
const AGAIN: Backoff = Backoff {
    initial: Duration::from_millis(50),
    max: Duration::from_secs(2),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};
/// How long to wait before looking after an order again.
const LOOK: Backoff = Backoff {
    initial: Duration::from_millis(10),
    max: Duration::from_millis(250),
    multiplier: 1.4,
    attempts_max: u32::MAX,
};

/// How long the shop may accept no connection before customers give up: at the door, and with orders under way, when
/// it may be worth the wait until it is started again.
const GONE_MAX: Duration = Duration::from_secs(5);
const GONE_ORDERING_MAX: Duration = Duration::from_secs(30);

/// All customers, with their access tokens.
pub(crate) struct Shoppers {
    env: Env,
    gateway: Gateway,
    password: String,
    /// How long an order may take from its arrival to its end, and a login.
    limit: Duration,
    tokens: Mutex<HashMap<String, Arc<str>>>,
    /// Since when the shop accepts no connection.
    gone_since: Mutex<Option<Instant>>,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Confirmed,
    Cancelled {
        reason: String,
    },
    Refunded,
    /// It was not accepted.
    Refused {
        reason: String,
    },
    /// The time limit passed before it was accepted, or before it came to its end.
    Unfinished {
        reason: String,
    },
}

/// One order's story. Times run from its arrival.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    /// Until the shop had accepted it.
    pub(crate) accepted: Option<Duration>,
    /// Until it had come to its end.
    pub(crate) ended: Option<Duration>,
    /// Attempts beyond the first to place it.
    pub(crate) retries: u32,
    /// When it was placed, in milliseconds since the Unix epoch: before this replay if it is a repeated one.
    pub(crate) placed_ms: Option<u64>,
}

impl Shoppers {
    pub(crate) fn new(env: Env, url: &str, password: &str, limit: Duration) -> Self {
        let (gateway, password) = (Gateway::new(url), password.to_owned());
        Self { env, gateway, password, limit, tokens: Mutex::default(), gone_since: Mutex::default() }
    }

    /// Signs a customer in.
    ///
    /// # Errors
    /// What the shop refused with, or the last failure when the time limit passed or the shop was gone for 5 s.
    pub(crate) async fn sign_in(&self, email: &str) -> Result<(), Failure> {
        let until = self.env.clock.now() + self.limit;
        let body = json!({"email": email, "password": self.password}).to_string();
        for attempt in 1.. {
            let body = body.clone().into();
            let call = Call { method: Method::POST, path: "/v1/users:login", body, ..Call::default() };
            match self.send(call).await {
                Ok(answer) => {
                    let token = answer["accessToken"].as_str();
                    let token =
                        token.ok_or_else(|| Failure::Unreachable("a login without a token".to_owned()))?;
                    self.tokens.lock().insert(email.to_owned(), token.into());
                    return Ok(());
                }
                Err(failure)
                    if failure.is_transient()
                        && !self.is_gone_for(GONE_MAX)
                        && self.pause(&AGAIN, attempt, until).await => {}
                Err(failure) => return Err(failure),
            }
        }
        unreachable!("the attempts are bounded by time, not by their number")
    }

    /// Places an order that arrived at `arrived`, and follows it to its end.
    pub(crate) async fn order(&self, planned: &Planned, arrived: Instant) -> Outcome {
        let until = arrived + self.limit;
        let mut outcome =
            Outcome { end: End::Confirmed, accepted: None, ended: None, retries: 0, placed_ms: None };
        let order = match self.place(planned, until, &mut outcome.retries).await {
            Ok(order) => order,
            Err(end) => return Outcome { end, ..outcome },
        };
        outcome.accepted = Some(self.env.clock.now() - arrived);
        let order_id = order["orderId"].as_str().unwrap_or_default().to_owned();
        outcome.placed_ms = uuid_unix_ms(&order_id);
        outcome.end = self.follow(&planned.email, order, &order_id, until).await;
        if !matches!(outcome.end, End::Unfinished { .. }) {
            outcome.ended = Some(self.env.clock.now() - arrived);
        }
        outcome
    }

    /// Places an order, again and again while that may help.
    async fn place(&self, planned: &Planned, until: Instant, retries: &mut u32) -> Result<Value, End> {
        loop {
            let call = Call {
                method: Method::POST,
                path: "/v1/orders",
                idempotency_key: Some(&planned.idempotency_key),
                body: planned.body.clone(),
                ..Call::default()
            };
            let failure = match self.send_as(&planned.email, call).await {
                Ok(order) => return Ok(order),
                Err(failure) => failure,
            };
            let reason = failure.reason().to_owned();
            tracing::debug!(%failure, key = planned.idempotency_key, "an order was not accepted");
            if !failure.is_transient() {
                return Err(End::Refused { reason });
            }
            *retries += 1;
            if self.is_gone() || !self.pause(&AGAIN, *retries, until).await {
                return Err(End::Unfinished { reason });
            }
        }
    }

    /// Looks after an accepted order until it has come to its end.
    pub(crate) async fn follow(&self, email: &str, accepted: Value, order_id: &str, until: Instant) -> End {
        let path = format!("/v1/orders/{order_id}");
        let mut order: Result<Value, Failure> = Ok(accepted);
        for attempt in 1.. {
            let reason = match &order {
                Ok(order) => match end(order) {
                    Some(end) => return end,
                    None => "PENDING".to_owned(),
                },
                Err(failure) if failure.is_transient() => failure.reason().to_owned(),
                Err(failure) => return End::Unfinished { reason: failure.reason().to_owned() },
            };
            if self.is_gone() || !self.pause(&LOOK, attempt, until).await {
                return End::Unfinished { reason };
            }
            order = self.send_as(email, Call { path: &path, ..Call::default() }).await;
        }
        unreachable!("the attempts are bounded by time, not by their number")
    }

    /// Sends a request as a customer, who signs in again if the access token is no longer valid.
    pub(crate) async fn send_as(&self, email: &str, call: Call<'_>) -> Result<Value, Failure> {
        let token = self.tokens.lock().get(email).cloned();
        let first = self.send(Call { token: token.as_deref(), ..call.clone() }).await;
        match first {
            Err(failure) if failure.is_unauthenticated() => {
                self.sign_in(email).await?;
                let token = self.tokens.lock().get(email).cloned();
                self.send(Call { token: token.as_deref(), ..call }).await
            }
            other => other,
        }
    }

    /// Sends a request, and takes note of whether the shop is there.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Value, Failure> {
        let answered = self.gateway.send(call).await;
        let mut gone_since = self.gone_since.lock();
        match &answered {
            Err(Failure::Gone(_)) => drop(gone_since.get_or_insert_with(|| self.env.clock.now())),
            _ => *gone_since = None,
        }
        answered
    }

    /// Tells whether the shop has been gone for so long that nobody goes on ordering.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone_for(GONE_ORDERING_MAX)
    }

    fn is_gone_for(&self, limit: Duration) -> bool {
        self.gone_since.lock().is_some_and(|since| self.env.clock.now() - since >= limit)
    }

    /// Waits after failed attempt number `attempt`; returns whether there is time for another one.
    async fn pause(&self, backoff: &Backoff, attempt: u32, until: Instant) -> bool {
        let next = self.env.clock.now() + backoff.delay(attempt, &self.env.rng);
        if next >= until {
            return false;
        }
        tokio::time::sleep_until(next).await;
        true
    }
}

/// Reads an order's end; `None` while it is pending.
fn end(order: &Value) -> Option<End> {
    match order["state"].as_str().unwrap_or_default() {
        "ORDER_STATE_CONFIRMED" => Some(End::Confirmed),
        "ORDER_STATE_REFUNDED" => Some(End::Refunded),
        "ORDER_STATE_CANCELLED" => {
            let reason = order["cancelReason"].as_str().unwrap_or_default().to_owned();
            Some(End::Cancelled { reason })
        }
        _ => None,
    }
}

/// Reads the time in a UUID of version 7 (RFC 9562, section 5.7): its first 48 bits.
fn uuid_unix_ms(id: &str) -> Option<u64> {
    let (high, low) = (id.get(..8)?, id.get(9..13)?);
    u64::from_str_radix(&format!("{high}{low}"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn customers_give_up_soon_when_the_shop_is_gone() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let shoppers = Shoppers::new(Env::default(), &url, "secret", Duration::from_secs(120));
        let signing_in = tokio::time::timeout(GONE_MAX * 3, shoppers.sign_in("a@example.com")).await;
        let failure = signing_in.expect("within seconds, not within the order's limit").unwrap_err();
        assert!(matches!(failure, Failure::Gone(_)), "{failure}");
        assert!(!shoppers.is_gone(), "orders under way wait longer");
    }

    #[test]
    fn an_id_tells_when_it_was_made() {
        let before = Env::default().clock.unix_ms();
        let made = uuid_unix_ms(&Env::default().new_id()).unwrap();
        assert!((before..before + 60_000).contains(&made));
        assert_eq!(uuid_unix_ms("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), Some(0x017f_22e2_79b0));
        assert_eq!((uuid_unix_ms("short"), uuid_unix_ms("")), (None, None));
    }

    #[test]
    fn an_order_has_ended_when_it_is_no_longer_pending() {
        let order =
            |state: &str| json!({"state": format!("ORDER_STATE_{state}"), "cancelReason": "CARD_DECLINED"});
        assert_eq!(end(&order("PENDING")), None);
        assert_eq!(end(&order("CONFIRMED")), Some(End::Confirmed));
        assert_eq!(end(&order("CANCELLED")), Some(End::Cancelled { reason: "CARD_DECLINED".to_owned() }));
        assert_eq!(end(&order("REFUNDED")), Some(End::Refunded));
        assert_eq!(end(&json!({})), None);
    }
}
