//! Signals: durable messages to one saga, delivered before or while it waits for them.

use crate::State;
use crate::engine::Engine;
use crate::journal::{self, Admission, Entry, EntryKind, Write};
use crate::reasons::SAGA_FINISHED;
use crate::tables;
use banyan_core::{Context, Error, Result, TraceContext};
use banyan_store::{Query, Tx, params};
use std::sync::Arc;

/// What a saga waits for.
#[derive(Clone)]
pub(crate) struct Wait {
    pub(crate) op: u32,
    pub(crate) name: String,
    pub(crate) due_ms: u64,
    /// Whether the journal knows of the wait.
    pub(crate) announced: bool,
}

/// What became of a [`Wait`]; `seq` is the last entry of the journal then.
pub(crate) enum Taken {
    Received {
        payload: Vec<u8>,
        seq: u64,
        /// Where it was sent.
        from: Option<TraceContext>,
    },
    TimedOut {
        seq: u64,
    },
    /// The table says until when; a signal makes the saga due.
    Waiting,
    Refused(Admission),
}

impl Engine {
    /// Takes a delivered signal, or notes that the saga waits for it, in one transaction: none is missed.
    pub(crate) async fn take_signal(self: &Arc<Self>, cx: &Context, write: Write, wait: Wait) -> Taken {
        let draft = Arc::new((write, wait));
        self.until_done(cx, "take a signal", || {
            let draft = Arc::clone(&draft);
            move |tx: &mut Tx<'_>| take(tx, draft.0.clone(), &draft.1)
        })
        .await
    }
}

fn take(tx: &mut Tx<'_>, mut write: Write, wait: &Wait) -> Result<Taken> {
    match write.admit(tx)? {
        Admission::Write => {}
        refused => return Ok(Taken::Refused(refused)),
    }
    let now = tx.now_ms();
    let found = tx.query_opt(tables::NEXT_SIGNAL, params![write.id.as_str(), wait.name.as_str()], |row| {
        let sent = row.get::<Option<String>>("traceparent")?;
        Ok((row.get::<u64>("seq")?, row.get::<Vec<u8>>("payload")?, sent))
    })?;
    let entry = |kind| Entry::of(wait.op, kind, &wait.name);
    let taken = if let Some((seq, payload, sent)) = found {
        tx.execute(tables::CONSUME_SIGNAL, params![write.id.as_str(), seq, now])?;
        write.entries.push(entry(EntryKind::SignalReceived).with_payload(payload.clone()));
        let from = sent.as_deref().and_then(TraceContext::from_header);
        Taken::Received { payload, seq: write.last_seq(), from }
    } else if now >= wait.due_ms {
        write.entries.push(entry(EntryKind::SignalTimedOut));
        Taken::TimedOut { seq: write.last_seq() }
    } else {
        if !wait.announced {
            write.entries.push(entry(EntryKind::SignalAwaited).due(wait.due_ms));
        }
        write.change.next_run_at = Some(wait.due_ms);
        write.change.awaits = Some(wait.name.clone());
        Taken::Waiting
    };
    write.apply(tx)?;
    Ok(taken)
}

/// Delivers a signal; a key that was seen before delivers nothing.
pub(crate) fn deliver(tx: &mut Tx<'_>, id: &str, name: &str, payload: &[u8], waiting_max: u32) -> Result<()> {
    let row = journal::row(tx, id)?;
    let key = tx.cx().idempotency_key().map(str::to_owned);
    // Also when the saga has gone on, and ended, with what was delivered the first time.
    if let Some(key) = &key
        && tx.query_one(tables::KNOWN_SIGNAL, params![id, key], |row| row.get::<u64>("known"))? > 0
    {
        return Ok(());
    }
    if row.state.is_end() {
        return Err(finished(id, row.state));
    }
    let (waiting, last_seq) = tx.query_one(tables::SIGNALS, params![id], |row| {
        Ok((row.get::<u32>("waiting")?, row.get::<u64>("last_seq")?))
    })?;
    if waiting >= waiting_max {
        return Err(Error::overloaded(format!("saga {id:?} has {waiting} signals it has not consumed")));
    }
    let (now, traceparent) = (tx.now_ms(), tx.cx().trace().to_header());
    let delivered =
        tx.execute(tables::ADD_SIGNAL, params![id, last_seq + 1, name, payload, key, now, traceparent])?;
    if delivered == 1 && row.state == State::Running && row.awaits.as_deref() == Some(name) {
        tx.execute(tables::MAKE_DUE, params![id, now])?;
    }
    Ok(())
}

pub(crate) fn finished(id: &str, state: State) -> Error {
    Error::failed_precondition(SAGA_FINISHED, format!("saga {id:?} has ended: it is {state}"))
}
