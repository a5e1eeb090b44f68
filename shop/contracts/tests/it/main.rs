//! What holds for every contract of the shop, read from the descriptors that are served at run time.

#![allow(clippy::unwrap_used, reason = "what is missing fails the test")]

use banyan_core::{Event, Payload};
use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor, Value};
use shop_contracts::orders::v1::{OrderPlaced, PlaceOrderRequest};
use shop_contracts::users::v1::{LoginRequest, LoginResponse, RegisterRequest};
use std::collections::BTreeMap;

fn pool() -> DescriptorPool {
    DescriptorPool::decode(shop_contracts::DESCRIPTORS).unwrap()
}

fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// Returns the value of an extension option, if the method has it.
fn option(method: &MethodDescriptor, name: &str) -> Option<Value> {
    let extension = method.parent_pool().get_extension_by_name(name).unwrap();
    let options = method.options();
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

/// Returns verb and path of a method that is reachable over HTTP.
fn route(method: &MethodDescriptor) -> Option<(&'static str, String)> {
    let rule = option(method, "google.api.http")?;
    let rule = rule.as_message().unwrap();
    let verb =
        ["get", "put", "post", "delete"].into_iter().find(|verb| rule.has_field_by_name(verb)).unwrap();
    Some((verb, rule.get_field_by_name(verb).unwrap().as_str().unwrap().to_owned()))
}

fn idempotency(method: &MethodDescriptor) -> i32 {
    method.options().get_field_by_name("idempotency_level").unwrap().as_enum_number().unwrap()
}

#[test]
fn every_route_is_taken_once() {
    let pool = pool();
    let mut routes = BTreeMap::new();
    for method in methods(&pool) {
        if let Some(route) = route(&method) {
            let other = routes.insert(route, method.full_name().to_owned());
            assert_eq!(other, None, "{} has the route of another method", method.full_name());
        }
    }
    assert!(!routes.is_empty());
}

#[test]
fn who_may_call_is_said_for_every_route() {
    for method in methods(&pool()) {
        if route(&method).is_some() {
            let access = option(&method, "banyan.v1.access").and_then(|access| access.as_enum_number());
            assert!(
                access.is_some_and(|access| access != 0),
                "{} says not who may call it",
                method.full_name()
            );
        }
    }
}

#[test]
fn a_get_only_reads_and_a_put_can_be_repeated() {
    for method in methods(&pool()) {
        let level = idempotency(&method);
        match route(&method) {
            Some(("get", _)) => assert_eq!(level, 1, "{} is a GET with effects", method.full_name()),
            Some(("put" | "delete", _)) => assert_eq!(level, 2, "{} cannot be repeated", method.full_name()),
            None => {
                assert_ne!(level, 0, "{} is called by services and cannot be repeated", method.full_name())
            }
            Some(_) => {}
        }
    }
}

#[test]
fn secrets_are_redacted_wherever_they_are() {
    fn check(message: &MessageDescriptor) {
        for field in message.fields() {
            let secret = ["password", "card_token", "access_token"].contains(&field.name());
            let redacted = field.options().get_field_by_name("debug_redact").unwrap().as_bool().unwrap();
            assert_eq!(secret, redacted, "{}", field.full_name());
        }
    }
    pool()
        .all_messages()
        .filter(|m| m.package_name().starts_with("shop."))
        .for_each(|message| check(&message));

    let secret = "tok_hunter2".to_owned();
    let shown = [
        format!("{:?}", PlaceOrderRequest { card_token: secret.clone(), ..Default::default() }),
        format!("{:?}", OrderPlaced { card_token: secret.clone(), ..Default::default() }),
        format!("{:?}", LoginRequest { password: secret.clone(), ..Default::default() }),
        format!("{:?}", RegisterRequest { password: secret.clone(), ..Default::default() }),
        format!("{:?}", LoginResponse { access_token: secret, ..Default::default() }),
    ];
    for text in shown {
        assert!(text.contains("***") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn an_event_knows_its_topic_and_key() {
    let event = OrderPlaced { order_id: "o-1".to_owned(), ..Default::default() };
    assert_eq!((OrderPlaced::TYPE, OrderPlaced::TOPIC), ("shop.orders.v1.OrderPlaced", "orders"));
    assert_eq!(event.key(), "o-1");
    assert_eq!(OrderPlaced::from_bytes(&event.to_bytes()).unwrap(), event);
}
