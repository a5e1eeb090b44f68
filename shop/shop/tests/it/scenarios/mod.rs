//! What must hold wherever the services run. Every scenario has its own customers, products and countries, so all of
//! them run at once on one shop.

mod access;
mod buying;
mod money;
mod reading;
mod repeating;
mod undoing;

use crate::support::Shop;
use banyan::core::{BoxFuture, Clock};
use futures::FutureExt;
use futures::future::join_all;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// How long one scenario may take while all of them run.
const SCENARIO_MAX: Duration = Duration::from_secs(150);

type Scenario = (&'static str, for<'a> fn(&'a Shop) -> BoxFuture<'a, ()>);

/// Names a scenario and erases its type.
macro_rules! scenarios {
    ($($module:ident::$name:ident,)+) => {
        const SCENARIOS: &[Scenario] = &[$((stringify!($name), |shop| Box::pin($module::$name(shop)))),+];
    };
}

scenarios![
    buying::an_order_travels_through_every_service,
    buying::a_cart_becomes_an_order,
    buying::without_enough_stock_nothing_is_held,
    buying::what_is_not_sold_is_not_ordered,
    money::a_declined_card_leaves_no_trace,
    money::a_card_that_fails_first_is_charged_once,
    money::a_slow_card_is_charged_once,
    money::a_card_whose_answer_is_lost_is_charged_once,
    repeating::the_same_key_places_one_order,
    repeating::a_key_is_for_one_request_of_one_person,
    undoing::a_pending_order_is_cancelled,
    undoing::a_confirmed_order_is_refunded_once,
    access::an_order_is_its_owners,
    access::a_token_that_proves_nothing_is_refused,
    access::rotated_keys_leave_tokens_valid,
    reading::sales_are_counted_by_product_country_and_day,
    reading::orders_are_listed_page_by_page,
    reading::me_is_partial_while_a_part_is_down,
];

/// Runs all scenarios at once and fails if one of them does.
pub(crate) async fn run_all(shop: &Shop) {
    let clock = &Clock::default();
    let began = clock.now();
    let running = SCENARIOS.iter().map(|(name, scenario)| async move {
        let work = AssertUnwindSafe(tokio::time::timeout(SCENARIO_MAX, scenario(shop))).catch_unwind();
        let failed = !matches!(work.await, Ok(Ok(())));
        println!("{} {name} ({:?})", if failed { "FAILED" } else { "ok    " }, clock.now() - began);
        failed.then_some(*name)
    });
    let failed: Vec<_> = join_all(running).await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{failed:?}");
}
