//! What a sale counts and what a report covers: pure decisions, no I/O.

use banyan::prelude::*;
use shop_contracts::analytics::v1::{SalesGroup, SalesReportRequest};
use shop_contracts::money::GBP;
use shop_contracts::orders::v1::{OrderConfirmed, OrderRefunded};
use shop_contracts::paging::Page;
use shop_contracts::time::unix_ms;
use shop_contracts::types::v1::{LineItem, Money};
use std::collections::BTreeMap;
use std::ops::Range;

const DAY_MS: u64 = 24 * 3_600_000;

/// A day (UTC), counted from 1970-01-01.
pub(crate) type Day = i64;

/// What happened to an order; each happens at most once. The numbers are kept in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sold = 1,
    TakenBack = 2,
}

/// What is added to a sum; below zero for what is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) orders: i64,
    pub(crate) units: i64,
    pub(crate) revenue_minor: i64,
}

/// An order as it is counted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sale {
    pub(crate) order_id: String,
    pub(crate) kind: Kind,
    /// When the order was confirmed.
    pub(crate) day: Day,
    pub(crate) country: String,
    pub(crate) whole: Count,
    pub(crate) products: BTreeMap<String, Count>,
}

/// A checked request for a report.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) group: SalesGroup,
    /// `None`: from the first sale.
    pub(crate) from: Option<Day>,
    pub(crate) to: Day,
    /// Its tokens are keys of rows; of a day, its number.
    pub(crate) page: Page,
}

impl Sale {
    pub(crate) fn sold(order: &OrderConfirmed) -> Result<Self> {
        let day = day_of(&order.order_id, order.confirmed_at.as_ref())?;
        Self::count(Kind::Sold, &order.order_id, day, &order.country, &order.lines, &order.total)
    }

    pub(crate) fn taken_back(order: &OrderRefunded) -> Result<Self> {
        let day = day_of(&order.order_id, order.confirmed_at.as_ref())?;
        Self::count(Kind::TakenBack, &order.order_id, day, &order.country, &order.lines, &order.total)
    }

    fn count(
        kind: Kind,
        order_id: &str,
        day: Day,
        country: &str,
        lines: &[LineItem],
        total: &Option<Money>,
    ) -> Result<Self> {
        let sign = if kind == Kind::Sold { 1 } else { -1 };
        let mut whole = Count { orders: sign, units: 0, revenue_minor: sign * pence(order_id, total)? };
        let mut products = BTreeMap::<String, Count>::new();
        for line in lines {
            let product = products.entry(line.product_id.clone()).or_default();
            // A product counts one order, however many lines it has.
            product.orders = sign;
            product.units += sign * i64::from(line.quantity);
            product.revenue_minor += sign * pence(order_id, &line.total)?;
            whole.units += sign * i64::from(line.quantity);
        }
        let (order_id, country) = (order_id.to_owned(), country.to_owned());
        Ok(Self { order_id, kind, day, country, whole, products })
    }
}

fn day_of(order_id: &str, confirmed_at: Option<&prost_types::Timestamp>) -> Result<Day> {
    let at = confirmed_at.and_then(|at| unix_ms("confirmed_at", at).ok());
    at.map(day)
        .ok_or_else(|| Error::data_loss(format!("an event of order {order_id} has no confirmation time")))
}

fn pence(order_id: &str, money: &Option<Money>) -> Result<i64> {
    // Bounded so that no sum of an order's lines is beyond 64 bits.
    const PENCE_MAX: i64 = i64::MAX / 1_000_000;
    match money {
        Some(m) if m.currency_code == GBP && (0..=PENCE_MAX).contains(&m.minor_units) => Ok(m.minor_units),
        _ => {
            Err(Error::data_loss(format!("an event of order {order_id} has an amount that is not in {GBP}")))
        }
    }
}

impl Report {
    /// Checks a request that comes at `now_ms`.
    pub(crate) fn new(req: SalesReportRequest, now_ms: u64) -> Result<Self> {
        let group = match req.group_by() {
            SalesGroup::Unspecified => {
                return Err(Error::invalid("group_by", "must be DAY, PRODUCT or COUNTRY"));
            }
            group => group,
        };
        let from = req.from.as_ref().map(|from| unix_ms("from", from)).transpose()?.map(day);
        let to = req.to.as_ref().map(|to| unix_ms("to", to)).transpose()?;
        let to = to.map_or(day(now_ms) + 1, |to| day(to.saturating_add(DAY_MS - 1)));
        if from.is_some_and(|from| from > to) {
            return Err(Error::invalid("to", "must not be before from"));
        }
        let is_key = |token: &str| group != SalesGroup::Day || token.parse::<Day>().is_ok();
        let page = Page::with_tokens(req.page_size, req.page_token, is_key)?;
        Ok(Self { group, from, to, page })
    }

    /// Returns the days that the report covers when the first sale was on the day `first`.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] if they are more than `days_max`.
    pub(crate) fn days(&self, first: Day, days_max: u32) -> Result<Range<Day>> {
        // What lies before the first sale costs nothing.
        let from = self.from.unwrap_or(first).max(first);
        match self.to.saturating_sub(from) > i64::from(days_max) {
            true => Err(Error::invalid("from", format!("a report covers at most {days_max} days"))),
            false => Ok(from..self.to),
        }
    }
}

/// Returns the day of an instant in milliseconds since the Unix epoch.
fn day(unix_ms: u64) -> Day {
    i64::try_from(unix_ms / DAY_MS).expect("2^64 milliseconds are fewer than 2^63 days")
}

/// Writes a day as `2010-12-01`. (The algorithm is Howard Hinnant's `civil_from_days`, which counts years from March.)
pub(crate) fn date(day: Day) -> String {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{of_month:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shop_contracts::time::timestamp;

    /// 2010-12-01T08:26:00Z, the first invoice of the seed data.
    const FIRST_MS: u64 = 1_291_191_960_000;
    const FIRST: Day = 14_944;

    fn line(product_id: &str, quantity: i32, pence: i64) -> LineItem {
        LineItem::priced(product_id.into(), product_id.into(), quantity, Money::gbp(pence)).unwrap()
    }

    fn confirmed() -> OrderConfirmed {
        OrderConfirmed {
            order_id: "o-1".into(),
            lines: vec![line("a", 6, 255), line("b", 1, 100), line("a", 2, 200)],
            total: Some(Money::gbp(2_030)),
            country: "France".into(),
            confirmed_at: Some(timestamp(FIRST_MS)),
            ..OrderConfirmed::default()
        }
    }

    fn request() -> SalesReportRequest {
        SalesReportRequest { group_by: SalesGroup::Product.into(), ..SalesReportRequest::default() }
    }

    #[test]
    fn a_product_counts_an_order_once() {
        let sale = Sale::sold(&confirmed()).unwrap();
        assert_eq!((sale.day, sale.country.as_str()), (FIRST, "France"));
        assert_eq!(sale.whole, Count { orders: 1, units: 9, revenue_minor: 2_030 });
        assert_eq!(sale.products["a"], Count { orders: 1, units: 8, revenue_minor: 1_930 });
        assert_eq!(sale.products["b"], Count { orders: 1, units: 1, revenue_minor: 100 });
    }

    #[test]
    fn a_refund_is_the_opposite_of_its_sale() {
        let OrderConfirmed { order_id, lines, total, country, confirmed_at, .. } = confirmed();
        let sold = Sale::sold(&confirmed()).unwrap();
        let refunded_at = Some(timestamp(FIRST_MS + 5 * DAY_MS));
        let refunded = OrderRefunded {
            order_id,
            lines,
            total,
            country,
            confirmed_at,
            refunded_at,
            ..OrderRefunded::default()
        };
        let back = Sale::taken_back(&refunded).unwrap();
        assert_eq!((back.day, back.kind), (sold.day, Kind::TakenBack));
        let opposite =
            |c: &Count| Count { orders: -c.orders, units: -c.units, revenue_minor: -c.revenue_minor };
        assert_eq!(back.whole, opposite(&sold.whole));
        for (product, count) in &sold.products {
            assert_eq!(back.products[product], opposite(count));
        }
    }

    #[test]
    fn an_event_without_its_facts_is_not_an_event() {
        type Spoil = fn(&mut OrderConfirmed);
        let cases: [Spoil; 4] = [
            |o| o.total = None,
            |o| o.confirmed_at = None,
            |o| o.lines[1].total = None,
            |o| o.total.as_mut().unwrap().currency_code = "EUR".into(),
        ];
        for spoil in cases {
            let mut order = confirmed();
            spoil(&mut order);
            assert_eq!(Sale::sold(&order).unwrap_err().code(), Code::DataLoss);
        }
    }

    #[test]
    fn days_are_written_as_people_write_them() {
        for (day, text) in [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (FIRST, "2010-12-01"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(date(day), text);
        }
    }

    #[test]
    fn a_period_is_whole_days() {
        let (from, to) = (Some(timestamp(FIRST_MS)), Some(timestamp(FIRST_MS)));
        let report = Report::new(SalesReportRequest { from, to, ..request() }, 0).unwrap();
        assert_eq!(report.days(0, 1).unwrap(), FIRST..FIRST + 1);
        let midnight = Some(timestamp(FIRST as u64 * DAY_MS));
        let report =
            Report::new(SalesReportRequest { from: midnight, to: midnight, ..request() }, 0).unwrap();
        assert!(report.days(0, 1).unwrap().is_empty());
        let open = Report::new(request(), FIRST_MS).unwrap();
        assert_eq!(open.days(FIRST - 9, 10).unwrap(), FIRST - 9..FIRST + 1);
    }

    #[test]
    fn a_long_period_is_refused() {
        let open = Report::new(request(), FIRST_MS).unwrap();
        assert_eq!(open.days(FIRST - 10, 10).unwrap_err().violations()[0].field, "from");
        // Days before the first sale do not count.
        let early = SalesReportRequest { from: Some(timestamp(0)), ..request() };
        assert!(Report::new(early, FIRST_MS).unwrap().days(FIRST - 9, 10).is_ok());
    }

    #[test]
    fn a_bad_request_is_refused_by_the_field() {
        type Spoil = fn(&mut SalesReportRequest);
        let cases: [(&str, Spoil); 7] = [
            ("group_by", |r| r.group_by = 0),
            ("group_by", |r| r.group_by = 99),
            ("from", |r| r.from = Some(prost_types::Timestamp { seconds: -1, nanos: 0 })),
            ("to", |r| r.to = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 })),
            ("to", |r| (r.from, r.to) = (Some(timestamp(2 * DAY_MS)), Some(timestamp(DAY_MS)))),
            ("page_size", |r| r.page_size = 101),
            ("page_token", |r| (r.group_by, r.page_token) = (SalesGroup::Day.into(), "x".into())),
        ];
        for (field, spoil) in cases {
            let mut request = request();
            spoil(&mut request);
            assert_eq!(Report::new(request, FIRST_MS).unwrap_err().violations()[0].field, field);
        }
    }
}
