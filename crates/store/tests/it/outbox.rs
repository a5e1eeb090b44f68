//! What was sent is deleted with the next commit, or with one of its own after a while.

use crate::{Fixture, insert};
use banyan_core::{Error, Event, Payload, Result};
use banyan_store::{Outbox, Tx};
use bytes::Bytes;

/// An event for the tests.
#[derive(Clone, Debug, PartialEq)]
struct Noted(String);

impl Payload for Noted {
    fn to_bytes(&self) -> Bytes {
        self.0.clone().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        String::from_utf8(bytes.to_vec())
            .map(Noted)
            .map_err(|e| Error::data_loss("not a text").with_source(e))
    }
}

impl Event for Noted {
    const TYPE: &'static str = "test.v1.Noted";
    const TOPIC: &'static str = "notes";

    fn key(&self) -> &str {
        &self.0
    }
}

/// Writes a note and announces it.
fn note(tx: &mut Tx<'_>, n: u32) -> Result<()> {
    insert(tx, &format!("{n:03}"), 1)?;
    tx.publish(&Noted(format!("{n:03}")))
}

async fn note_in(fixture: &Fixture, n: u32) -> Result<()> {
    fixture.store.transact(&fixture.cx, move |tx| note(tx, n)).await
}

async fn pending(outbox: &Outbox, limit: usize) -> Vec<String> {
    let found = outbox.pending(limit).await.expect("the outbox can be read");
    found.into_iter().map(|envelope| envelope.decode::<Noted>().expect("a note").0).collect()
}

/// Takes the oldest events and says that they were sent; returns how many there were.
async fn send(outbox: &Outbox, limit: usize) -> usize {
    let claim = outbox.claim(limit).await.expect("events can be claimed");
    let count = claim.events.len();
    claim.sent().await.expect("they are marked");
    count
}

#[tokio::test]
async fn what_was_sent_is_not_pending_and_costs_no_commit_of_its_own() {
    let mut fixture = Fixture::with(|o| o.outbox_mark_ms_max = 3_600_000).await;
    for n in 0..4 {
        note_in(&fixture, n).await.unwrap();
    }
    let outbox = fixture.store.outbox();
    let commits = fixture.store.commits();
    // A claim that is given up changes nothing.
    drop(outbox.claim(2).await.unwrap());
    assert_eq!(send(&outbox, 3).await, 3);
    assert_eq!(outbox.len(), 1);
    assert_eq!(pending(&outbox, 1).await, ["003"]);
    assert_eq!(fixture.store.commits(), commits);
    // The next commit takes the marks along.
    note_in(&fixture, 9).await.unwrap();
    assert_eq!(fixture.store.commits(), commits + 1);
    assert_eq!(pending(&outbox, 10).await, ["003", "009"]);
    // So does closing.
    assert_eq!(send(&outbox, 1).await, 1);
    fixture.reopen().await;
    assert_eq!(pending(&fixture.store.outbox(), 10).await, ["009"]);
    assert_eq!(fixture.store.outbox().len(), 1);
}

#[tokio::test]
async fn marks_are_committed_after_a_while_even_if_nothing_else_happens() {
    let fixture = Fixture::with(|o| o.outbox_mark_ms_max = 1).await;
    note_in(&fixture, 1).await.unwrap();
    let (outbox, commits) = (fixture.store.outbox(), fixture.store.commits());
    assert_eq!(send(&outbox, 1).await, 1);
    assert!(outbox.is_empty());
    tokio::time::timeout(std::time::Duration::from_secs(30), async {
        while fixture.store.commits() == commits {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the marks are committed");
    assert!(outbox.is_empty() && pending(&outbox, 1).await.is_empty());
}
