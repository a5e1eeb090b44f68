//! What somebody does who runs the shop: looks at it, moves services, audits it.

use super::customer::{list, number};
use super::process::{children_of, signal};
use super::{Ask, Client, END_MAX, Patience, REST_MAX, START_MAX, Shop, until};
use serde_json::Value;
use shop_auditor::{Options, Report};

/// A process of the system, as `shop status` shows it.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) name: String,
    /// 0 until it is started.
    pub(crate) pid: u32,
}

impl Shop {
    pub(crate) async fn status(&self) -> Result<Value, String> {
        self.command(&["status"]).await
    }

    pub(crate) async fn processes(&self) -> Result<Vec<Running>, String> {
        let status = self.status().await?;
        let text = |process: &Value, key: &str| process[key].as_str().unwrap_or_default().to_owned();
        let processes = status["processes"].as_array().cloned().unwrap_or_default();
        Ok(processes
            .iter()
            .map(|process| Running {
                name: text(process, "process"),
                pid: process["pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap_or_default(),
            })
            .collect())
    }

    /// Waits until every service and every process is ready.
    pub(crate) async fn ready(&self) {
        until(START_MAX, "every service was ready", || async {
            let status = self.status().await.ok()?;
            let all_ready = |key: &str| {
                status[key].as_array().is_some_and(|list| list.iter().all(|entry| entry["state"] == "READY"))
            };
            (all_ready("processes") && all_ready("services")).then_some(())
        })
        .await;
    }

    /// Returns the process that a service runs in.
    pub(crate) async fn process_of(&self, service: &str) -> String {
        let status = self.status().await.expect("the shop tells its status");
        let services = status["services"].as_array().cloned().unwrap_or_default();
        let found = services.iter().find(|entry| entry["service"] == service).expect("the service is there");
        found["processes"][0].as_str().unwrap_or_default().to_owned()
    }

    /// Gives a service a process of its own and returns the process's id.
    pub(crate) async fn move_apart(&self, service: &str) -> u32 {
        self.command(&["move", service, "--apart"]).await.expect("the service moves apart");
        self.process_id(service).await
    }

    /// Returns the id of the process with this name.
    pub(crate) async fn process_id(&self, name: &str) -> u32 {
        let processes = self.processes().await.expect("the shop tells its processes");
        processes.iter().find(|process| process.name == name).expect("there is such a process").pid
    }

    /// Moves a service into the root process.
    pub(crate) async fn move_back(&self, service: &str) {
        self.command(&["move", service, "--into", "main"]).await.expect("the service moves back");
    }

    /// Returns the process ids of the root's children: the system's processes and the card processor.
    pub(crate) fn children(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// Sends a signal to a process of this shop.
    pub(crate) async fn signal(&self, name: &str, pid: u32) {
        signal(name, pid).await;
    }

    /// Where the card processor listens.
    pub(crate) fn processor_url(&self) -> String {
        let file =
            std::fs::read(self.data().join("run/processor.json")).expect("the shop has a card processor");
        let file: Value = serde_json::from_slice(&file).expect("JSON");
        file["url"].as_str().expect("a URL").to_owned()
    }

    /// Returns the movements of money that the card processor made for an order, in pence.
    pub(crate) async fn ledger_of(&self, order_id: &str) -> Vec<i64> {
        let processor = Client::new(&self.processor_url(), Patience::Strict);
        let (mut amounts, mut after) = (Vec::new(), String::new());
        loop {
            let ask = Ask::get(format!("/v1/ledger?limit=1000{after}")).token("sk_test_auditor");
            let page = processor.ask(ask).await.ok();
            let entries = list(&page["data"]);
            let own = entries.iter().filter(|entry| entry["metadata"]["order_id"] == order_id);
            amounts.extend(own.map(|entry| number(&entry["amount"])));
            match entries.last().filter(|_| page["has_more"] == true) {
                Some(last) => after = format!("&starting_after={}", last["id"].as_str().unwrap_or_default()),
                None => return amounts,
            }
        }
    }

    /// Waits until the money that moved for an order sums up to `pence`.
    pub(crate) async fn settled(&self, order_id: &str, pence: i64) {
        until(END_MAX, &format!("the money of {order_id} summed up to {pence}"), || async {
            (self.ledger_of(order_id).await.iter().sum::<i64>() == pence).then_some(())
        })
        .await;
    }

    /// Proves that the books balance, and returns the proof.
    ///
    /// # Panics
    /// If they do not within a while.
    pub(crate) async fn audit(&self) -> Report {
        let report = self.audit_once(REST_MAX).await;
        assert!(report.passed, "{report}");
        report
    }

    /// The URLs of the stores that are not files in the data folder, with what the shop was given for their secrets.
    fn stores_elsewhere(&self) -> std::collections::BTreeMap<String, String> {
        let file = std::fs::read(self.data().join("run/stores.json")).expect("the shop says where they are");
        let noted: std::collections::BTreeMap<String, String> = serde_json::from_slice(&file).expect("JSON");
        let setup = self.setup();
        let given = |service: &str, mut url: String| {
            if url.contains("[redacted]") {
                let key = format!("stores.{service}=");
                let set = setup.args.iter().rev().find_map(|argument| argument.strip_prefix(&key));
                set.expect("a store with a password is set by an argument").clone_into(&mut url);
            }
            for (name, value) in &setup.variables {
                url = url.replace(&format!("${{env:{name}}}"), value);
            }
            url
        };
        noted
            .into_iter()
            .map(|(service, url)| {
                let url = given(&service, url);
                (service, url)
            })
            .collect()
    }

    /// Audits a shop that may take `wait` to come to rest.
    pub(crate) async fn audit_once(&self, wait: std::time::Duration) -> Report {
        let options = Options {
            data: self.data(),
            stores: self.stores_elsewhere(),
            processor_url: self.processor_url(),
            processor_key: "sk_test_auditor".to_owned(),
        };
        let audit = tokio::task::spawn_blocking(move || shop_auditor::audit_at_rest(&options, wait));
        audit.await.expect("the audit ends").expect("the books can be read")
    }

    /// Returns the events that every topic has had so far.
    pub(crate) async fn events(&self) -> std::collections::BTreeMap<String, u64> {
        let topics = self.command(&["topics"]).await.expect("the shop tells its topics");
        let topics = topics["topics"].as_array().cloned().unwrap_or_default();
        let count = |topic: &Value| {
            let partitions = topic["partitions"].as_array().cloned().unwrap_or_default();
            partitions.iter().filter_map(|partition| partition["end"].as_u64()).sum()
        };
        topics.iter().map(|t| (t["topic"].as_str().unwrap_or_default().to_owned(), count(t))).collect()
    }
}
