//! The card processor's side of the books, page by page over its HTTP API.

use crate::facts::{Facts, LedgerEntry};
use crate::{Error, Options};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const PAGE_SIZE: u32 = 1000;
/// Bound of the ledger that is read: ten million entries.
const PAGES_MAX: usize = 10_000;

#[derive(Deserialize)]
struct Page {
    has_more: bool,
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    amount: i64,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    order_id: Option<String>,
}

#[derive(Deserialize)]
struct Balance {
    available: Vec<Available>,
}

#[derive(Deserialize)]
struct Available {
    amount: i64,
    currency: String,
}

pub(crate) fn read(options: &Options, facts: &mut Facts) -> Result<(), Error> {
    let agent = ureq::Agent::config_builder().timeout_global(Some(ANSWER_MAX)).build().new_agent();
    for _ in 0..PAGES_MAX {
        let after =
            facts.ledger.last().map(|last| format!("&starting_after={}", last.id)).unwrap_or_default();
        let path = format!("/v1/ledger?limit={PAGE_SIZE}{after}");
        let page: Page = get(&agent, options, &path, "ledger")?;
        let entries = page.data.into_iter();
        facts.ledger.extend(entries.map(|Entry { id, amount, metadata }| LedgerEntry {
            id,
            amount,
            order_id: metadata.order_id,
        }));
        if !page.has_more {
            let balance: Balance = get(&agent, options, "/v1/balance", "balance")?;
            if balance.available.iter().any(|available| available.currency != "gbp") {
                return Err(Error::Ledger { what: "balance" });
            }
            facts.balance = balance.available.iter().map(|available| available.amount).sum();
            return Ok(());
        }
    }
    Err(Error::Ledger { what: "ledger" })
}

fn get<T: DeserializeOwned>(
    agent: &ureq::Agent,
    options: &Options,
    path: &str,
    what: &'static str,
) -> Result<T, Error> {
    let failed = |source| Error::Processor { what, source: Box::new(source) };
    let url = format!("{}{path}", options.processor_url.trim_end_matches('/'));
    let bearer = format!("Bearer {}", options.processor_key);
    let mut response = agent.get(url).header("authorization", bearer).call().map_err(failed)?;
    let text = response.body_mut().read_to_string().map_err(failed)?;
    serde_json::from_str(&text).map_err(|_| Error::Ledger { what })
}
