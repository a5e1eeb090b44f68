//! What a consumer tells of itself: which attempt follows from which, and how far behind it is.

use crate::recorded::{Lines, Recorded};
use crate::{event, options};
use banyan_core::{
    Attribute, Backoff, Current, Env, Error, Result, Signals, SpanRecord, Tasks, TraceContext,
};
use banyan_event_log::{Consumer, ConsumerOptions, EmbeddedLog, EventLog, dead_letters, handler_fn};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(60);

fn attempt_of(span: &SpanRecord) -> (i64, bool, Vec<TraceContext>) {
    let Some(Attribute::Number(attempt)) = span.attributes.get("banyan.attempt") else { panic!("{span:?}") };
    (attempt, span.attributes.get("banyan.redriven").is_some(), span.links.clone())
}

#[tokio::test]
async fn an_attempt_is_linked_to_the_one_that_failed_also_when_it_is_redriven() {
    let lines = Lines::of("banyan_event_log::consumer");
    let _listening = tracing::subscriber::set_default(lines.clone());
    let folder = TempDir::new().unwrap();
    let log = Arc::new(EmbeddedLog::open(options(folder.path())).await.unwrap());
    let recorded = Arc::new(Recorded::default());
    let env = Env { signals: Signals::new(recorded.clone(), "group"), ..Env::default() };
    let (begun, mut attempts) = mpsc::unbounded_channel();
    let fails = watch::Sender::new(true);
    let failing = fails.subscribe();
    let handler = handler_fn(move |_, _| {
        let (begun, mut failing) = (begun.clone(), failing.clone());
        async move {
            begun.send(()).unwrap();
            if *failing.borrow_and_update() {
                return Err(Error::internal("not yet"));
            }
            // Until the test has looked at what is told meanwhile.
            failing.changed().await.map_err(Error::internal)
        }
    });
    let tasks = Tasks::new();
    let options = ConsumerOptions {
        backoff: Backoff { initial: Duration::from_millis(1), attempts_max: 2, ..Backoff::default() },
        ..ConsumerOptions::new("group", ["words"])
    };
    Consumer::new(log.clone(), options, env.clone()).run(handler, &tasks);
    log.publish(vec![event("words", "a")]).await.unwrap();
    let mut began = async || tokio::time::timeout(PATIENCE, attempts.recv()).await.expect("it is attempted");
    began().await;
    began().await;
    let letters =
        tokio::time::timeout(PATIENCE, letter(&*log)).await.expect("it becomes a dead letter").unwrap();
    fails.send_replace(false);
    dead_letters::redrive(&*log, &env, &letters).await.unwrap();
    began().await;
    assert_eq!(recorded.number("banyan.consumer.running"), Some(1.0));
    assert_eq!(recorded.number("banyan.consumer.held"), Some(1.0));
    assert!(recorded.number("banyan.consumer.lag.time").is_some_and(|age| age < 120.0));
    fails.send_replace(false);
    tasks.drain(PATIENCE).await.unwrap();
    assert_eq!(recorded.number("banyan.consumer.running"), None, "who has gone tells nothing");

    let spans = std::mem::take(&mut *recorded.spans.lock());
    let attempts: Vec<_> = spans.iter().map(attempt_of).collect();
    let [first, second, _] = &spans[..] else { panic!("three attempts: {spans:?}") };
    let expected = [(1, false, Vec::new()), (2, false, vec![first.trace]), (1, true, vec![second.trace])];
    assert_eq!(attempts, expected);
    assert!(spans.iter().all(|span| span.trace.trace_id == first.trace.trace_id), "one trace");
    let lines = std::mem::take(&mut *lines.belonged_to.lock());
    let of_attempts = |line: &Option<Current>| line.as_ref().map(|line| (line.trace, line.service));
    let group = Some("group");
    let expected = [Some((first.trace, group)), Some((second.trace, group))];
    assert_eq!(
        lines.iter().map(of_attempts).collect::<Vec<_>>(),
        expected,
        "what failed is logged in its trace"
    );
}

/// Waits for a dead letter.
async fn letter(log: &dyn EventLog) -> Result<Vec<dead_letters::Entry>> {
    loop {
        let letters = dead_letters::list(log, "group", 10).await?;
        if !letters.is_empty() {
            return Ok(letters);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
