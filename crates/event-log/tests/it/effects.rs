//! What handlers do in the conformance suite, with the inbox of a store: a row an effect, in a file of SQLite.

use banyan_core::{BoxFuture, Context, Env, Identity, Payload, Result};
use banyan_event_log::conformance::Effects;
use banyan_store::{Migration, Query, Statement, Store, StoreOptions, params};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

const MIGRATIONS: &[Migration] =
    &[Migration::new(1, "effects", Statement::new("CREATE TABLE effects (number BIGINT NOT NULL)"))];

struct Rows(Store);

pub(crate) async fn effects(folder: PathBuf) -> Arc<dyn Effects> {
    let store = Store::open(folder.join("effects.db"), StoreOptions::new("effects", Env::default())).await;
    let store = store.expect("a store opens");
    store.migrate("effects", MIGRATIONS).await.expect("a new store takes its schema");
    Arc::new(Rows(store))
}

impl Effects for Rows {
    fn apply<'a>(&'a self, cx: &'a Context, number: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let effect = move |tx: &mut banyan_store::Tx<'_>| {
                tx.execute("INSERT INTO effects (number) VALUES ($1)", params![number])?;
                Ok(Number(number))
            };
            self.0.once(cx, "apply", &Number(number), effect).await.map(drop)
        })
    }

    fn counts(&self) -> BoxFuture<'_, BTreeMap<u64, u64>> {
        Box::pin(async {
            let count = "SELECT number, COUNT(*) AS times FROM effects GROUP BY number";
            let cx = Context::new(&Env::default(), Identity::service("conformance"));
            let rows = self.0.read(&cx, move |read| {
                read.query(count, params![], |row| Ok((row.get("number")?, row.get("times")?)))
            });
            rows.await.expect("effects can be counted").into_iter().collect()
        })
    }
}

struct Number(u64);

impl Payload for Number {
    fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.to_be_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self(u64::from_be_bytes(bytes.try_into().expect("eight bytes were written"))))
    }
}
