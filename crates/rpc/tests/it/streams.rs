//! The three kinds of methods with streams.

use crate::bed::{
    Bed, CHAT, COUNT, DEADLINE, Placement, Probe, SUM, Signal, builder, in_both_placements, probe,
};
use banyan_core::{Code, Context, Error, Reason, Result};
use banyan_rpc::{Service, Streaming};
use futures::StreamExt;

in_both_placements!(
    a_response_stream_arrives,
    a_request_stream_arrives,
    both_streams_interleave,
    an_error_ends_a_response_stream,
    a_panic_ends_a_response_stream,
    a_dropped_response_stream_drops_the_callee,
    a_failing_request_stream_fails_the_call,
    a_failing_request_stream_fails_the_response_stream,
    a_deadline_ends_a_stream,
    closing_waits_for_streams,
    bytes_stream_too,
);

fn counting() -> Service {
    let count = |_: Context, request: Probe| async move {
        Ok(Streaming::of((1..=request.number).map(|number| probe("", number))))
    };
    let sum = |_: Context, mut requests: Streaming<Probe>| async move {
        let mut sum = 0;
        while let Some(request) = requests.message().await? {
            sum += request.number;
        }
        Ok(probe("", sum))
    };
    let chat = |_: Context, requests: Streaming<Probe>| async move {
        Ok(Streaming::new(requests.map(|item| item.map(|p| probe(&p.text, -p.number)))))
    };
    builder().server_streaming(&COUNT, count).client_streaming(&SUM, sum).bidirectional(&CHAT, chat).build()
}

/// A stream without end, which tells when it is dropped.
fn endless(dropped: &Signal) -> Service {
    let dropped = dropped.clone();
    let handler = move |_: Context, _: Probe| {
        let guard = dropped.on_drop();
        let numbers = futures::stream::iter(1..).then(move |number| {
            let _held = &guard;
            async move {
                tokio::task::yield_now().await;
                Ok(probe("", number))
            }
        });
        std::future::ready(Ok(Streaming::new(numbers)))
    };
    builder().server_streaming(&COUNT, handler).build()
}

fn numbers(messages: Vec<Probe>) -> Vec<i64> {
    messages.into_iter().map(|message| message.number).collect()
}

async fn a_response_stream_arrives(placement: Placement) {
    let bed = Bed::new(placement, counting()).await;
    for length in [0, 1, 1000] {
        let stream: Streaming<Probe> =
            bed.channel.server_streaming(&bed.cx, &COUNT, probe("", length)).await.unwrap();
        assert_eq!(numbers(stream.collect(1000).await.unwrap()), (1..=length).collect::<Vec<_>>());
    }
    let stream: Streaming<Probe> = bed.channel.server_streaming(&bed.cx, &COUNT, probe("", 3)).await.unwrap();
    assert_eq!(stream.collect(2).await.unwrap_err().code(), Code::ResourceExhausted);
}

async fn a_request_stream_arrives(placement: Placement) {
    let bed = Bed::new(placement, counting()).await;
    for length in [0, 1, 1000] {
        let requests = Streaming::of((1..=length).map(|number| probe("", number)));
        let answer: Probe = bed.channel.client_streaming(&bed.cx, &SUM, requests).await.unwrap();
        assert_eq!(answer.number, length * (length + 1) / 2);
    }
}

async fn both_streams_interleave(placement: Placement) {
    let bed = Bed::new(placement, counting()).await;
    let (sender, requests) = Streaming::channel(1);
    let mut responses: Streaming<Probe> = bed.channel.bidirectional(&bed.cx, &CHAT, requests).await.unwrap();
    for number in 1..=10 {
        sender.send(probe("ping", number)).await.unwrap();
        assert_eq!(responses.message().await.unwrap(), Some(probe("ping", -number)));
    }
    drop(sender);
    assert_eq!(responses.message().await.unwrap(), None);
}

async fn an_error_ends_a_response_stream(placement: Placement) {
    let handler = |_: Context, _: Probe| {
        let items = vec![Ok(probe("", 1)), Err(Error::not_found("page", "2")), Ok(probe("", 3))];
        std::future::ready(Ok(Streaming::new(futures::stream::iter(items))))
    };
    let bed = Bed::new(placement, builder().server_streaming(&COUNT, handler).build()).await;
    let mut stream: Streaming<Probe> =
        bed.channel.server_streaming(&bed.cx, &COUNT, Probe::default()).await.unwrap();
    assert_eq!(stream.message().await.unwrap(), Some(probe("", 1)));
    let error = stream.message().await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(stream.message().await.unwrap(), None);
}

async fn a_panic_ends_a_response_stream(placement: Placement) {
    let handler = |_: Context, _: Probe| {
        let numbers = futures::stream::iter(1..=3).map(|number| {
            assert_ne!(number, 2, "a number that hurts");
            Ok(probe("", number))
        });
        std::future::ready(Ok(Streaming::new(numbers)))
    };
    let bed = Bed::new(placement, builder().server_streaming(&COUNT, handler).build()).await;
    let stream: Streaming<Probe> =
        bed.channel.server_streaming(&bed.cx, &COUNT, Probe::default()).await.unwrap();
    assert_eq!(stream.collect(3).await.unwrap_err().code(), Code::Internal);
    bed.service.close().await;
}

async fn a_dropped_response_stream_drops_the_callee(placement: Placement) {
    let dropped = Signal::default();
    let bed = Bed::new(placement, endless(&dropped)).await;
    let mut stream: Streaming<Probe> =
        bed.channel.server_streaming(&bed.cx, &COUNT, Probe::default()).await.unwrap();
    assert_eq!(stream.message().await.unwrap(), Some(probe("", 1)));
    assert_eq!(bed.service.in_flight(), 1);
    drop(stream);
    dropped.received().await;
    bed.service.close().await;
}

async fn a_failing_request_stream_fails_the_call(placement: Placement) {
    let dropped = Signal::default();
    let signal = dropped.clone();
    let handler = move |_: Context, mut requests: Streaming<Probe>| {
        let guard = signal.on_drop();
        async move {
            let _held = guard;
            while requests.message().await?.is_some() {}
            Ok(probe("complete", 0))
        }
    };
    let bed = Bed::new(placement, builder().client_streaming(&SUM, handler).build()).await;
    let failure = Error::failed_precondition(Reason::new("BAD_ROW"), "row 2 cannot be read");
    let items = vec![Ok(probe("", 1)), Err(failure)];
    let requests = Streaming::new(futures::stream::iter(items));
    let outcome: Result<Probe> = bed.channel.client_streaming(&bed.cx, &SUM, requests).await;
    assert!(outcome.unwrap_err().is(Reason::new("BAD_ROW")));
    dropped.received().await;
}

async fn a_failing_request_stream_fails_the_response_stream(placement: Placement) {
    let bed = Bed::new(placement, counting()).await;
    let (sender, requests) = Streaming::channel(1);
    let mut responses: Streaming<Probe> = bed.channel.bidirectional(&bed.cx, &CHAT, requests).await.unwrap();
    sender.send(probe("", 1)).await.unwrap();
    assert_eq!(responses.message().await.unwrap(), Some(probe("", -1)));
    sender.fail(Error::cancelled("changed my mind")).await.unwrap();
    assert_eq!(responses.message().await.unwrap_err().code(), Code::Cancelled);
    assert_eq!(responses.message().await.unwrap(), None);
    bed.service.close().await;
}

async fn a_deadline_ends_a_stream(placement: Placement) {
    let dropped = Signal::default();
    let bed = Bed::new(placement, endless(&dropped)).await;
    let cx = bed.cx.with_timeout(DEADLINE);
    let mut stream: Streaming<Probe> =
        bed.channel.server_streaming(&cx, &COUNT, Probe::default()).await.unwrap();
    let error = loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some(), "ended without an error"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::DeadlineExceeded);
    dropped.received().await;
}

async fn closing_waits_for_streams(placement: Placement) {
    let bed = Bed::new(placement, counting()).await;
    let (sender, requests) = Streaming::channel(1);
    let mut responses: Streaming<Probe> = bed.channel.bidirectional(&bed.cx, &CHAT, requests).await.unwrap();
    let mut closing = Box::pin(bed.service.close());
    assert!(futures::poll!(&mut closing).is_pending());
    sender.send(probe("last", 1)).await.unwrap();
    assert_eq!(responses.message().await.unwrap(), Some(probe("last", -1)));
    drop(sender);
    assert_eq!(responses.message().await.unwrap(), None);
    closing.await;
}

async fn bytes_stream_too(placement: Placement) {
    use banyan_core::Payload;
    let bed = Bed::new(placement, counting()).await;
    for (method, expected) in [(&COUNT, vec![1, 2]), (&SUM, vec![2]), (&CHAT, vec![-2])] {
        let requests = Streaming::of([probe("", 2).to_bytes()]);
        let responses = bed.channel.streaming_bytes(&bed.cx, method, requests).await.unwrap();
        let responses = responses.collect(2).await.unwrap();
        let seen = responses.iter().map(|bytes| Probe::from_bytes(bytes).unwrap()).collect();
        assert_eq!(numbers(seen), expected, "{}", method.name);
    }
}
