//! The one thread that writes: it takes every request that waits, runs each in its savepoint, and commits them together
//! with one fsync. No answer leaves before its commit.

use crate::answer::Answer;
use crate::card::Card;
use crate::entry;
use rusqlite::{Connection, OptionalExtension, named_params};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// Most requests in one commit.
const BATCH_MAX: usize = 256;

/// What a writing request asks for.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Charge(ChargeRequest),
    Refund { charge: String },
}

#[derive(Clone, Debug)]
pub(crate) struct ChargeRequest {
    /// In the currency's minor unit.
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) source: String,
    pub(crate) card: Card,
    pub(crate) metadata: serde_json::Map<String, Value>,
}

impl Command {
    /// Returns what two requests under one idempotency key have to share.
    pub(crate) fn fingerprint(&self) -> String {
        match self {
            Command::Charge(request) => {
                let ChargeRequest { amount, currency, source, metadata, .. } = request;
                json!(["charge", amount, currency, source, metadata]).to_string()
            }
            Command::Refund { charge } => json!(["refund", charge]).to_string(),
        }
    }
}

/// A command on its way to the writer.
pub(crate) struct Job {
    pub(crate) command: Command,
    pub(crate) idempotency_key: Option<String>,
    /// Unix seconds.
    pub(crate) created: i64,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// Writes jobs until every sender is gone.
pub(crate) fn run(mut connection: Connection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        let answers = commit(&mut connection, &batch).unwrap_or_else(|error| {
            eprintln!("card-processor: a commit of {} requests failed: {error}", batch.len());
            batch.iter().map(|_| Answer::broken()).collect()
        });
        for (job, answer) in batch.into_iter().zip(answers) {
            // A caller that has gone asks again with its key.
            let _ = job.reply.send(answer);
        }
    }
}

fn commit(connection: &mut Connection, batch: &[Job]) -> rusqlite::Result<Vec<Answer>> {
    let mut transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut answers = Vec::with_capacity(batch.len());
    for job in batch {
        let savepoint = transaction.savepoint()?;
        match answer_once(&savepoint, job) {
            Ok(answer) => {
                savepoint.commit()?;
                answers.push(answer);
            }
            Err(error) => {
                eprintln!("card-processor: a request failed: {error}");
                savepoint.finish()?;
                answers.push(Answer::broken());
            }
        }
    }
    transaction.commit()?;
    Ok(answers)
}

/// Answers a job, or repeats what its idempotency key was answered before.
fn answer_once(connection: &Connection, job: &Job) -> rusqlite::Result<Answer> {
    let Some(key) = &job.idempotency_key else {
        return execute(connection, job);
    };
    let fingerprint = job.command.fingerprint();
    if let Some(answer) = recorded(connection, key, &fingerprint)? {
        return Ok(answer);
    }
    let answer = execute(connection, job)?;
    // As with Stripe, a request that was never carried out may be sent again under its key.
    if answer.status == 200 || answer.status == 402 {
        connection
            .prepare_cached("INSERT INTO answers (key, fingerprint, status, body) VALUES (?1, ?2, ?3, ?4)")?
            .execute((key, fingerprint, answer.status, &answer.body))?;
    }
    Ok(answer)
}

/// Returns what was answered under `key`, or an error answer when that was another request.
pub(crate) fn recorded(
    connection: &Connection,
    key: &str,
    fingerprint: &str,
) -> rusqlite::Result<Option<Answer>> {
    let mut select =
        connection.prepare_cached("SELECT fingerprint, status, body FROM answers WHERE key = ?1")?;
    let found = select
        .query_row([key], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, u16>(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    Ok(found.map(|(known, status, body)| {
        if known == fingerprint { Answer { status, body, replayed: true } } else { Answer::key_reused() }
    }))
}

fn execute(connection: &Connection, job: &Job) -> rusqlite::Result<Answer> {
    match &job.command {
        Command::Charge(request) => charge(connection, job, request),
        Command::Refund { charge } => refund(connection, job, charge),
    }
}

fn charge(connection: &Connection, job: &Job, request: &ChargeRequest) -> rusqlite::Result<Answer> {
    if request.card == Card::Error && stumbles(connection, job.idempotency_key.as_deref())? {
        return Ok(Answer::broken());
    }
    let declined = request.card == Card::Declined;
    let order_id = request.metadata.get("order_id").and_then(Value::as_str);
    connection
        .prepare_cached(
            "INSERT INTO charges (amount, currency, source, order_id, metadata, idempotency_key, decline_code, created)
             VALUES (:amount, :currency, :source, :order_id, :metadata, :key, :decline_code, :created)",
        )?
        .execute(named_params! {
            ":amount": request.amount,
            ":currency": request.currency,
            ":source": request.source,
            ":order_id": order_id,
            ":metadata": Value::Object(request.metadata.clone()).to_string(),
            ":key": job.idempotency_key,
            ":decline_code": declined.then_some("generic_decline"),
            ":created": job.created,
        })?;
    let number = connection.last_insert_rowid();
    if declined {
        return Ok(Answer::declined(&entry::id(entry::CHARGE, number)));
    }
    connection
        .prepare_cached(
            "INSERT INTO ledger (kind, amount, currency, charge, order_id, created)
             VALUES ('charge', ?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((request.amount, &request.currency, number, order_id, job.created))?;
    let charge = find_charge(connection, number)?;
    Ok(charge.map_or_else(Answer::broken, |charge| Answer::ok(&charge)))
}

/// Tells whether this is the first time that `tok_error` is charged under this key. Without a key it always is.
fn stumbles(connection: &Connection, key: Option<&str>) -> rusqlite::Result<bool> {
    let Some(key) = key else { return Ok(true) };
    Ok(connection.prepare_cached("INSERT OR IGNORE INTO stumbles (key) VALUES (?1)")?.execute([key])? == 1)
}

fn refund(connection: &Connection, job: &Job, charge_id: &str) -> rusqlite::Result<Answer> {
    let Some(number) = entry::number(entry::CHARGE, charge_id) else {
        return Ok(Answer::missing("charge", charge_id));
    };
    let found = connection
        .prepare_cached(
            "SELECT amount, currency, order_id, decline_code IS NULL FROM charges WHERE number = ?1",
        )?
        .query_row([number], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, Option<String>>(2)?,
                row.get::<_, bool>(3)?,
            ))
        })
        .optional()?;
    let Some((amount, currency, order_id, paid)) = found else {
        return Ok(Answer::missing("charge", charge_id));
    };
    if !paid {
        return Ok(Answer::invalid(
            "charge",
            "charge_not_refundable",
            format!("Charge {charge_id} was declined"),
        ));
    }
    let inserted = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO refunds (charge, amount, currency, created) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((number, amount, &currency, job.created))?;
    if inserted == 0 {
        let message = format!("Charge {charge_id} has already been refunded.");
        return Ok(Answer::invalid("charge", "charge_already_refunded", message));
    }
    let refund = connection.last_insert_rowid();
    connection
        .prepare_cached(
            "INSERT INTO ledger (kind, amount, currency, charge, refund, order_id, created)
             VALUES ('refund', ?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((-amount, &currency, number, refund, order_id, job.created))?;
    Ok(Answer::ok(&json!({
        "id": entry::id(entry::REFUND, refund),
        "object": "refund",
        "amount": amount,
        "currency": currency,
        "charge": charge_id,
        "status": "succeeded",
        "created": job.created,
    })))
}

/// Reads the public object of a charge.
pub(crate) fn find_charge(connection: &Connection, number: i64) -> rusqlite::Result<Option<Value>> {
    let sql = format!("{} WHERE charges.number = ?1", entry::CHARGE_COLUMNS);
    connection.prepare_cached(&sql)?.query_row([number], entry::charge).optional()
}
