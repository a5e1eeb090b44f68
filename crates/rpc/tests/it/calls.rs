//! What a call carries there and back.

use crate::bed::{
    Bed, DEADLINE, DO, GET, NAME, PATIENCE, Placement, Probe, Signal, builder, echo, fields,
    in_both_placements, options, probe, unary,
};
use banyan_core::{Blame, Code, Context, Env, Error, FieldViolation, Payload, Reason, Retry};
use banyan_rpc::{Idempotency, Kind, MALFORMED_MESSAGE, MethodInfo};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::Duration;

in_both_placements!(
    a_value_arrives,
    bytes_and_values_meet,
    an_error_is_equal_field_by_field,
    a_handler_cannot_claim_that_it_was_not_executed,
    a_deadline_drops_the_callee,
    a_dropped_caller_drops_the_callee,
    a_deadline_shrinks,
    a_call_without_deadline_gets_one,
    a_passed_deadline_is_not_executed,
    the_context_arrives,
    a_panic_is_an_internal_error,
    an_unknown_method_is_unimplemented,
    a_malformed_message_is_the_callers_fault,
    a_full_service_refuses,
);

async fn a_value_arrives(placement: Placement) {
    let bed =
        Bed::new(placement, unary(|_, p| async move { Ok(probe(&p.text.to_uppercase(), p.number + 1)) }))
            .await;
    assert_eq!(bed.call(&bed.cx, &DO, probe("grüße", 41)).await.unwrap(), probe("GRÜSSE", 42));
}

async fn bytes_and_values_meet(placement: Placement) {
    let bed = Bed::new(placement, echo()).await;
    let sent = probe("bytes", 1).to_bytes();
    assert_eq!(bed.channel.unary_bytes(&bed.cx, &DO, sent.clone()).await.unwrap(), sent);
}

async fn an_error_is_equal_field_by_field(placement: Placement) {
    let violation =
        FieldViolation { field: "items[1].price".into(), description: "must be positive ✗".into() };
    for error in [
        Error::invalid("items[0].quantity", "must be at least 1").with_violation(violation),
        Error::not_found("order", "o-1"),
        Error::failed_precondition(Reason::new("CARD_DECLINED"), "declined: \"no funds\"\n100%"),
        Error::unavailable("busy").with_retry(Retry::Never).with_blame(Blame::Service),
        Error::new(Code::Aborted, Reason::new("CONFLICT"), "").with_retry_after(Duration::from_millis(2500)),
        Error::internal("a source that stays at home"),
        Error::cancelled("no longer wanted"),
    ] {
        let failing = error.clone();
        let service = unary(move |_, _| std::future::ready(Err(failing.clone())));
        let bed = Bed::new(placement, service).await;
        let seen = bed.call(&bed.cx, &DO, Probe::default()).await.unwrap_err();
        assert_eq!(fields(&seen), fields(&error));
    }
}

async fn a_handler_cannot_claim_that_it_was_not_executed(placement: Placement) {
    let executions = Arc::new(Mutex::new(0));
    let counted = executions.clone();
    let service = unary(move |_, _| {
        *counted.lock().unwrap() += 1;
        // For example what a call further down was refused with.
        std::future::ready(Err(Error::moving("another.v1.Service")))
    });
    let bed = Bed::new(placement, service).await;
    let error = bed.call(&bed.cx, &DO, Probe::default()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::IfIdempotent);
    assert_eq!(*executions.lock().unwrap(), 1);
}

/// A service that never answers, and tells when it began and when it was dropped.
fn hanging() -> (banyan_rpc::Service, Signal, Signal) {
    let (started, dropped) = (Signal::default(), Signal::default());
    let signals = (started.clone(), dropped.clone());
    let service = unary(move |_, _| {
        let (started, dropped) = signals.clone();
        async move {
            let _guard = dropped.on_drop();
            started.send();
            std::future::pending().await
        }
    });
    (service, started, dropped)
}

async fn a_deadline_drops_the_callee(placement: Placement) {
    let (service, started, dropped) = hanging();
    let bed = Bed::new(placement, service).await;
    let cx = bed.cx.with_timeout(DEADLINE);
    let error = bed.call(&cx, &DO, Probe::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    started.received().await;
    dropped.received().await;
}

async fn a_dropped_caller_drops_the_callee(placement: Placement) {
    let (service, started, dropped) = hanging();
    let bed = Bed::new(placement, service).await;
    tokio::select! {
        outcome = bed.call(&bed.cx, &DO, Probe::default()) => panic!("answered with {outcome:?}"),
        () = started.received() => {}
    }
    dropped.received().await;
    bed.service.close().await;
}

fn remaining_ms() -> banyan_rpc::Service {
    unary(|cx: Context, _| async move {
        let remaining = cx.remaining().map_or(-1, |remaining| remaining.as_millis() as i64);
        Ok(probe("", remaining))
    })
}

async fn a_deadline_shrinks(placement: Placement) {
    let bed = Bed::new(placement, remaining_ms()).await;
    let cx = bed.cx.with_timeout(PATIENCE / 2);
    let seen = bed.call(&cx, &DO, Probe::default()).await.unwrap().number;
    assert!((1000..=30_000).contains(&seen), "{seen} ms");
}

async fn a_call_without_deadline_gets_one(placement: Placement) {
    let bed = Bed::new(placement, remaining_ms()).await;
    let cx = Context::new(&Env::default(), bed.cx.identity().clone());
    let seen = bed.call(&cx, &DO, Probe::default()).await.unwrap().number;
    assert!((8000..=10_000).contains(&seen), "{seen} ms");
}

async fn a_passed_deadline_is_not_executed(placement: Placement) {
    let bed = Bed::new(placement, unary(|_, _| async { panic!("executed") })).await;
    let cx = bed.cx.with_timeout(Duration::ZERO);
    let error = bed.call(&cx, &GET, Probe::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
}

async fn the_context_arrives(placement: Placement) {
    let seen = Arc::new(Mutex::new(None));
    let seeing = seen.clone();
    let service = unary(move |cx: Context, request| {
        *seeing.lock().unwrap() = Some(cx);
        std::future::ready(Ok(request))
    });
    let bed = Bed::new(placement, service).await;
    let cx = bed.cx.with_idempotency_key("key-ü").with_correlation_id("c-1");
    bed.call(&cx, &DO, Probe::default()).await.unwrap();

    let seen = seen.lock().unwrap().take().unwrap();
    assert_eq!(seen.identity(), cx.identity());
    assert_eq!((seen.idempotency_key(), seen.correlation_id()), (Some("key-ü"), "c-1"));
    assert_eq!(seen.trace().trace_id, cx.trace().trace_id);
    assert_eq!(seen.trace().sampled, cx.trace().sampled);
    assert_ne!(seen.trace().span_id, cx.trace().span_id);
}

async fn a_panic_is_an_internal_error(placement: Placement) {
    let service = unary(|_, request: Probe| async move {
        assert_ne!(request.number, 13, "a number that hurts");
        Ok(request)
    });
    let bed = Bed::new(placement, service).await;
    let error = bed.call(&bed.cx, &DO, probe("", 13)).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Internal, "an internal error happened"));
    bed.call(&bed.cx, &DO, probe("", 14)).await.unwrap();
    assert_eq!(bed.service.in_flight(), 0);
}

async fn an_unknown_method_is_unimplemented(placement: Placement) {
    static MISSING: MethodInfo = MethodInfo {
        service: NAME,
        name: "Missing",
        path: "/probe.v1.ProbeService/Missing",
        kind: Kind::Unary,
        idempotency: Idempotency::NoSideEffects,
    };
    let bed = Bed::new(placement, builder().build()).await;
    for method in [&MISSING, &GET] {
        let error = bed.call(&bed.cx, method, Probe::default()).await.unwrap_err();
        assert_eq!((error.code(), error.reason()), (Code::Unimplemented, "UNIMPLEMENTED"));
    }
}

async fn a_malformed_message_is_the_callers_fault(placement: Placement) {
    let bed = Bed::new(placement, echo()).await;
    let garbage = Bytes::from_static(b"\x0a\xff\xff");
    let error = bed.channel.unary_bytes(&bed.cx, &DO, garbage).await.unwrap_err();
    assert!(error.is(MALFORMED_MESSAGE) && error.code() == Code::InvalidArgument, "{error}");
}

async fn a_full_service_refuses(placement: Placement) {
    let (started, release) = (Signal::default(), Signal::default());
    let signals = (started.clone(), release.clone());
    let handler = move |_: Context, request: Probe| {
        let (started, release) = signals.clone();
        async move {
            started.send();
            release.received().await;
            Ok(request)
        }
    };
    let service = builder().calls_max(1).unary(&DO, handler).build();
    let mut options = options();
    options.limits.attempts.attempts_max = 1;
    let bed = Bed::with_options(placement, service, options).await;

    let held = bed.call(&bed.cx, &DO, probe("first", 1));
    let refused = async {
        started.received().await;
        let refused = bed.call(&bed.cx, &DO, probe("second", 2)).await;
        release.send();
        refused.unwrap_err()
    };
    let (held, refused) = tokio::join!(held, refused);
    assert_eq!(held.unwrap().number, 1);
    assert!(refused.is(Reason::OVERLOADED) && refused.retry() == Retry::Safe, "{refused}");
}
