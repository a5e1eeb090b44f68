//! The kit finds what it is made to find.

use banyan::prelude::*;
use banyan_testkit::TestSystem;
use bytes::Bytes;

const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "heard",
    Statement::new("CREATE TABLE heard (word TEXT NOT NULL, times INTEGER NOT NULL)"),
)];

#[derive(Clone, Debug, PartialEq)]
struct Said(String);

impl Payload for Said {
    fn to_bytes(&self) -> Bytes {
        self.0.clone().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }
}

impl Event for Said {
    const TYPE: &'static str = "test.Said";
    const TOPIC: &'static str = "words";

    fn key(&self) -> &str {
        &self.0
    }
}

/// How a listener deals with a word that it has heard before.
#[derive(Clone, Copy)]
enum Memory {
    /// It knows: the inbox.
    Inbox,
    /// It counts the word again.
    None,
    /// It tells others again.
    Echo,
}

struct Ear {
    store: Store,
    memory: Memory,
}

impl Subscriber<Said> for Ear {
    async fn on_event(&self, cx: &Context, said: Said) -> Result<()> {
        let word = said.0.clone();
        let hear = move |tx: &mut Tx<'_>| {
            tx.execute("INSERT INTO heard (word, times) VALUES ($1, 1)", params![&word]).map(drop)
        };
        match self.memory {
            Memory::Inbox => self.store.once(cx, "Said", &said, hear).await,
            Memory::None => self.store.transact(cx, hear).await,
            Memory::Echo => self.store.transact(cx, move |tx| tx.publish(&Echoed(said))).await,
        }
    }
}

#[derive(Clone, Debug)]
struct Echoed(Said);

impl Payload for Echoed {
    fn to_bytes(&self) -> Bytes {
        self.0.to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Said::from_bytes(bytes).map(Self)
    }
}

impl Event for Echoed {
    const TYPE: &'static str = "test.Echoed";
    const TOPIC: &'static str = "echoes";

    fn key(&self) -> &str {
        self.0.key()
    }
}

async fn system(memory: Memory) -> TestSystem {
    let ear = ServiceDef::new("ear", [], move |host: Host| async move {
        let store = host.store(MIGRATIONS, &[]).await?;
        host.subscribe::<Said, _>(Arc::new(Ear { store, memory }));
        Ok(())
    });
    TestSystem::of([ear]).start().await.expect("the service starts")
}

#[tokio::test]
async fn an_idempotent_subscriber_passes_also_after_a_restart() {
    let system = system(Memory::Inbox).await;
    for word in ["one", "two", "one"] {
        system.publish_twice("mouth", &Said(word.into())).await;
    }
    system.assert_redelivery_changes_nothing().await;
    system.restart("ear").await;
    system.assert_redelivery_changes_nothing().await;
}

#[tokio::test]
#[should_panic(expected = "the table ear.heard changed")]
async fn a_subscriber_that_counts_again_is_found() {
    let system = system(Memory::None).await;
    system.publish("mouth", &Said("one".into())).await;
    system.assert_redelivery_changes_nothing().await;
}

#[tokio::test]
#[should_panic(expected = "the topic echoes changed")]
async fn a_subscriber_that_tells_again_is_found() {
    let system = system(Memory::Echo).await;
    system.publish("mouth", &Said("one".into())).await;
    system.assert_redelivery_changes_nothing().await;
}

#[tokio::test]
async fn a_system_at_rest_has_sent_what_follows_from_an_event() {
    let system = system(Memory::Echo).await;
    for n in 0..100 {
        system.publish("mouth", &Said(format!("word {n}"))).await;
    }
    system.settled().await;
    let topics = system.log().topics().await.unwrap();
    let echoes = topics.iter().find(|topic| topic.topic == "echoes").expect("something was echoed");
    assert_eq!(echoes.partitions.iter().map(|p| p.end_offset).sum::<u64>(), 100);
}

#[tokio::test]
async fn settings_reach_their_service_and_their_mistakes_the_test() {
    let service = || {
        ServiceDef::new("picky", [], |host: Host| async move {
            let settings: std::collections::BTreeMap<String, i64> = host.settings()?;
            match settings.get("size") {
                Some(3) => Ok(()),
                _ => Err(Error::invalid("services.picky.size", "must be 3")),
            }
        })
    };
    assert!(TestSystem::of([service()]).settings("picky", "size = 3").start().await.is_ok());
    for text in ["size = 4", "size ="] {
        let error = TestSystem::of([service()]).settings("picky", text).start().await.err().expect(text);
        assert!(error.violations()[0].field.starts_with("services.picky"), "{error}");
    }
}
