//! The HTTP API: who may ask, what a well-formed request is, and how the difficult cards behave on the wire.

use crate::answer::Answer;
use crate::card::Card;
use crate::entry;
use crate::store::{ChargeFilter, Page, Store};
use crate::writer::{ChargeRequest, Command};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, http};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Largest body of a request, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// Most writing requests under way.
const REQUESTS_MAX: usize = 8192;
/// Largest amount of one charge, in pence: ten billion pounds.
const AMOUNT_MAX: i64 = 1_000_000_000_000;
/// Longest idempotency key, as with Stripe.
const KEY_LENGTH_MAX: usize = 255;
/// Entries of a list page when the request does not say.
const PAGE_DEFAULT: u32 = 10;
const PAGE_MAX: u32 = 1000;

/// How long the difficult cards take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    pub(crate) slow: Duration,
    pub(crate) hang: Duration,
}

#[derive(Clone)]
struct Api {
    store: Arc<Store>,
    behaviour: Behaviour,
    requests: TaskTracker,
    stop: CancellationToken,
}

/// Makes the router. Writing requests run in `requests` and end also when their client has gone.
pub(crate) fn router(
    store: Arc<Store>,
    behaviour: Behaviour,
    requests: TaskTracker,
    stop: CancellationToken,
) -> Router {
    let api = Api { store, behaviour, requests, stop };
    Router::new()
        .route("/v1/charges", post(create_charge).get(list_charges))
        .route("/v1/charges/{id}", get(get_charge))
        .route("/v1/refunds", post(create_refund))
        .route("/v1/ledger", get(list_ledger))
        .route("/v1/balance", get(get_balance))
        .fallback(|request: Request| async move {
            Answer::no_route(
                404,
                format!("Unrecognized request URL ({} {})", request.method(), request.uri().path()),
            )
        })
        .method_not_allowed_fallback(|method: http::Method| async move {
            Answer::no_route(405, format!("This URL does not take {method}"))
        })
        .layer(middleware::from_fn(authorised))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(api)
}

async fn authorised(request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret = header.and_then(|value| value.strip_prefix("Bearer sk_test_"));
    match secret {
        Some(secret) if !secret.is_empty() => next.run(request).await,
        _ => Answer::unauthorized().into_response(),
    }
}

async fn create_charge(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Answer, Answer> {
    let key = idempotency_key(&headers)?;
    let request = charge_request(&object(body)?)?;
    api.clone().carried_through(async move { api.charge(request, key).await }).await
}

async fn create_refund(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Answer, Answer> {
    let key = idempotency_key(&headers)?;
    let fields = object(body)?;
    known_fields(&fields, &["charge"])?;
    let charge = text(&fields, "charge")?.to_owned();
    api.clone().carried_through(async move { api.store.write(Command::Refund { charge }, key).await }).await
}

async fn get_charge(State(api): State<Api>, Path(id): Path<String>) -> Result<Answer, Answer> {
    let number = entry::number(entry::CHARGE, &id).ok_or_else(|| Answer::missing("charge", &id))?;
    let charge = api.store.charge(number).await.map_err(unreadable)?;
    charge.map(|charge| Answer::ok(&charge)).ok_or_else(|| Answer::missing("charge", &id))
}

async fn list_charges(
    State(api): State<Api>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Answer, Answer> {
    let page = page(&query, entry::CHARGE, &["idempotency_key", "order_id"])?;
    let filter = ChargeFilter {
        idempotency_key: query.get("idempotency_key").cloned(),
        order_id: query.get("order_id").cloned(),
    };
    let rows = api.store.charges(filter, one_more(page)).await.map_err(unreadable)?;
    Ok(list("/v1/charges", rows, page))
}

async fn list_ledger(
    State(api): State<Api>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Answer, Answer> {
    let page = page(&query, entry::LEDGER, &[])?;
    let rows = api.store.ledger(one_more(page)).await.map_err(unreadable)?;
    Ok(list("/v1/ledger", rows, page))
}

async fn get_balance(State(api): State<Api>) -> Result<Answer, Answer> {
    let available = api.store.balance().await.map_err(unreadable)?;
    Ok(Answer::ok(&json!({"object": "balance", "livemode": false, "available": available})))
}

impl Api {
    /// Runs `work` to its end even when the client hangs up: money moves whether or not anybody listens.
    async fn carried_through(
        self,
        work: impl Future<Output = Answer> + Send + 'static,
    ) -> Result<Answer, Answer> {
        if self.requests.len() >= REQUESTS_MAX {
            return Err(Answer::too_many());
        }
        self.requests.spawn(work).await.map_err(|_| Answer::broken())
    }

    async fn charge(&self, request: ChargeRequest, key: Option<String>) -> Answer {
        let card = request.card;
        let command = Command::Charge(request);
        if card == Card::Slow {
            if let Some(key) = key.clone() {
                match self.store.recorded(key, &command).await {
                    Ok(None) => {}
                    Ok(Some(answer)) => return answer,
                    Err(error) => return unreadable(error),
                }
            }
            self.wait(self.behaviour.slow).await;
        }
        let answer = self.store.write(command, key).await;
        if card == Card::Timeout && answer.status == 200 && !answer.replayed {
            self.wait(self.behaviour.hang).await;
        }
        answer
    }

    /// Waits, but not longer than the processor runs.
    async fn wait(&self, time: Duration) {
        self.stop.run_until_cancelled(tokio::time::sleep(time)).await;
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Answer> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=KEY_LENGTH_MAX).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Answer::malformed(format!("Idempotency-Key has 1 to {KEY_LENGTH_MAX} ASCII characters"))),
    }
}

fn object(body: Result<Bytes, BytesRejection>) -> Result<Map<String, Value>, Answer> {
    let body =
        body.map_err(|rejection| Answer::no_route(rejection.status().as_u16(), rejection.body_text()))?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Answer::malformed("The body has to be a JSON object")),
        Err(error) => Err(Answer::malformed(format!("The body is not JSON: {error}"))),
    }
}

fn charge_request(fields: &Map<String, Value>) -> Result<ChargeRequest, Answer> {
    known_fields(fields, &["amount", "currency", "source", "metadata"])?;
    let amount = match fields.get("amount") {
        None => return Err(required("amount")),
        Some(amount) => {
            amount.as_i64().filter(|amount| (1..=AMOUNT_MAX).contains(amount)).ok_or_else(|| {
                let message = format!("amount is a whole number of pence, 1 to {AMOUNT_MAX}");
                Answer::invalid("amount", "parameter_invalid_integer", message)
            })?
        }
    };
    let currency = text(fields, "currency")?.to_ascii_lowercase();
    if currency != "gbp" {
        return Err(Answer::invalid("currency", "parameter_invalid", "This account takes gbp only"));
    }
    let source = text(fields, "source")?.to_owned();
    let card = Card::from_token(&source)
        .ok_or_else(|| Answer::invalid("source", "resource_missing", format!("No such token: '{source}'")))?;
    let metadata = match fields.get("metadata") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(pairs)) if pairs.values().all(Value::is_string) => pairs.clone(),
        Some(_) => {
            return Err(Answer::invalid("metadata", "parameter_invalid", "metadata maps names to strings"));
        }
    };
    Ok(ChargeRequest { amount, currency, source, card, metadata })
}

fn known_fields(fields: &Map<String, Value>, known: &[&str]) -> Result<(), Answer> {
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        Some(field) => {
            Err(Answer::invalid(field, "parameter_unknown", format!("Received unknown parameter: {field}")))
        }
        None => Ok(()),
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, Answer> {
    match fields.get(name) {
        None => Err(required(name)),
        Some(Value::String(value)) if !value.is_empty() => Ok(value),
        Some(_) => {
            Err(Answer::invalid(name, "parameter_invalid", format!("{name} is a string that is not empty")))
        }
    }
}

fn required(name: &str) -> Answer {
    Answer::invalid(name, "parameter_missing", format!("Missing required param: {name}."))
}

fn page(query: &HashMap<String, String>, kind: &str, filters: &[&str]) -> Result<Page, Answer> {
    for name in query.keys() {
        if !["limit", "starting_after"].contains(&name.as_str()) && !filters.contains(&name.as_str()) {
            return Err(Answer::invalid(
                name,
                "parameter_unknown",
                format!("Received unknown parameter: {name}"),
            ));
        }
    }
    let limit = match query.get("limit") {
        None => PAGE_DEFAULT,
        Some(limit) => {
            limit.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit)).ok_or_else(|| {
                Answer::invalid(
                    "limit",
                    "parameter_invalid_integer",
                    format!("limit is a number from 1 to {PAGE_MAX}"),
                )
            })?
        }
    };
    let after = match query.get("starting_after") {
        None => None,
        Some(id) => Some(entry::number(kind, id).ok_or_else(|| {
            Answer::invalid("starting_after", "resource_missing", format!("No such object: '{id}'"))
        })?),
    };
    Ok(Page { after, limit })
}

/// Asks for one row more than the page shows, to know whether there are more.
fn one_more(page: Page) -> Page {
    Page { limit: page.limit + 1, ..page }
}

fn list(url: &str, mut rows: Vec<Value>, page: Page) -> Answer {
    let shown = page.limit as usize;
    let has_more = rows.len() > shown;
    rows.truncate(shown);
    Answer::ok(&json!({"object": "list", "url": url, "has_more": has_more, "data": rows}))
}

fn unreadable(error: rusqlite::Error) -> Answer {
    eprintln!("card-processor: a read failed: {error}");
    Answer::broken()
}
