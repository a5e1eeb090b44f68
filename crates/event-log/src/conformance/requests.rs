//! Conformance of request and reply.

use super::{Corner, Harness, Number, PATIENCE, soon};
use crate::consumer::{Consumer, ConsumerOptions};
use crate::request_reply::{Replier, ReplyHandler, Requester, RequesterOptions, reply_fn};
use banyan_core::{Code, Context, Envelope, Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

impl Corner {
    async fn requester(&self) -> Requester {
        let options = RequesterOptions::new(&format!("{}.asking", self.name));
        let started = Requester::start(Arc::clone(&self.log), options, self.env.clone(), &self.tasks).await;
        started.expect("a requester can be started")
    }

    fn reply(&self, handler: Arc<dyn ReplyHandler>) {
        let replier = Replier::new(Arc::clone(&self.log), &self.name, handler);
        let options = ConsumerOptions::new(&format!("{}.answering", self.name), [&self.name]);
        Consumer::new(Arc::clone(&self.log), options, self.env.clone()).run(Arc::new(replier), &self.tasks);
    }

    fn question(&self, number: u64) -> Envelope {
        self.event(&format!("key-{number}"), number)
    }
}

/// Many requests at once from two instances: each gets its own reply, or the error the replier failed with.
pub async fn a_request_gets_its_reply_or_its_error(harness: Harness) {
    let corner = Corner::new(harness);
    corner.reply(reply_fn(|_: Context, question: Number| async move {
        match question.number {
            7 => Err(Error::not_found("number", "7")),
            number => Ok(Number { key: "reply".into(), number: number * 2 }),
        }
    }));
    let (one, two) = (corner.requester().await, corner.requester().await);
    let cx = corner.cx().with_timeout(PATIENCE);
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..40 {
        let requester = if number % 2 == 0 { one.clone() } else { two.clone() };
        let (cx, question) = (cx.clone(), corner.question(number));
        asking.spawn(async move { (number, requester.request_envelope(&cx, question).await) });
    }
    while let Some(asked) = soon("a reply", asking.join_next()).await {
        let (number, reply) = asked.expect("asking does not panic");
        if number == 7 {
            let error = reply.expect_err("the replier fails");
            assert_eq!((error.code(), error.message()), (Code::NotFound, "there is no number \"7\""));
        } else {
            let reply: Result<Number> = reply.and_then(|bytes| banyan_core::Payload::from_bytes(&bytes));
            assert_eq!(reply.expect("the replier answers").number, number * 2);
        }
    }
    assert_eq!((one.late_replies(), two.late_replies()), (0, 0));
    corner.tasks.drain(PATIENCE).await.expect("everything stops");
}

/// Without a reply in time the deadline is what the requester sees; the reply that comes later is counted.
pub async fn a_late_reply_is_dropped_and_counted(harness: Harness) {
    let corner = Corner::new(harness);
    let (arrived, release) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (arrives, released) = (Arc::clone(&arrived), Arc::clone(&release));
    corner.reply(reply_fn(move |_: Context, question: Number| {
        let (arrives, released) = (Arc::clone(&arrives), Arc::clone(&released));
        async move {
            arrives.add_permits(1);
            let _permit = released.acquire().await.expect("it stays open");
            Ok(question)
        }
    }));
    let requester = corner.requester().await;
    soon("a question arrives", async {
        let mut limit = Duration::from_millis(50);
        for number in 1.. {
            let cx = corner.cx().with_timeout(limit);
            let asked = requester.request_envelope(&cx, corner.question(number)).await;
            assert_eq!(asked.expect_err("nobody answers in time").code(), Code::DeadlineExceeded);
            // On a busy machine the time may be up before the question is published.
            if timeout(limit, arrived.acquire()).await.is_ok() {
                return;
            }
            limit *= 2;
        }
    })
    .await;
    release.add_permits(1);
    soon("the late reply is counted", async {
        while requester.late_replies() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    corner.tasks.drain(PATIENCE).await.expect("everything stops");
}
