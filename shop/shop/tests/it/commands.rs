//! What the commands say to somebody at a terminal, above all when something is wrong.

use crate::support::{Draft, END_MAX, Person, Setup, Shop, order_id, state, until};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Runs a command that fails, and returns the error object that it ends with.
async fn refused(shop: &Shop, args: &[&str]) -> Value {
    let said = shop.command(args).await.expect_err("it is refused");
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("{args:?} does not end with an object: {said}"))
}

#[track_caller]
fn says(error: &Value, reason: &str, parts: &[&str]) {
    assert_eq!(error["reason"], reason, "{error}");
    let text = format!("{} {} {}", error["message"], error["field"], error["next_step"]);
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_processor_that_dies_is_started_anew_and_the_order_is_confirmed() {
    let shop = Shop::start(Setup::one_process()).await;
    let lamp = shop.admin.product(450, 100).await;
    let customer = Person::register(&shop.client).await;
    let first = beside(&shop).await;
    assert_eq!((first["state"].as_str(), first["restarts"].as_u64()), (Some("READY"), Some(0)), "{first}");
    let text = shop.print(&["status"]).await;
    assert!(text.contains("card-processor  READY"), "{text}");

    // The card is asked for two seconds: long enough to be there when the processor dies.
    let order = order_id(&customer.place(&Draft::of(&lamp, 2).card("tok_slow")).await);
    until(END_MAX, "the card is charged", || async {
        let saga = shop.command(&["sagas", "show", "orders", &order]).await.ok()?;
        (saga["summary"]["step"] == "charge_card").then_some(())
    })
    .await;
    shop.signal("KILL", pid(&first)).await;
    let second = until(END_MAX, "the card processor serves again", || async {
        let second = beside(&shop).await;
        (second["state"] == "READY" && second["restarts"] == 1).then_some(second)
    })
    .await;
    assert_eq!(second["address"], first["address"], "its callers know the port");
    assert_ne!(pid(&second), pid(&first));
    let order = customer.ended(&order).await;
    assert_eq!(state(&order), "CONFIRMED", "{order}");
    shop.settled(&order_id(&order), 900).await;
    shop.audit().await;
    assert!(shop.log().contains("the card processor died; it is started anew"), "{}", shop.log());
    // It ends with the shop: this waits for every process.
    shop.stop().await;
}

async fn beside(shop: &Shop) -> Value {
    shop.status().await.expect("the shop tells its status")["beside"][0].clone()
}

fn pid(companion: &Value) -> u32 {
    companion["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("it runs")
}

/// Checks that others can read nothing in a data folder, also where it is opened to them.
#[track_caller]
fn private(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        // What is made for a moment may be gone.
        let Ok(found) = fs::metadata(&path) else { continue };
        assert_eq!(found.permissions().mode() & 0o077, 0, "{}", path.display());
        if found.is_dir() {
            private(&path);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_refused_with_what_there_is() {
    let shop = Shop::start(Setup::one_process()).await;
    private(&shop.data());
    let error = refused(&shop, &["move", "payments", "--into", "bakc"]).await;
    says(&error, "NOT_FOUND", &["there are main", "--apart", "--into bakc --new"]);
    assert_eq!(shop.process_of("payments").await, "main");
    says(&refused(&shop, &["move", "payments"]).await, "INVALID_FIELD", &["--apart", "--into main"]);
    says(&refused(&shop, &["move", "paymens", "--apart"]).await, "NOT_FOUND", &["payments", "shop status"]);
    shop.command(&["move", "payments", "--into", "back", "--new"])
        .await
        .expect("a process that is asked for");
    assert_eq!(shop.process_of("payments").await, "back");
    private(&shop.data());

    for verb in ["redrive", "drop"] {
        let error = refused(&shop, &["dlq", verb, "loyalti", "--all"]).await;
        says(&error, "NOT_FOUND", &["\\\"loyalti\\\"", "loyalty", "notifications"]);
    }
    let error = refused(&shop, &["dlq", "drop", "loyalty", "third"]).await;
    says(&error, "INVALID_FIELD", &["PARTITION/OFFSET", "dlq list", "LETTER"]);
    says(
        &refused(&shop, &["dlq", "drop", "loyalty", "0/9"]).await,
        "NOT_FOUND",
        &["0/9", "dlq list loyalty"],
    );

    says(&refused(&shop, &["sagas", "--limit", "0"]).await, "INVALID_FIELD", &["--limit", "1..=499"]);
    says(&refused(&shop, &["qqq"]).await, "INVALID_FIELD", &["qqq", "--help"]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_setting_is_told_once() {
    let shop = Shop::start(Setup::one_process()).await;
    let other = shop.data().with_file_name("other");
    let other = other.to_str().expect("a path in UTF-8");
    for placed in [&[][..], &["--apart", "orders"]] {
        let run = ["run", "--port", "0", "--data", other, "--set", "services.orders.flow=3"];
        let said = shop.command(&[&run[..], placed].concat()).await.expect_err("it does not start");
        assert_eq!(
            said.matches("services.orders.flow").count(),
            2,
            "in the message and as the field: {said}"
        );
        let error: Value = serde_json::from_str(said.trim()).expect("nothing but the object");
        assert_eq!(error["field"], "services.orders.flow", "{error}");
    }
    let error = refused(&shop, &["run", "--set", "faults.drop_probability=2"]).await;
    says(&error, "CONFIG_INVALID", &["\"faults.drop_probability\""]);
    let error = refused(&shop, &["run", "--apart", "orders", "--group", "back=orders"]).await;
    says(&error, "INVALID_FIELD", &["--apart orders", "--group back=orders"]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_replays_are_reachable() {
    let shop = Shop::start(Setup::one_process()).await;
    let lamp = shop.admin.product(100, 10).await;
    let customer = Person::register(&shop.client).await;
    let order = customer.buy(&Draft::of(&lamp, 1)).await;
    customer.points(&order_id(&order), &[1]).await;
    let args = ["topics", "replay", "loyalty", "orders", "--from", "start"];
    assert_eq!(shop.command(&args).await.expect("the group reads again")["group"], "loyalty");
    // What it has handled it recognises.
    customer.points(&order_id(&order), &[1]).await;
    let error = refused(&shop, &["topics", "replay", "loyalti", "orders", "--from", "start"]).await;
    says(&error, "NOT_FOUND", &["loyalty"]);
    let error = refused(&shop, &["topics", "replay", "loyalty", "ordres", "--from", "start"]).await;
    says(&error, "NOT_FOUND", &["orders", "shop topics"]);
    let help = shop.print(&["replay", "--help"]).await;
    assert!(help.starts_with("Place the data set's orders") && help.contains("topics replay"), "{help}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_and_a_shop_that_died_are_told_apart() {
    let mut shop = Shop::start(Setup::one_process()).await;
    let error = refused(&shop, &["run", "--port", "0"]).await;
    let pid = format!("process {}", shop.pid());
    says(&error, "DATA_FOLDER_IN_USE", &[&pid, "http://127.0.0.1:", "--data DIR --port PORT"]);

    let pid = format!("process {}", shop.pid());
    shop.kill_root().await;
    // Its books can be read all the same.
    assert_eq!(shop.command(&["audit"]).await.expect("an audit of a shop that died")["passed"], true);
    for command in [&["status"][..], &["topics"], &["move", "payments", "--apart"], &["replay"]] {
        says(&refused(&shop, command).await, "SYSTEM_DIED", &[&pid, "has died", "shop run --data"]);
    }
    shop.restart().await;
    shop.ready().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_waits_for_the_shop_to_come_to_rest() {
    let shop = Shop::start(Setup::one_process()).await;
    let lamp = shop.admin.product(250, 10).await;
    let customer = Person::register(&shop.client).await;
    let order = order_id(&customer.place(&Draft::of(&lamp, 1).card("tok_slow")).await);
    let error = refused(&shop, &["audit", "--wait-s", "0"]).await;
    says(&error, "SHOP_NOT_AT_REST", &["1 order is under way", "--wait-s"]);
    let report = shop.command(&["audit"]).await.expect("it waits, then judges");
    assert_eq!((&report["passed"], &report["orders"]["confirmed"]), (&true.into(), &1.into()), "{report}");
    assert_eq!(state(&customer.ended(&order).await), "CONFIRMED");
    shop.stop().await;
}

/// Damages the first record of the event log that has `text`.
fn damage(folder: &Path, text: &str) {
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("the log").flatten().map(|e| e.path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.is_file()) {
        let mut bytes = std::fs::read(path).expect("a file of the log");
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 1;
            return std::fs::write(path, bytes).expect("it is written");
        }
    }
    panic!("no file of the log has {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_names_the_consumer_group_that_stands_still_and_how_it_goes_on() {
    let mut shop = Shop::start(Setup::one_process()).await;
    let lamp = shop.admin.product(250, 10).await;
    let customer = Person::register(&shop.client).await;
    let mut orders = Vec::new();
    for _ in 0..2 {
        let order = order_id(&customer.place(&Draft::of(&lamp, 1)).await);
        assert_eq!(state(&customer.ended(&order).await), "CONFIRMED");
        orders.push(order);
    }
    shop.command(&["audit"]).await.expect("the books balance");
    shop.kill_root().await;
    // Analytics has lost everything and reads it again; one event cannot be read.
    damage(&shop.data().join("log"), &orders[0]);
    for file in ["analytics.db", "analytics.db-wal", "analytics.db-shm"] {
        let _ = std::fs::remove_file(shop.data().join("stores").join(file));
    }
    shop.restart().await;
    shop.command(&["topics", "replay", "analytics", "orders", "--from", "start"])
        .await
        .expect("it reads again");
    let error = refused(&shop, &["audit", "--wait-s", "60"]).await;
    let still = "the consumer group analytics stands still at orders, partition ";
    says(&error, "CONSUMER_STOPPED", &[still, "is damaged", "topics replay analytics orders --partition "]);
    let next = error["next_step"].as_str().and_then(|text| text.split('`').nth(1)).expect("a command");
    let command: Vec<_> = next.split(' ').skip(1).collect();
    shop.command(&command).await.expect("the next step is possible");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_is_no_failure() {
    let shop = Shop::start(Setup::one_process()).await;
    for command in ["topics", "status", "sagas", "--help"] {
        let (code, said) = shop.print_to_nobody(&[command]).await;
        assert!(matches!(code, Some(0 | 141)), "{command}: {code:?} {said}");
        assert_eq!(said, "", "{command} complains");
    }
    shop.stop().await;
}
