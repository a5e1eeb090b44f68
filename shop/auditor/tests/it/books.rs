//! What the auditor says of books in files.

use crate::shop::{CANCELLED, CONFIRMED, REFUNDED, Shop};
use serde_json::Value;
use shop_auditor::{Error, Report, audit, audit_at_rest};
use std::process::Command;
use std::time::Duration;

fn failed(report: &Report) -> Vec<&str> {
    report.checks.iter().filter(|check| !check.passed).map(|check| check.name).collect()
}

#[test]
fn books_that_balance_pass_also_while_the_services_run() {
    let shop = Shop::new();
    let running: Vec<_> = ["orders", "inventory", "payments"].map(|service| shop.store(service)).into();
    let report = audit(&shop.options).expect("the books are readable");
    assert!(report.passed, "{report}");
    assert_eq!((report.orders.total, report.orders.confirmed, report.orders.refunded), (3, 1, 1));
    assert!(report.checks.iter().all(|check| check.examined > 0), "{report}");
    drop(running);
}

#[test]
fn every_store_is_really_compared() {
    for (service, damage, check) in [
        ("orders", "UPDATE orders SET state = 1 WHERE order_id = 'order-2'", "orders_final"),
        ("orders", "UPDATE orders SET total_minor = 76400 WHERE order_id = 'order-2'", "order_totals"),
        ("inventory", "UPDATE stock SET on_hand = 699", "stock_conserved"),
        (
            "inventory",
            "DELETE FROM movements WHERE cause = 'order-2' AND kind = 'released'",
            "stock_follows_orders",
        ),
        ("payments", "UPDATE payments SET state = 1 WHERE order_id = 'order-1'", "payments_follow_ledger"),
        ("shipping", "UPDATE shipments SET state = 1 WHERE order_id = 'order-2'", "shipments_follow_orders"),
        (
            "notifications",
            "UPDATE emails SET sent_ms = NULL WHERE order_id = 'order-1'",
            "emails_follow_orders",
        ),
        ("loyalty", "DELETE FROM entries WHERE order_id = 'order-1'", "points_follow_orders"),
        (
            "analytics",
            "UPDATE sales_by_country SET revenue_minor = 1 WHERE country = 'France'",
            "sales_follow_orders",
        ),
    ] {
        let shop = Shop::new();
        shop.change(service, damage);
        let report = audit(&shop.options).expect("the books are readable");
        assert!(failed(&report).contains(&check), "{damage}: {report}");
    }
}

#[test]
fn a_second_charge_and_money_for_no_order_are_found() {
    let shop = Shop::new();
    shop.charge(CONFIRMED, 76_500);
    shop.charge("order-9", 1);
    let report = audit(&shop.options).expect("the books are readable");
    assert_eq!(failed(&report), ["ledger_follows_orders", "ledger_sums_up", "payments_follow_ledger"]);
    let offenders = &report.check("ledger_follows_orders").expect("it always runs").offenders;
    let ids: Vec<&str> = offenders.iter().map(|offender| offender.id.as_str()).collect();
    assert_eq!(ids, ["order-9", CONFIRMED]);
}

#[test]
fn a_long_ledger_is_read_to_its_end() {
    let shop = Shop::new();
    for _ in 0..1_100 {
        shop.charge(REFUNDED, 1);
    }
    let report = audit(&shop.options).expect("the books are readable");
    assert_eq!(report.check("ledger_sums_up").expect("it always runs").examined, 1_105);
}

#[test]
fn an_audit_waits_for_what_follows_a_moment_later() {
    let shop = Shop::new();
    shop.change("notifications", "UPDATE emails SET sent_ms = NULL");
    let late = std::thread::scope(|scope| {
        let auditor = scope.spawn(|| audit_at_rest(&shop.options, Duration::from_secs(20)));
        shop.change("notifications", "UPDATE emails SET sent_ms = 1");
        auditor.join().expect("no panic")
    });
    assert!(late.expect("the books are readable").passed);

    shop.change("orders", "UPDATE orders SET state = 1 WHERE order_id = 'order-2'");
    let report = audit_at_rest(&shop.options, Duration::from_millis(300)).expect("the books are readable");
    let offenders = &report.check("orders_final").expect("it always runs").offenders;
    assert_eq!(offenders[0].id, CANCELLED);
}

#[test]
fn books_that_cannot_be_read_are_an_error_and_not_a_pass() {
    let shop = Shop::new();
    shop.change("loyalty", "ALTER TABLE entries RENAME TO points");
    assert!(matches!(audit(&shop.options), Err(Error::Store { store, .. }) if store.ends_with("loyalty.db")));
    std::fs::remove_file(shop.folder().join("stores/inventory.db")).expect("it exists");
    assert!(
        matches!(audit(&shop.options), Err(Error::Store { store, .. }) if store.ends_with("inventory.db"))
    );

    let shop = Shop::new();
    shop.change("orders", "UPDATE orders SET placed = x'0a' WHERE order_id = 'order-3'");
    assert!(matches!(audit(&shop.options), Err(Error::Row { id, .. }) if id == REFUNDED));

    let Shop { runtime, processor, options, .. } = Shop::new();
    runtime.block_on(processor.stop()).expect("the processor stops");
    assert!(audit(&options).is_err());
}

#[test]
fn the_program_prints_and_exits_by_the_verdict() {
    let shop = Shop::new();
    let run = |more: &[&str]| {
        let program = env!("CARGO_BIN_EXE_shop-auditor");
        let mut command = Command::new(program);
        command
            .arg("--data")
            .arg(shop.folder())
            .args(["--processor", &shop.options.processor_url])
            .args(more);
        let output = command.output().expect("the program runs");
        (output.status.success(), String::from_utf8(output.stdout).expect("text"))
    };
    let (passed, text) = run(&[]);
    assert!(passed && text.contains("the books balance"), "{text}");
    shop.change("loyalty", "UPDATE entries SET points = 1 WHERE order_id = 'order-1'");
    let (passed, text) = run(&["--json"]);
    let json: Value = serde_json::from_str(&text).expect("JSON");
    assert!(!passed && json["passed"] == false, "{text}");
    let check =
        json["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["passed"] == false));
    assert_eq!(check.map(|check| check["offenders"][0]["id"].clone()), Some(CONFIRMED.into()));
}
