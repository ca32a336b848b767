//! What is run when an attempt is cancelled.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
};

use tokio_util::sync::CancellationToken;

use super::AgentContext;

/// What is run when an attempt is cancelled, in the order in which it was asked for.
#[derive(Default)]
pub(super) struct Cleanups {
    pending: Vec<Box<dyn FnOnce() + Send>>,
    has_fired: bool,
}

impl fmt::Debug for Cleanups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleanups").field("pending", &self.pending.len()).field("has_fired", &self.has_fired).finish()
    }
}

/// One that panics does not keep the others from being run.
fn run(cleanup: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(cleanup)).is_err() {
        tracing::warn!("a cleanup panicked");
    }
}

impl AgentContext {
    /// Runs something when the attempt is cancelled, takes too long or is dropped: once, and at once if that has happened already. It is
    /// forgotten when the attempt ends by itself.
    ///
    /// It must not block. What takes longer belongs into a task.
    pub fn on_cancel(&self, cleanup: impl FnOnce() + Send + 'static) {
        let has_fired = self.with_extras(|extras| {
            let has_fired = extras.cleanups.has_fired;
            if !has_fired {
                extras.cleanups.pending.push(Box::new(cleanup));
                return None;
            }
            Some(cleanup)
        });
        if let Some(cleanup) = has_fired {
            run(cleanup);
        }
    }

    /// Polls an attempt, and runs its cleanups when the token fires or the future is dropped before its end. Whoever calls agents puts
    /// it around them; it costs nothing as long as there are no cleanups.
    pub async fn cleaned_up<T>(&self, attempt: impl Future<Output = T>, cancel: CancellationToken) -> T {
        let mut guard = Guard { cx: self, has_ended: false };
        let mut attempt = pin!(attempt);
        let mut fires: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
        let result = std::future::poll_fn(|task| {
            let polled = attempt.as_mut().poll(task);
            if self.has_cleanups() {
                let fires = fires.get_or_insert_with(|| Box::pin(cancel.clone().cancelled_owned()));
                if fires.as_mut().poll(task).is_ready() {
                    self.fire();
                }
            }
            polled
        })
        .await;
        guard.has_ended = true;
        drop(guard);
        self.forget_cleanups();
        result
    }

    fn has_cleanups(&self) -> bool {
        self.peek_extras(|extras| !extras.cleanups.pending.is_empty()).unwrap_or(false)
    }

    fn fire(&self) {
        let pending = self.with_extras(|extras| {
            extras.cleanups.has_fired = true;
            std::mem::take(&mut extras.cleanups.pending)
        });
        pending.into_iter().for_each(run);
    }

    fn forget_cleanups(&self) {
        self.peek_extras(|extras| extras.cleanups = Cleanups::default());
    }
}

/// Runs what is pending when an attempt is dropped.
struct Guard<'a> {
    cx: &'a AgentContext,
    has_ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.has_ended && self.cx.has_cleanups() {
            self.cx.fire();
            self.cx.forget_cleanups();
        }
    }
}
