//! What sagas tell of themselves: which attempt follows from what, and how many run.

use crate::recorded::{Lines, Recorded};
use crate::support::*;
use banyan_core::{Context, Current, Env, Error, Identity, Signals, SpanKind, SpanRecord, TraceContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::test]
async fn an_attempt_is_linked_to_the_failed_one_to_who_signalled_and_to_what_set_the_timer() {
    let recorded = Arc::new(Recorded::default());
    let env = Env { signals: Signals::new(recorded.clone(), "ledger"), ..Env::default() };
    let failed = Arc::new(AtomicBool::new(false));
    let mut rig = Rig::in_env(env.clone(), move |saga, _| {
        let failed = failed.clone();
        Box::pin(async move {
            let attempt = move |_| {
                let again = failed.swap(true, Ordering::SeqCst);
                async move { if again { Ok(text("done")) } else { Err(Error::unavailable("not yet")) } }
            };
            saga.step("retried").run(attempt).await?;
            saga.sleep("nap", Duration::from_millis(1)).await;
            saga.step("rested").run(async |_| Ok(text("done"))).await?;
            saga.signal::<Text>("go", Duration::from_secs(60)).await?.expect("it was sent");
            saga.step("told").run(async |_| Ok(text("done"))).await.map(drop)
        })
    })
    .await;
    rig.run();
    rig.start("s", "").await;
    rig.until("s", "signal_awaited", "go").await;
    assert_eq!(recorded.number("banyan.saga.behind"), Some(0.0));
    let sender = Context::new(&env, Identity::user("u-2", &[]));
    rig.sagas.signal(&sender, "s", "go", &text("x")).await.unwrap();
    assert_state(&rig.end_of("s").await, banyan_saga::State::Completed);

    let spans = std::mem::take(&mut *recorded.spans.lock());
    let attempts: Vec<_> = spans.iter().filter(|span| span.kind == SpanKind::Internal).collect();
    let [first, again, rested, told] = &attempts[..] else { panic!("four attempts: {attempts:#?}") };
    let linked = |span: &SpanRecord, name: &str, to: &[TraceContext]| {
        assert_eq!((span.name.as_ref(), span.links.as_slice()), (name, to));
    };
    linked(first, "step retried", &[]);
    linked(again, "step retried", &[first.trace]);
    linked(rested, "step rested", &[again.trace]);
    let from = told.links.first().expect("it follows from who signalled");
    assert_eq!((told.name.as_ref(), from.trace_id), ("step told", sender.trace().trace_id));
    rig.stop().await;
}

#[tokio::test]
async fn what_a_saga_logs_belongs_to_the_request_that_began_it() {
    let lines = Lines::of("banyan_saga");
    let _listening = tracing::subscriber::set_default(lines.clone());
    let env = Env { signals: Signals::new(Arc::new(Recorded::default()), "ledger"), ..Env::default() };
    let mut rig = Rig::in_env(env, |_, _| Box::pin(async { Err(Error::cancelled("no more")) })).await;
    rig.run();
    rig.start("s", "").await;
    assert_state(&rig.end_of("s").await, banyan_saga::State::Compensated);

    let lines = std::mem::take(&mut *lines.belonged_to.lock());
    let began = (rig.cx.trace().trace_id, rig.cx.correlation_id().to_owned(), Some("ledger"));
    let belongs = |line: &Option<Current>| {
        let line = line.as_ref()?;
        Some((line.trace.trace_id, line.correlation_id.to_string(), line.service))
    };
    assert_eq!(
        lines.iter().map(belongs).collect::<Vec<_>>(),
        [Some(began)],
        "it says that it is compensated"
    );
    rig.stop().await;
}
