//! A service with one workflow that a test writes, and a world outside that keeps what was done to it.

use banyan_core::{Backoff, BoxFuture, Context, Env, Error, Identity, Payload, Result, Tasks};
use banyan_saga::{Outcome, Saga, SagaDetail, SagaOptions, Sagas, State, Workflow};
use banyan_store::{Migration, Statement, Store, StoreOptions, Tx};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const NOTES: &[Migration] = &[Migration::new(
    1,
    "notes",
    Statement::new("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);")
        .postgres(
            "CREATE TABLE notes (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text TEXT NOT NULL);",
        )
        .mysql("CREATE TABLE notes (id BIGINT AUTO_INCREMENT PRIMARY KEY, text TEXT NOT NULL);"),
)];

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text(pub(crate) String);

impl Payload for Text {
    fn to_bytes(&self) -> Bytes {
        self.0.clone().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8(bytes.to_vec());
        text.map(Text).map_err(|_| Error::data_loss("not a text"))
    }
}

/// A payload that only some bytes are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number(pub(crate) u64);

impl Payload for Number {
    fn to_bytes(&self) -> Bytes {
        self.0.to_string().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        number.map(Number).ok_or_else(|| Error::data_loss("not a number"))
    }
}

pub(crate) fn text(s: &str) -> Text {
    Text(s.to_owned())
}

type RunFn = dyn for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync;
type EndFn = dyn Fn(&mut Tx<'_>, &Outcome) -> Result<()> + Send + Sync;

/// The one workflow, with the code that a test gives it.
pub(crate) struct Flow {
    run: Box<RunFn>,
    end: Box<EndFn>,
    ends: mpsc::UnboundedSender<(String, Outcome)>,
}

impl Workflow for Flow {
    const NAME: &'static str = "flow";
    type Input = Text;

    async fn run(&self, saga: &mut Saga, input: Text) -> Result<()> {
        (self.run)(saga, input).await
    }

    fn on_end(&self, tx: &mut Tx<'_>, saga_id: &str, _: &Text, outcome: &Outcome) -> Result<()> {
        (self.end)(tx, outcome)?;
        let (ends, news) = (self.ends.clone(), (saga_id.to_owned(), outcome.clone()));
        tx.on_commit(move || drop(ends.send(news)));
        Ok(())
    }
}

pub(crate) struct Rig {
    pub(crate) folder: Arc<TempDir>,
    pub(crate) store: Store,
    pub(crate) sagas: Sagas,
    pub(crate) tasks: Tasks,
    pub(crate) cx: Context,
    ends: mpsc::UnboundedReceiver<(String, Outcome)>,
}

pub(crate) async fn open_store(folder: &Path) -> Store {
    let options = StoreOptions::new("ledger", Env::default());
    let store = Store::open(folder.join("ledger.db"), options).await.unwrap();
    store.migrate("ledger", NOTES).await.unwrap();
    store
}

impl Rig {
    /// Opens a service whose workflow is `run`, with fast retries; nothing is driven yet.
    pub(crate) async fn new<F>(run: F) -> Self
    where
        F: for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    {
        Self::with(options(), |_, _| Ok(()), run).await
    }

    pub(crate) async fn with<F>(
        options: SagaOptions,
        end: impl Fn(&mut Tx<'_>, &Outcome) -> Result<()> + Send + Sync + 'static,
        run: F,
    ) -> Self
    where
        F: for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    {
        let folder = Arc::new(TempDir::new().unwrap());
        Self::open(folder, options, end, run).await
    }

    async fn open<F>(
        folder: Arc<TempDir>,
        options: SagaOptions,
        end: impl Fn(&mut Tx<'_>, &Outcome) -> Result<()> + Send + Sync + 'static,
        run: F,
    ) -> Self
    where
        F: for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    {
        let store = open_store(folder.path()).await;
        Self::on(store, folder, options, end, run).await
    }

    /// Opens the service on an open store.
    pub(crate) async fn on<F>(
        store: Store,
        folder: Arc<TempDir>,
        options: SagaOptions,
        end: impl Fn(&mut Tx<'_>, &Outcome) -> Result<()> + Send + Sync + 'static,
        run: F,
    ) -> Self
    where
        F: for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    {
        Self::on_in(Env::default(), store, folder, options, end, run).await
    }

    /// Opens a service in `env` whose workflow is `run`, with fast retries; nothing is driven yet.
    pub(crate) async fn in_env<F>(env: Env, run: F) -> Self
    where
        F: for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    {
        let folder = Arc::new(TempDir::new().unwrap());
        let store = open_store(folder.path()).await;
        Self::on_in(env, store, folder, options(), |_, _| Ok(()), run).await
    }

    async fn on_in<F>(
        env: Env,
        store: Store,
        folder: Arc<TempDir>,
        options: SagaOptions,
        end: impl Fn(&mut Tx<'_>, &Outcome) -> Result<()> + Send + Sync + 'static,
        run: F,
    ) -> Self
    where
        F: for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    {
        let sagas = Sagas::new(store.clone(), options, env).await.unwrap();
        let (sender, ends) = mpsc::unbounded_channel();
        sagas.register(Arc::new(Flow { run: Box::new(run), end: Box::new(end), ends: sender }));
        let cx = Context::new(&Env::default(), Identity::user("u-1", &[]));
        Self { folder, store, sagas, tasks: Tasks::new(), cx, ends }
    }

    /// Opens the service and drives its sagas.
    pub(crate) async fn running<F>(run: F) -> Self
    where
        F: for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    {
        let rig = Self::new(run).await;
        rig.run();
        rig
    }

    pub(crate) fn run(&self) {
        self.sagas.run(&self.tasks);
    }

    /// Drops everything and opens the same store with other code, which is driven.
    pub(crate) async fn restart<F>(self, run: F) -> Self
    where
        F: for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    {
        let folder = self.stop().await;
        let rig = Self::open(folder, options(), |_, _| Ok(()), run).await;
        rig.run();
        rig
    }

    pub(crate) async fn stop(self) -> Arc<TempDir> {
        self.tasks.drain(PATIENCE).await.unwrap();
        self.store.close().await.unwrap();
        self.folder
    }

    pub(crate) async fn start(&self, id: &str, input: &str) {
        let (sagas, id, input) = (self.sagas.clone(), id.to_owned(), text(input));
        self.store.transact(&self.cx, move |tx| sagas.start(tx, Flow::NAME, &id, &input)).await.unwrap();
    }

    /// Waits for the next saga to end or park.
    pub(crate) async fn ended(&mut self) -> (String, Outcome) {
        tokio::time::timeout(PATIENCE, self.ends.recv()).await.expect("a saga should have ended").unwrap()
    }

    /// Waits for the saga `id` to end or park, and returns it.
    pub(crate) async fn end_of(&mut self, id: &str) -> SagaDetail {
        let (ended, _) = self.ended().await;
        assert_eq!(ended, id);
        self.get(id).await
    }

    pub(crate) async fn get(&self, id: &str) -> SagaDetail {
        self.sagas.get(&self.cx, id).await.unwrap()
    }

    /// Waits until the journal of `id` has an entry of this kind for this step.
    pub(crate) async fn until(&self, id: &str, kind: &str, step: &str) {
        let reached = async {
            while !kinds(&self.get(id).await).contains(&format!("{kind} {step}")) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("no {kind} {step}"));
    }

    pub(crate) async fn notes(&self) -> Vec<String> {
        use banyan_store::{Query, params};
        let read = |db: &mut banyan_store::Read<'_>| {
            db.query("SELECT text FROM notes ORDER BY id", params![], |row| row.get("text"))
        };
        self.store.read(&self.cx, read).await.unwrap()
    }
}

/// Fast retries, nothing suspended unless a test says so.
pub(crate) fn options() -> SagaOptions {
    SagaOptions {
        retry: backoff(4),
        undo_retry: backoff(4),
        suspend_after: Duration::from_millis(50),
        ..SagaOptions::default()
    }
}

pub(crate) fn backoff(attempts_max: u32) -> Backoff {
    let ms = Duration::from_millis;
    Backoff { initial: ms(1), max: ms(5), multiplier: 2.0, attempts_max }
}

pub(crate) fn note(tx: &mut Tx<'_>, text: &str) -> Result<()> {
    tx.execute("INSERT INTO notes (text) VALUES ($1)", banyan_store::params![text]).map(drop)
}

/// Returns the journal as `kind step` lines.
pub(crate) fn kinds(saga: &SagaDetail) -> Vec<String> {
    saga.journal.iter().map(|entry| format!("{} {}", entry.kind, entry.step)).collect()
}

pub(crate) fn assert_state(saga: &SagaDetail, state: State) {
    assert_eq!(saga.summary.state, state, "{}\n{:#?}", saga.summary.failure, kinds(saga));
}

/// The world outside: participants that are idempotent by key.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<Effects>>);

#[derive(Default)]
struct Effects {
    done: BTreeMap<String, bool>,
    calls: Vec<String>,
}

impl World {
    /// Takes effect, once per key.
    pub(crate) fn act(&self, cx: &Context, name: &str) -> Result<Text> {
        let key = cx.idempotency_key().expect("a step has a key").to_owned();
        let mut effects = self.0.lock();
        effects.calls.push(name.to_owned());
        effects.done.entry(key).or_insert(true);
        Ok(Text(format!("did {name}")))
    }

    /// Takes the effect back, if there is one.
    pub(crate) fn undo(&self, cx: &Context, name: &str) -> Result<()> {
        let key = cx.idempotency_key().expect("an undo has a key");
        let key = key.strip_suffix("/undo").expect("the key of an undo").to_owned();
        let mut effects = self.0.lock();
        effects.calls.push(format!("undo {name}"));
        effects.done.insert(key, false);
        Ok(())
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.0.lock().calls.clone()
    }

    /// Returns the keys in effect.
    pub(crate) fn in_effect(&self) -> Vec<String> {
        self.0.lock().done.iter().filter(|(_, on)| **on).map(|(key, _)| key.clone()).collect()
    }

    /// Does a step that acts on this world and can be undone.
    pub(crate) async fn step(&self, saga: &mut Saga, name: &'static str) -> Result<Text> {
        let (world, undo_world) = (self.clone(), self.clone());
        saga.step(name)
            .undo(move |cx| {
                let world = undo_world.clone();
                async move { world.undo(&cx, name) }
            })
            .run(|cx| {
                let world = world.clone();
                async move { world.act(&cx, name) }
            })
            .await
    }

    /// Does a step that acts on this world and then answers with what `answer` makes of it.
    pub(crate) async fn step_answering(
        &self,
        saga: &mut Saga,
        name: &'static str,
        mut answer: impl FnMut(Text) -> Result<Text> + Send,
    ) -> Result<Text> {
        let (world, undo_world) = (self.clone(), self.clone());
        saga.step(name)
            .undo(move |cx| {
                let world = undo_world.clone();
                async move { world.undo(&cx, name) }
            })
            .run(|cx| {
                let answered = world.act(&cx, name).and_then(&mut answer);
                async move { answered }
            })
            .await
    }
}
