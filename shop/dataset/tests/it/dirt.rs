//! Small files, each kind of dirt alone.

use shop_dataset::{Dataset, Error, SetAside, from_csv, from_csv_gz};

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

fn read(lines: &str) -> Dataset {
    from_csv(format!("{HEADER}{lines}").as_bytes()).expect("the file as a whole is readable")
}

#[test]
fn lines_of_one_product_are_merged_and_letter_case_does_not_matter() {
    let dataset = read(
        "1,85123a,HEART  HOLDER ,6,12-01-2010 08:26,2.55,17850,United Kingdom\n\
         1,22423,\"CAKESTAND, 3 TIER\",1,12-01-2010 08:26,12.75,17850,United Kingdom\n\
         1,85123A,HEART HOLDER,4,12-01-2010 08:26,2.95,17850,United Kingdom\n",
    );
    assert_eq!(dataset.orders.len(), 1);
    let order = &dataset.orders[0];
    assert_eq!(order.placed_at, "2010-12-01T08:26:00");
    let lines: Vec<_> = order.lines.iter().map(|line| (line.product_id.as_str(), line.quantity)).collect();
    assert_eq!(lines, [("85123A", 10), ("22423", 1)]);
    let products: Vec<_> =
        dataset.products.iter().map(|product| (product.name.as_str(), product.stock)).collect();
    assert_eq!(products, [("CAKESTAND, 3 TIER", 10), ("HEART HOLDER", 100)]);
    assert_eq!(dataset.products[1].price_pence, 255, "the lower middle of two");
    assert_eq!(dataset.report.stock_codes_merged, 1);
    assert!(dataset.report.descriptions_conflicting.is_empty(), "blanks make no difference");
    assert_eq!(dataset.customers[0].email(), "customer-17850@example.com");
}

#[test]
fn every_line_that_is_no_order_line_has_its_reason() {
    let dataset = read(
        "1,22423,CAKESTAND,1,12-01-2010 08:26,12.75,17850,United Kingdom\n\
         C2,22423,CAKESTAND,-1,12-01-2010 08:26,12.75,17850,United Kingdom\n\
         3,POST,POSTAGE,1,12-01-2010 08:26,18.00,17850,France\n\
         4,22423,,-5,12-01-2010 08:26,0,,United Kingdom\n\
         5,22423,CAKESTAND,5,12-01-2010 08:26,0,17850,United Kingdom\n\
         6,22423,CAKESTAND,5,12-01-2010 08:26,12.75,,United Kingdom\n\
         7,99999,,5,12-01-2010 08:26,1.00,17850,United Kingdom\n\
         8,22423,CAKESTAND,many,12-01-2010 08:26,12.75,17850,United Kingdom\n",
    );
    let reasons: Vec<_> = dataset.report.set_aside.iter().map(|(reason, lines)| (*reason, *lines)).collect();
    let expected = [
        SetAside::Malformed,
        SetAside::Cancellation,
        SetAside::NotGoods,
        SetAside::QuantityNotPositive,
        SetAside::PriceNotPositive,
        SetAside::WithoutCustomer,
        SetAside::ProductWithoutName,
    ];
    assert_eq!(reasons, expected.map(|reason| (reason, 1)));
    assert_eq!((dataset.report.lines, dataset.report.lines_ordered), (8, 1));
    assert_eq!(dataset.report.malformed[0].line, 9);
    assert!(dataset.report.malformed[0].problem.contains("many"), "{:?}", dataset.report.malformed);
}

#[test]
fn malformed_lines_say_what_is_wrong_with_them() {
    for (line, part) in [
        ("1,22423,CAKESTAND,1,12-01-2010 08:26,12.75,17850", "7 columns"),
        ("1,22423,CAKESTAND,1,12-01-2010 08:26,12.75,17850,France,more", "9 columns"),
        ("1,22423,CAKESTAND,1.5,12-01-2010 08:26,12.75,17850,France", "Quantity"),
        ("1,22423,CAKESTAND,1,2010-12-01 08:26,12.75,17850,France", "InvoiceDate"),
        ("1,22423,CAKESTAND,1,12-01-2010 08:26,12.755,17850,France", "UnitPrice"),
        (",22423,CAKESTAND,1,12-01-2010 08:26,12.75,17850,France", "InvoiceNo"),
        ("1,,CAKESTAND,1,12-01-2010 08:26,12.75,17850,France", "StockCode"),
        ("1,22423,CAKESTAND,1,12-01-2010 08:26,12.75,17850,", "Country"),
    ] {
        let report = read(line).report;
        assert_eq!((report.lines, report.malformed.len()), (1, 1), "{line}");
        assert!(report.malformed[0].problem.contains(part), "{line}: {:?}", report.malformed);
    }
}

#[test]
fn text_that_is_not_utf8_costs_only_its_line() {
    let mut bytes = HEADER.as_bytes().to_vec();
    bytes.extend(b"1,22423,CAF\xC9,1,12-01-2010 08:26,12.75,17850,France\n");
    bytes.extend(b"1,22423,CAKESTAND,1,12-01-2010 08:26,12.75,17850,France\n");
    let report = from_csv(bytes.as_slice()).expect("the rest is readable").report;
    assert_eq!((report.malformed.len(), report.malformed[0].line, report.lines_ordered), (1, 2, 1));
}

#[test]
fn another_file_is_refused() {
    assert!(matches!(from_csv("name,price\nx,1\n".as_bytes()), Err(Error::Columns { .. })));
    assert!(matches!(from_csv("".as_bytes()), Err(Error::Columns { .. })));
    assert!(matches!(from_csv_gz("not gzip at all".as_bytes()), Err(Error::Read(_))));
    assert_eq!(from_csv(HEADER.as_bytes()).expect("an empty file is no error"), Dataset::default());
}
