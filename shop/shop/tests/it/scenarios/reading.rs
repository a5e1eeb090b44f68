//! Reports, lists, and the page that is made of several services.

use crate::support::{Ask, Draft, END_MAX, Person, Shop, order_id, quickly, state, until};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) async fn sales_are_counted_by_product_country_and_day(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let (lamp, candle) = (shop.admin.product(1_000, 50).await, shop.admin.product(10, 50).await);
    let country = format!("Land of {lamp}");
    let both = Draft::of(&lamp, 2).and(&candle, 5).to(&country);
    customer.buy(&both).await;
    let second = order_id(&customer.buy(&Draft::of(&lamp, 1).to(&country)).await);
    customer.buy(&both.clone().card("tok_declined")).await;
    let reported = |group: &'static str, key: String, row: Option<(i64, i64, i64)>| async move {
        until(END_MAX, &format!("the sales of {key} were {row:?}"), || async {
            (shop.admin.sales(group, &key).await == row).then_some(())
        })
        .await;
    };
    reported("PRODUCT", lamp.clone(), Some((2, 3, 3_000))).await;
    reported("PRODUCT", candle.clone(), Some((1, 5, 50))).await;
    reported("COUNTRY", country.clone(), Some((2, 8, 3_050))).await;

    shop.admin.refund(&second).await.ok();
    reported("COUNTRY", country, Some((1, 7, 2_050))).await;
    let day = customer.get(&format!("/v1/orders/{second}")).await["createdAt"]
        .as_str()
        .map(|at| at[..10].to_owned());
    let sold = shop.admin.sales("DAY", &day.expect("a time")).await.expect("something was sold today");
    assert!(sold.0 >= 1 && sold.1 >= 7 && sold.2 >= 2_050, "{sold:?}");
    let nothing =
        shop.admin.get("/v1/analytics/sales?groupBy=SALES_GROUP_PRODUCT&to=2010-12-01T00:00:00Z").await;
    assert!(nothing["rows"].as_array().is_none_or(Vec::is_empty), "{nothing}");
}

pub(super) async fn orders_are_listed_page_by_page(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(100, 50).await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.push(order_id(&customer.place(&Draft::of(&lamp, 1)).await));
    }
    let (mut listed, mut page) = (Vec::new(), String::new());
    for _ in 0..3 {
        let answer = customer.get(&format!("/v1/orders?pageSize=2&pageToken={page}")).await;
        listed.extend(answer["orders"].as_array().into_iter().flatten().map(order_id));
        page = answer["nextPageToken"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(page, "");
    placed.reverse();
    assert_eq!(listed, placed, "the newest first");
    for id in &placed {
        assert_eq!(state(&customer.ended(id).await), "CONFIRMED");
    }
}

pub(super) async fn me_is_partial_while_a_part_is_down(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(5_000, 5).await;
    let id = order_id(&customer.buy(&Draft::of(&lamp, 1)).await);
    customer.points(&id, &[50]).await;
    let whole = customer.until_me(&["orders", "points", "profile"], &[]).await;
    assert_eq!(whole["profile"]["email"], customer.email);
    assert_eq!(whole["orders"]["orders"][0]["orderId"], id);
    assert_eq!(whole["points"]["points"], "50");

    // A process that is stopped neither answers nor dies, so nobody starts it anew.
    let home = shop.process_of("loyalty").await;
    let frozen = shop.move_apart("loyalty").await;
    shop.signal("STOP", frozen).await;
    let partial =
        tokio::time::timeout(quickly(), customer.until_me(&["orders", "profile"], &["points"])).await;
    shop.signal("CONT", frozen).await;
    let partial = partial.expect("a part that hangs does not hold up the others");
    assert_eq!(partial["orders"]["orders"][0]["orderId"], id);
    customer.until_me(&["orders", "points", "profile"], &[]).await;
    if home != "loyalty" {
        shop.move_back("loyalty").await;
    }
    let anonymous = shop.client.ask(Ask::get("/v1/me")).await;
    anonymous.refused(401, "UNAUTHENTICATED");
}

impl Person {
    /// Waits until the customer's page has these parts and misses those.
    async fn until_me(&self, parts: &[&str], missing: &[&str]) -> Value {
        until(END_MAX, &format!("/v1/me had {parts:?}, not {missing:?}"), || async {
            let me = self.get("/v1/me").await;
            let keys: BTreeSet<&str> = me.as_object()?.keys().map(String::as_str).collect();
            let wanted: BTreeSet<&str> = parts.iter().copied().chain(["errors"]).collect();
            let errors = me["errors"].as_array().into_iter().flatten();
            let failed: Vec<&str> = errors.filter_map(|error| error["part"].as_str()).collect();
            (keys == wanted && failed == missing).then_some(me)
        })
        .await
    }
}
