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
    let agent = agent();
    facts.ledger = entries(&agent, options, None)?;
    facts.balance = balance(&agent, options)?;
    Ok(())
}

pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(ANSWER_MAX)).build().new_agent()
}

/// Reads the entries of the ledger after the one with the id `after`, or all.
pub(crate) fn entries(
    agent: &ureq::Agent,
    options: &Options,
    after: Option<&str>,
) -> Result<Vec<LedgerEntry>, Error> {
    let mut read: Vec<LedgerEntry> = Vec::new();
    for _ in 0..PAGES_MAX {
        let last = read.last().map(|last| last.id.as_str()).or(after);
        let after = last.map(|last| format!("&starting_after={last}")).unwrap_or_default();
        let path = format!("/v1/ledger?limit={PAGE_SIZE}{after}");
        let page: Page = get(agent, options, &path, "ledger")?;
        let entry = |Entry { id, amount, metadata }| LedgerEntry { id, amount, order_id: metadata.order_id };
        read.extend(page.data.into_iter().map(entry));
        if !page.has_more {
            return Ok(read);
        }
    }
    Err(Error::Ledger { what: "ledger" })
}

/// Reads what the processor says its ledger sums up to, in pence.
pub(crate) fn balance(agent: &ureq::Agent, options: &Options) -> Result<i64, Error> {
    let balance: Balance = get(agent, options, "/v1/balance", "balance")?;
    if balance.available.iter().any(|available| available.currency != "gbp") {
        return Err(Error::Ledger { what: "balance" });
    }
    Ok(balance.available.iter().map(|available| available.amount).sum())
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
