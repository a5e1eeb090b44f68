//! Orders followed live, and visitors who place some.

use crate::support::{Ask, Draft, END_MAX, Person, Setup, Shop, order_id};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// One server-sent event.
#[derive(Debug, PartialEq)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

impl Event {
    fn read(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
        };
        let data = serde_json::from_str(field("data")).ok()?;
        Some(Self { id: field("id").to_owned(), name: field("event").to_owned(), data })
    }

    fn state(&self) -> &str {
        self.data["state"].as_str().unwrap_or(&self.name)
    }
}

fn path(order_id: &str) -> String {
    format!("/v1/orders/{order_id}/events")
}

/// Follows an order until the stream ends.
async fn follow(person: &Person, order_id: &str, seen: &str) -> Vec<Event> {
    let request = Request::get(format!("{}{}", person.client.url(), path(order_id)))
        .header(header::ACCEPT, "text/event-stream")
        .header(header::AUTHORIZATION, format!("Bearer {}", person.token))
        .header("last-event-id", seen)
        .body(Empty::<Bytes>::new())
        .expect("the headers are valid");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let exchange = async {
        let response = client.request(request).await.expect("the shop answers");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().expect("a value"))
        );
        response.into_body().collect().await.expect("the stream is not cut off").to_bytes()
    };
    let text = tokio::time::timeout(END_MAX, exchange).await.expect("the stream ends");
    String::from_utf8_lossy(&text).split("\n\n").filter_map(Event::read).collect()
}

async fn an_order_is_followed(setup: Setup) {
    let shop = Shop::start(setup).await;
    let lamp = shop.admin.product(450, 100).await;
    let customer = Person::register(&shop.client).await;
    let placed = customer.place(&Draft::of(&lamp, 1).card("tok_slow")).await;
    let id = order_id(&placed);

    let events = follow(&customer, &id, "").await;
    let states: Vec<_> = events.iter().map(Event::state).collect();
    assert_eq!(states, ["ORDER_STATE_PENDING", "ORDER_STATE_CONFIRMED", "end"], "{events:?}");
    assert_eq!(events[1].data, customer.get(&format!("/v1/orders/{id}")).await);

    // Who comes again is told what is new to him, and that it is the end.
    let again = follow(&customer, &id, &events[0].id).await;
    assert_eq!(again, events[1..]);
    let nothing_new = follow(&customer, &id, &events[1].id).await;
    assert_eq!(nothing_new, events[2..]);

    let stranger = Person::register(&shop.client).await;
    stranger.ask(Ask::get(path(&id))).await.refused(404, "NOT_FOUND");
    shop.client.ask(Ask::get(path(&id))).await.refused(401, "UNAUTHENTICATED");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_followed_to_its_end() {
    an_order_is_followed(Setup::one_process()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_followed_across_processes() {
    an_order_is_followed(Setup::apart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_come_buy_and_change_their_minds_and_the_books_balance() {
    let shop = Shop::start(Setup::one_process()).await;
    let demo = ["demo", "--rate", "20", "--duration", "6", "--seed", "7", "--cards", "declined=0.5"];
    let refused = shop.command(&demo).await.expect_err("there is nothing to buy");
    assert!(refused.contains("shop import"), "{refused}");
    shop.command(&["import"]).await.expect("the seed data is imported");
    let came = shop.command(&demo).await.expect("nothing fails");
    let ends = &came["demo"]["orders"]["ends"];
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    assert_eq!(number(&came["demo"]["visits"]) + number(&came["demo"]["turned_away"]), 120, "{came}");
    assert!(number(&ends["CONFIRMED"]) > 0 && number(&ends["CANCELLED CARD_DECLINED"]) > 0, "{came}");
    shop.audit().await;
    shop.stop().await;
}
