//! The analytics store: sums by day, and which orders are in them.

use crate::domain::{Count, Day, Report, Sale, date};
use banyan::prelude::*;
use shop_contracts::analytics::v1::{SalesGroup, SalesRow};
use shop_contracts::types::v1::Money;
use std::ops::Range;

pub(crate) const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "sales",
    Statement::new(
        "CREATE TABLE counted (
            order_id VARCHAR(255) NOT NULL,
            kind INTEGER NOT NULL,
            at_ms BIGINT NOT NULL,
            PRIMARY KEY (order_id, kind)
          );
          CREATE TABLE sales_by_product (
            day BIGINT NOT NULL,
            product_id VARCHAR(255) NOT NULL,
            orders BIGINT NOT NULL,
            units BIGINT NOT NULL,
            revenue_minor BIGINT NOT NULL,
            PRIMARY KEY (day, product_id)
          );
          CREATE TABLE sales_by_country (
            day BIGINT NOT NULL,
            country VARCHAR(255) NOT NULL,
            orders BIGINT NOT NULL,
            units BIGINT NOT NULL,
            revenue_minor BIGINT NOT NULL,
            PRIMARY KEY (day, country)
          );",
    ),
)];

statements! {
    pub(crate) STATEMENTS;
    MARK_COUNTED = "INSERT INTO counted (order_id, kind, at_ms) VALUES ($1, $2, $3) ON CONFLICT (order_id, kind) DO NOTHING",
        mysql "INSERT IGNORE INTO counted (order_id, kind, at_ms) VALUES ($1, $2, $3)";
    ADD_TO_PRODUCT = "INSERT INTO sales_by_product (day, product_id, orders, units, revenue_minor) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (day, product_id) DO UPDATE SET
               orders = sales_by_product.orders + $3,
               units = sales_by_product.units + $4,
               revenue_minor = sales_by_product.revenue_minor + $5",
        mysql "INSERT INTO sales_by_product (day, product_id, orders, units, revenue_minor) VALUES ($1, $2, $3, $4, $5)
             ON DUPLICATE KEY UPDATE
               orders = sales_by_product.orders + $3,
               units = sales_by_product.units + $4,
               revenue_minor = sales_by_product.revenue_minor + $5";
    ADD_TO_COUNTRY = "INSERT INTO sales_by_country (day, country, orders, units, revenue_minor) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (day, country) DO UPDATE SET
           orders = sales_by_country.orders + $3,
           units = sales_by_country.units + $4,
           revenue_minor = sales_by_country.revenue_minor + $5",
        mysql "INSERT INTO sales_by_country (day, country, orders, units, revenue_minor) VALUES ($1, $2, $3, $4, $5)
         ON DUPLICATE KEY UPDATE
           orders = sales_by_country.orders + $3,
           units = sales_by_country.units + $4,
           revenue_minor = sales_by_country.revenue_minor + $5";
    FIRST_DAY = "SELECT MIN(day) AS day FROM sales_by_country";
    BY_DAY = "SELECT day, CAST(SUM(orders) AS BIGINT) AS orders, CAST(SUM(units) AS BIGINT) AS units,
            CAST(SUM(revenue_minor) AS BIGINT) AS revenue_minor
     FROM sales_by_country WHERE day >= $1 AND day < $2 AND day > $3
     GROUP BY day ORDER BY day LIMIT $4",
        mysql "SELECT day, CAST(SUM(orders) AS SIGNED) AS orders, CAST(SUM(units) AS SIGNED) AS units,
            CAST(SUM(revenue_minor) AS SIGNED) AS revenue_minor
     FROM sales_by_country WHERE day >= $1 AND day < $2 AND day > $3
     GROUP BY day ORDER BY day LIMIT $4";
    BY_PRODUCT = "SELECT product_id AS name, CAST(SUM(orders) AS BIGINT) AS orders,
            CAST(SUM(units) AS BIGINT) AS units, CAST(SUM(revenue_minor) AS BIGINT) AS revenue_minor
     FROM sales_by_product WHERE day >= $1 AND day < $2 AND product_id > $3
     GROUP BY product_id ORDER BY product_id LIMIT $4",
        mysql "SELECT product_id AS name, CAST(SUM(orders) AS SIGNED) AS orders,
            CAST(SUM(units) AS SIGNED) AS units, CAST(SUM(revenue_minor) AS SIGNED) AS revenue_minor
     FROM sales_by_product WHERE day >= $1 AND day < $2 AND product_id > $3
     GROUP BY product_id ORDER BY product_id LIMIT $4";
    BY_COUNTRY = "SELECT country AS name, CAST(SUM(orders) AS BIGINT) AS orders,
            CAST(SUM(units) AS BIGINT) AS units, CAST(SUM(revenue_minor) AS BIGINT) AS revenue_minor
     FROM sales_by_country WHERE day >= $1 AND day < $2 AND country > $3
     GROUP BY country ORDER BY country LIMIT $4",
        mysql "SELECT country AS name, CAST(SUM(orders) AS SIGNED) AS orders,
            CAST(SUM(units) AS SIGNED) AS units, CAST(SUM(revenue_minor) AS SIGNED) AS revenue_minor
     FROM sales_by_country WHERE day >= $1 AND day < $2 AND country > $3
     GROUP BY country ORDER BY country LIMIT $4";
}

/// Counts a sale. Does nothing if it was counted before.
pub(crate) fn count(tx: &mut Tx<'_>, sale: &Sale) -> Result<()> {
    let now_ms = tx.now_ms();
    let new = tx.execute(MARK_COUNTED, params![&sale.order_id, sale.kind as i32, now_ms])?;
    if new == 0 {
        return Ok(());
    }
    for (product_id, count) in &sale.products {
        add(tx, ADD_TO_PRODUCT, sale.day, product_id, count)?;
    }
    add(tx, ADD_TO_COUNTRY, sale.day, &sale.country, &sale.whole)
}

fn add(tx: &mut Tx<'_>, statement: Statement, day: Day, key: &str, count: &Count) -> Result<()> {
    tx.execute(statement, params![day, key, count.orders, count.units, count.revenue_minor]).map(drop)
}

/// Returns the day of the first sale; `None` before it.
pub(crate) fn first_day(q: &mut impl Query) -> Result<Option<Day>> {
    q.query_one(FIRST_DAY, params![], |row| row.get("day"))
}

/// Returns the rows of a report's page, and one more if there is a further page; each with the token of the page after it.
pub(crate) fn rows(q: &mut impl Query, report: &Report, days: Range<Day>) -> Result<Vec<(String, SalesRow)>> {
    let (token, limit) = (report.page.token(), report.page.limit());
    let by_name = |row: &Row<'_>| {
        let name: String = row.get("name")?;
        Ok((name.clone(), sales_row(row, name)?))
    };
    match report.group {
        SalesGroup::Product => q.query(BY_PRODUCT, params![days.start, days.end, token, limit], by_name),
        SalesGroup::Country => q.query(BY_COUNTRY, params![days.start, days.end, token, limit], by_name),
        SalesGroup::Day | SalesGroup::Unspecified => {
            // The token of this group is a day's number: the report was checked; the first page comes after no day.
            let after = token.parse::<Day>().unwrap_or(-1);
            q.query(BY_DAY, params![days.start, days.end, after, limit], |row| {
                let day: Day = row.get("day")?;
                Ok((day.to_string(), sales_row(row, date(day))?))
            })
        }
    }
}

fn sales_row(row: &Row<'_>, key: String) -> Result<SalesRow> {
    Ok(SalesRow {
        key,
        orders: row.get("orders")?,
        units: row.get("units")?,
        revenue: Some(Money::gbp(row.get("revenue_minor")?)),
    })
}
