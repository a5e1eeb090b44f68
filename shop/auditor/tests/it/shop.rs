//! A shop's books as files: stores with the layouts of the services, and a card processor with a ledger.

use rusqlite::Connection;
use serde_json::{Value, json};
use shop_auditor::Options;
use shop_processor::Processor;
use std::path::Path;
use tokio::runtime::Runtime;

pub(crate) const CONFIRMED: &str = "order-1";
pub(crate) const CANCELLED: &str = "order-2";
pub(crate) const REFUNDED: &str = "order-3";

const LAYOUTS: [(&str, &str); 7] = [
    (
        "orders",
        "CREATE TABLE orders (order_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, state INTEGER NOT NULL,
           flow INTEGER NOT NULL, total_minor BIGINT NOT NULL, country TEXT NOT NULL, placed BLOB NOT NULL)",
    ),
    (
        "inventory",
        "CREATE TABLE stock (product_id TEXT PRIMARY KEY, on_hand INTEGER NOT NULL, reserved INTEGER NOT NULL);
         CREATE TABLE movements (cause TEXT NOT NULL, product_id TEXT NOT NULL, kind TEXT NOT NULL,
           quantity INTEGER NOT NULL, at_ms BIGINT NOT NULL, PRIMARY KEY (cause, product_id, kind))",
    ),
    (
        "payments",
        "CREATE TABLE payments (order_id TEXT PRIMARY KEY, state INTEGER NOT NULL, amount_minor BIGINT NOT NULL)",
    ),
    ("shipping", "CREATE TABLE shipments (order_id TEXT PRIMARY KEY, state INTEGER NOT NULL)"),
    (
        "notifications",
        "CREATE TABLE emails (order_id TEXT NOT NULL, kind INTEGER NOT NULL, user_id TEXT NOT NULL, sent_ms BIGINT,
           PRIMARY KEY (order_id, kind))",
    ),
    (
        "loyalty",
        "CREATE TABLE entries (order_id TEXT NOT NULL, kind INTEGER NOT NULL, user_id TEXT NOT NULL,
           points BIGINT NOT NULL, PRIMARY KEY (order_id, kind))",
    ),
    (
        "analytics",
        "CREATE TABLE sales_by_product (day BIGINT NOT NULL, product_id TEXT NOT NULL, orders BIGINT NOT NULL,
           units BIGINT NOT NULL, revenue_minor BIGINT NOT NULL, PRIMARY KEY (day, product_id));
         CREATE TABLE sales_by_country (day BIGINT NOT NULL, country TEXT NOT NULL, orders BIGINT NOT NULL,
           units BIGINT NOT NULL, revenue_minor BIGINT NOT NULL, PRIMARY KEY (day, country))",
    ),
];

/// Each order is 300 pieces of 85123A for 76,500 pence, of which 1,000 were received: one order confirmed, one
/// cancelled after its card was charged, one refunded.
const ROWS: [(&str, &str); 7] = [
    (
        "orders",
        "INSERT INTO orders VALUES ('order-1', 'user-1', 2, 1, 76500, 'France', x'PLACED'),
           ('order-2', 'user-1', 3, 1, 76500, 'France', x'PLACED'),
           ('order-3', 'user-2', 4, 2, 76500, 'Spain', x'PLACED')",
    ),
    (
        "inventory",
        "INSERT INTO stock VALUES ('85123A', 700, 0);
         INSERT INTO movements VALUES ('count-1', '85123A', 'received', 1100, 0), ('count-2', '85123A', 'received', -100, 0),
           ('order-1', '85123A', 'reserved', 300, 0), ('order-1', '85123A', 'shipped', 300, 0),
           ('order-2', '85123A', 'reserved', 300, 0), ('order-2', '85123A', 'released', 300, 0),
           ('order-3', '85123A', 'reserved', 300, 0), ('order-3', '85123A', 'shipped', 300, 0),
           ('order-3', '85123A', 'restocked', 300, 0)",
    ),
    ("payments", "INSERT INTO payments VALUES ('order-1', 2, 76500), ('order-2', 4, 76500), ('order-3', 4, 76500)"),
    ("shipping", "INSERT INTO shipments VALUES ('order-1', 3), ('order-2', 2), ('order-3', 2)"),
    (
        "notifications",
        "INSERT INTO emails VALUES ('order-1', 1, 'user-1', 1), ('order-2', 2, 'user-1', 1), ('order-3', 1, 'user-2', 1),
           ('order-3', 3, 'user-2', 1)",
    ),
    (
        "loyalty",
        "INSERT INTO entries VALUES ('order-1', 1, 'user-1', 765), ('order-3', 1, 'user-2', 765),
           ('order-3', 2, 'user-2', -765)",
    ),
    (
        "analytics",
        "INSERT INTO sales_by_product VALUES (1, '85123A', 2, 600, 153000), (2, '85123A', -1, -300, -76500);
         INSERT INTO sales_by_country VALUES (1, 'France', 1, 300, 76500), (1, 'Spain', 1, 300, 76500),
           (2, 'Spain', -1, -300, -76500)",
    ),
];

/// An encoded `OrderPlaced` with one line: 300 pieces of 85123A for 76,500 pence.
const PLACED: &str = "0a016f1a150a0638353132334118ac022a080a02474210d4d5043801";

pub(crate) struct Shop {
    pub(crate) runtime: Runtime,
    pub(crate) processor: Processor,
    pub(crate) options: Options,
    folder: tempfile::TempDir,
}

impl Shop {
    /// Makes a shop whose books balance.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let runtime = Runtime::new().expect("a runtime");
        let options = shop_processor::Options::new(folder.path().join("processor"));
        let processor = runtime.block_on(shop_processor::run(options)).expect("the processor starts");
        let options = Options {
            data: folder.path().to_path_buf(),
            stores: std::collections::BTreeMap::new(),
            processor_url: processor.url(),
            processor_key: "sk_test_auditor".to_owned(),
        };
        let shop = Self { runtime, processor, options, folder };
        std::fs::create_dir(shop.folder.path().join("stores")).expect("a folder for the stores");
        for (service, layout) in LAYOUTS {
            shop.change(service, layout);
        }
        for (service, rows) in ROWS {
            shop.change(service, &rows.replace("PLACED", PLACED));
        }
        shop.charge(CONFIRMED, 76_500);
        for order_id in [CANCELLED, REFUNDED] {
            let charge = shop.charge(order_id, 76_500);
            shop.post("/v1/refunds", &json!({"charge": charge}));
        }
        shop
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Opens a store as its service does.
    pub(crate) fn store(&self, service: &str) -> Connection {
        let path = self.folder.path().join("stores").join(format!("{service}.db"));
        let store = Connection::open(path).expect("the store opens");
        store.pragma_update(None, "journal_mode", "WAL").expect("a write-ahead log");
        store
    }

    pub(crate) fn change(&self, service: &str, sql: &str) {
        self.store(service).execute_batch(sql).expect("the test's SQL is right");
    }

    pub(crate) fn charge(&self, order_id: &str, amount: i64) -> String {
        let metadata = json!({"order_id": order_id});
        let body = json!({"amount": amount, "currency": "gbp", "source": "tok_visa", "metadata": metadata});
        self.post("/v1/charges", &body)["id"].as_str().expect("a charge has an id").to_owned()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.options.processor_url);
        let request = ureq::post(url).header("authorization", "Bearer sk_test_shop");
        let mut response = request.send(body.to_string()).expect("the processor answers");
        let text = response.body_mut().read_to_string().expect("text");
        serde_json::from_str(&text).expect("JSON")
    }
}
