//! The real file. Every number here was counted by another program, in another language, from the same file.

use shop_dataset::{Dataset, Product, SetAside, seed};
use std::collections::{BTreeMap, HashMap, HashSet};

fn dataset() -> Dataset {
    seed().expect("the seed data is readable")
}

#[test]
fn the_report_counts_all_the_dirt() {
    let report = dataset().report;
    assert_eq!(report.lines, 10_000);
    assert_eq!((report.invoices, report.invoices_cancelled), (512, 43));
    assert_eq!((report.stock_codes, report.stock_codes_merged), (2_015, 27));
    assert_eq!(report.lines_without_customer, 2_291);
    assert_eq!((report.lines_price_zero, report.lines_price_negative), (46, 0));
    assert_eq!(report.lines_without_description, 42);
    let not_goods: Vec<_> = report.not_goods.iter().map(|(code, lines)| (code.as_str(), *lines)).collect();
    assert_eq!(not_goods, [("BANK CHARGES", 1), ("C2", 1), ("D", 2), ("DOT", 6), ("M", 10), ("POST", 18)]);
    assert_eq!(
        report.descriptions_conflicting,
        ["22139", "22246", "22632", "22734", "22776", "22777", "22778", "22847", "22849", "22965", "22972"]
    );
    assert_eq!(report.stock_codes_unsellable.len(), 24);
    assert!(report.malformed.is_empty());
}

#[test]
fn every_line_is_accounted_for() {
    let report = dataset().report;
    let set_aside: Vec<_> = report.set_aside.iter().map(|(reason, lines)| (*reason, *lines)).collect();
    let expected = [
        (SetAside::Cancellation, 100),
        (SetAside::NotGoods, 36),
        (SetAside::QuantityNotPositive, 30),
        (SetAside::PriceNotPositive, 16),
        (SetAside::WithoutCustomer, 2_239),
    ];
    assert_eq!(set_aside, expected);
    assert_eq!(report.lines_ordered, 7_579);
    assert_eq!(report.lines_ordered + expected.iter().map(|row| row.1).sum::<usize>(), report.lines);
}

#[test]
fn products_customers_and_orders_are_as_counted() {
    let Dataset { products, customers, orders, report } = dataset();
    assert_eq!((products.len(), customers.len(), orders.len()), (1_958, 323, 400));
    assert_eq!((report.products, report.customers, report.orders), (1_958, 323, 400));
    assert_eq!((report.order_lines, report.units), (7_248, 82_764));
    assert_eq!(products.iter().map(|product| product.price_pence).sum::<i64>(), 706_587);
    assert_eq!(products.iter().map(|product| product.stock).sum::<i64>(), 830_370);

    let prices: HashMap<&str, i64> =
        products.iter().map(|known| (known.id.as_str(), known.price_pence)).collect();
    let total: i64 = orders
        .iter()
        .flat_map(|order| &order.lines)
        .map(|line| line.quantity * prices[line.product_id.as_str()])
        .sum();
    assert_eq!(total, 15_779_155, "every ordered product exists, and the orders are worth 157,791.55 pounds");

    let ordering: HashSet<&str> = orders.iter().map(|order| order.customer_id.as_str()).collect();
    assert_eq!(ordering.len(), 302, "the other 21 have no line that is an order line");
    let known: HashSet<&str> = customers.iter().map(|customer| customer.id.as_str()).collect();
    assert!(orders.iter().all(|order| known.contains(order.customer_id.as_str())));
    assert!(orders.iter().flat_map(|order| &order.lines).all(|line| (1..=2_880).contains(&line.quantity)));
    assert_eq!(orders.iter().map(|order| order.lines.len()).max(), Some(116));
}

#[test]
fn names_prices_and_categories_are_the_best_ones() {
    let products: HashMap<String, Product> =
        dataset().products.into_iter().map(|product| (product.id.clone(), product)).collect();
    for (id, name, price_pence) in [
        ("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 295),
        ("22139", "RETROSPOT TEA SET CERAMIC 11 PC", 425),
        ("22849", "BREAD BIN DINER STYLE MINT", 1_695),
        ("22734", "SET OF 6 RIBBONS VINTAGE CHRISTMAS", 506),
        ("22776", "SWEETHEART CAKESTAND 3 TIER", 995),
    ] {
        let product = &products[id];
        assert_eq!((product.name.as_str(), product.price_pence), (name, price_pence), "{id}");
    }
    let mut categories: BTreeMap<&str, usize> = BTreeMap::new();
    for product in products.values() {
        *categories.entry(product.category).or_default() += 1;
    }
    let categories: Vec<_> = categories.into_iter().collect();
    assert_eq!(
        categories,
        [
            ("Bags & Umbrellas", 130),
            ("Candles & Lights", 170),
            ("Christmas", 97),
            ("Garden", 47),
            ("Home & Decoration", 685),
            ("Jewellery", 118),
            ("Kitchen & Dining", 323),
            ("Paper & Stationery", 210),
            ("Party", 69),
            ("Toys & Children", 109),
        ]
    );
}

#[test]
fn the_first_order_is_the_first_invoice() {
    let dataset = dataset();
    let first = &dataset.orders[0];
    assert_eq!((first.invoice.as_str(), first.customer_id.as_str()), ("536365", "17850"));
    assert_eq!(first.placed_at, "2010-12-01T08:26:00");
    let lines: Vec<_> = first.lines.iter().map(|line| (line.product_id.as_str(), line.quantity)).collect();
    let expected = [
        ("85123A", 6),
        ("71053", 6),
        ("84406B", 8),
        ("84029G", 6),
        ("84029E", 6),
        ("22752", 2),
        ("21730", 6),
    ];
    assert_eq!(lines, expected);
    assert_eq!(dataset.orders.last().map(|order| order.invoice.as_str()), Some("537224"));
}
