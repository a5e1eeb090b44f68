//! One of the processes that share a database leads.

use super::{Database, Fixture, soon};
use std::sync::Arc;

pub async fn one_process_leads(database: Arc<dyn Database>) {
    let fixture = Fixture::with(database, |o| o.shared = true).await;
    let other = fixture.another().await;
    let leader = fixture.store.lead().await.expect("it can be asked").expect("nobody leads");
    assert!(other.lead().await.expect("it can be asked").is_none());
    assert!(fixture.store.lead().await.expect("it can be asked").is_none(), "it is taken once");
    drop(leader);
    let next = async {
        loop {
            // The server notices that the lead was given up when it gets to it.
            if let Some(leader) = other.lead().await.expect("it can be asked") {
                return leader;
            }
            tokio::task::yield_now().await;
        }
    };
    let leader = soon("the next one leads", next).await;
    assert!(fixture.store.lead().await.expect("it can be asked").is_none());
    drop(leader);
    other.close().await.expect("it closes");
}
