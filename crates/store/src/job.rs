//! A closure on its way to a thread of the store, with the caller that waits for it.

use crate::load::Waiting;
use banyan_core::{Context, Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::oneshot;

/// Work for a thread that owns an `S`, erased from its result's type.
pub trait Job<S>: Send {
    /// Returns the context the work is done for.
    fn cx(&self) -> &Context;
    /// Tells whether nobody waits for the answer any more.
    fn abandoned(&self) -> bool;
    /// Tells whether the store's time limit applies.
    fn limited(&self) -> bool;
    /// Runs the closure and keeps its answer. A panic becomes an internal error. Unless it `may_run_again`, it is the
    /// last time.
    fn run(&mut self, scope: &mut S, may_run_again: bool) -> Result<()>;
    /// Gives the kept answer to the caller, or `error` in its place.
    fn answer(self: Box<Self>, error: Option<Error>);
}

/// A closure, its context and the way back to its caller.
pub(crate) struct Work<T, F> {
    cx: Context,
    limited: bool,
    /// Until it runs.
    waiting: Option<Waiting>,
    closure: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Work<T, F> {
    pub(crate) fn new(
        cx: &Context,
        limited: bool,
        waiting: Option<Waiting>,
        closure: F,
    ) -> (Self, oneshot::Receiver<Result<T>>) {
        let (reply, answer) = oneshot::channel();
        (Self { cx: cx.clone(), limited, waiting, closure: Some(closure), outcome: None, reply }, answer)
    }

    fn run_on<S>(
        &mut self,
        run: impl FnOnce(F, &mut S) -> Result<T>,
        scope: &mut S,
        may_run_again: bool,
    ) -> Result<()>
    where
        F: Clone,
    {
        self.waiting = None;
        let kept = if may_run_again { self.closure.clone() } else { None };
        let closure = self.closure.take().expect("a job does not run after its last time");
        self.closure = kept;
        let outcome = catch_unwind(AssertUnwindSafe(|| run(closure, scope))).unwrap_or_else(|panic| {
            Err(Error::internal(format!("a transaction panicked: {}", text(&*panic))))
        });
        let summary = outcome.as_ref().map(drop).map_err(Error::clone);
        self.outcome = Some(outcome);
        summary
    }

    fn reply(self, error: Option<Error>) {
        let answer = match error {
            Some(error) => Err(error),
            None => self.outcome.expect("a job that did not run is answered with an error"),
        };
        // The caller may be gone; then nobody is interested.
        let _ = self.reply.send(answer);
    }
}

macro_rules! job {
    ($scope:ident) => {
        impl<T, F> Job<crate::transaction::$scope<'_>> for Work<T, F>
        where
            T: Send,
            F: FnOnce(&mut crate::transaction::$scope<'_>) -> Result<T> + Clone + Send,
        {
            fn cx(&self) -> &Context {
                &self.cx
            }

            fn abandoned(&self) -> bool {
                self.reply.is_closed()
            }

            fn limited(&self) -> bool {
                self.limited
            }

            fn run(&mut self, scope: &mut crate::transaction::$scope<'_>, may_run_again: bool) -> Result<()> {
                self.run_on(|closure, scope| closure(scope), scope, may_run_again)
            }

            fn answer(self: Box<Self>, error: Option<Error>) {
                self.reply(error);
            }
        }
    };
}

job!(Tx);
job!(Read);

fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
