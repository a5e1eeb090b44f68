//! The service as admins see it: in a process of its own, fed through the event log.

use banyan::prelude::*;
use banyan_testkit::TestSystem;
use shop_contracts::analytics::v1::*;
use shop_contracts::orders::v1::{OrderConfirmed, OrderRefunded};
use shop_contracts::time::timestamp;
use shop_contracts::types::v1::{LineItem, Money};

const DAY_MS: u64 = 86_400_000;
/// 2010-12-01T23:59:59.999Z.
const FIRST_MS: u64 = 1_291_247_999_999;
/// The reports are asked for on 2010-12-11.
const NOW_MS: u64 = FIRST_MS + 10 * DAY_MS;
const SEED: u64 = 7;

/// The running service.
struct Fixture {
    system: TestSystem,
    analytics: AnalyticsServiceClient,
}

impl Fixture {
    async fn new() -> Self {
        let system = TestSystem::of([shop_analytics::service()])
            .env(Env::simulated(SEED, NOW_MS))
            .start()
            .await
            .expect("the service starts");
        Self { analytics: system.client(), system }
    }

    /// Publishes an event as a relay does that crashed before it could note that it had (the same envelope again), and
    /// as a mistaken publisher would (another envelope); then waits until all of it is handled.
    async fn publish<E: Event>(&self, source: &str, event: &E) {
        self.system.publish_twice(source, event).await;
        self.system.publish(source, event).await;
        self.system.settled().await;
    }

    async fn ask(&self, identity: Identity, request: SalesReportRequest) -> Result<SalesReportResponse> {
        self.analytics.sales_report(&self.system.as_identity(identity), request).await
    }

    /// Returns all rows of a report as (key, orders, units, pence).
    async fn report(&self, group: SalesGroup, days: Option<(u64, u64)>) -> Vec<(String, i64, i64, i64)> {
        let (mut rows, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = SalesReportRequest {
                from: days.map(|(from, _)| timestamp(from)),
                to: days.map(|(_, to)| timestamp(to)),
                group_by: group.into(),
                page_size: 2,
                page_token,
            };
            let page = self.ask(admin(), request).await.expect("the request is valid");
            assert!(page.rows.len() <= 2);
            rows.extend(page.rows.into_iter().map(|row| {
                let revenue = row.revenue.expect("it is always set");
                (row.key, row.orders, row.units, revenue.minor_units)
            }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return rows;
            }
        }
    }
}

fn admin() -> Identity {
    Identity::user("u-9", &["admin".into()])
}

fn line(product_id: &str, quantity: i32, pence: i64) -> LineItem {
    LineItem::priced(product_id.into(), product_id.into(), quantity, Money::gbp(pence))
        .expect("it is a small amount")
}

fn confirmed(order_id: &str, at_ms: u64, country: &str, lines: &[LineItem]) -> OrderConfirmed {
    let totals = lines.iter().filter_map(|line| line.total.as_ref());
    OrderConfirmed {
        order_id: order_id.into(),
        user_id: "u-1".into(),
        lines: lines.to_vec(),
        total: Some(Money::total(totals).expect("it is a small amount")),
        country: country.into(),
        confirmed_at: Some(timestamp(at_ms)),
        ..OrderConfirmed::default()
    }
}

fn refunded(order: &OrderConfirmed, at_ms: u64) -> OrderRefunded {
    OrderRefunded {
        order_id: order.order_id.clone(),
        user_id: order.user_id.clone(),
        lines: order.lines.clone(),
        total: order.total.clone(),
        country: order.country.clone(),
        flow: order.flow,
        refunded_at: Some(timestamp(at_ms)),
        confirmed_at: order.confirmed_at,
    }
}

fn row(key: &str, orders: i64, units: i64, pence: i64) -> (String, i64, i64, i64) {
    (key.to_owned(), orders, units, pence)
}

#[tokio::test]
async fn each_sale_counts_once_in_every_group() {
    let it = Fixture::new().await;
    for group in [SalesGroup::Day, SalesGroup::Product, SalesGroup::Country] {
        assert_eq!(it.report(group, None).await, []);
    }
    let (a, b) = (line("a", 6, 255), line("b", 1, 100));
    it.publish("orders", &confirmed("o-1", FIRST_MS, "France", &[a.clone(), b.clone()])).await;
    it.publish("orders", &confirmed("o-2", FIRST_MS + 1, "France", std::slice::from_ref(&a))).await;
    it.publish("orders", &confirmed("o-3", FIRST_MS + DAY_MS, "Spain", &[b, line("c", 2, 50)])).await;
    it.publish("orders", &confirmed("o-4", FIRST_MS + 9 * DAY_MS, "Eire", &[line("d", 1, 1)])).await;

    let by_day = [row("2010-12-01", 1, 7, 1630), row("2010-12-02", 2, 9, 1730), row("2010-12-10", 1, 1, 1)];
    let by_product = [row("a", 2, 12, 3060), row("b", 2, 2, 200), row("c", 1, 2, 100), row("d", 1, 1, 1)];
    let by_country = [row("Eire", 1, 1, 1), row("France", 2, 13, 3160), row("Spain", 1, 3, 200)];
    let check = async || {
        assert_eq!(it.report(SalesGroup::Day, None).await, by_day);
        assert_eq!(it.report(SalesGroup::Product, None).await, by_product);
        assert_eq!(it.report(SalesGroup::Country, None).await, by_country);
    };
    check().await;

    // A replay of everything counts nothing again, also not after a restart.
    it.system.replay("analytics").await;
    it.system.restart("analytics").await;
    it.system.assert_redelivery_changes_nothing().await;
    check().await;
}

#[tokio::test]
async fn a_refund_counts_on_the_day_of_the_sale() {
    let it = Fixture::new().await;
    let kept = confirmed("o-1", FIRST_MS, "France", &[line("a", 6, 255)]);
    let returned = confirmed("o-2", FIRST_MS, "France", &[line("a", 1, 255), line("b", 1, 100)]);
    it.publish("orders", &kept).await;
    it.publish("orders", &returned).await;
    it.publish("orders", &refunded(&returned, FIRST_MS + 3 * DAY_MS)).await;
    assert_eq!(it.report(SalesGroup::Day, None).await, [row("2010-12-01", 1, 6, 1530)]);
    assert_eq!(it.report(SalesGroup::Country, None).await, [row("France", 1, 6, 1530)]);
    assert_eq!(it.report(SalesGroup::Product, None).await, [row("a", 1, 6, 1530), row("b", 0, 0, 0)]);
}

#[tokio::test]
async fn a_report_covers_its_period() {
    let it = Fixture::new().await;
    for i in 0..4 {
        let at_ms = FIRST_MS + i * DAY_MS;
        it.publish("orders", &confirmed(&format!("o-{i}"), at_ms, "France", &[line("a", 1, 100)])).await;
    }
    let second_and_third = Some((FIRST_MS + 1, FIRST_MS + 2 * DAY_MS));
    let days = it.report(SalesGroup::Day, second_and_third).await;
    assert_eq!(days, [row("2010-12-02", 1, 1, 100), row("2010-12-03", 1, 1, 100)]);
    assert_eq!(it.report(SalesGroup::Product, second_and_third).await, [row("a", 2, 2, 200)]);
    assert_eq!(it.report(SalesGroup::Country, Some((0, FIRST_MS))).await, [row("France", 1, 1, 100)]);

    let far = SalesReportRequest {
        to: Some(timestamp(FIRST_MS + 4_000 * DAY_MS)),
        group_by: SalesGroup::Day.into(),
        ..SalesReportRequest::default()
    };
    assert_eq!(it.ask(admin(), far).await.unwrap_err().violations()[0].field, "from");
}

#[tokio::test]
async fn only_admins_and_services_read_the_sales() {
    let it = Fixture::new().await;
    let request = || SalesReportRequest { group_by: SalesGroup::Day.into(), ..SalesReportRequest::default() };
    let customer = it.ask(Identity::user("u-1", &[]), request()).await.unwrap_err();
    assert_eq!(customer.code(), Code::PermissionDenied);
    let anonymous = it.ask(Identity::anonymous(), request()).await.unwrap_err();
    assert_eq!(anonymous.code(), Code::Unauthenticated);
    assert!(it.ask(Identity::service("gateway"), request()).await.is_ok());
    let vague = it.ask(admin(), SalesReportRequest::default()).await.unwrap_err();
    assert_eq!(vague.violations()[0].field, "group_by");
}
