//! What is run when an attempt is cancelled.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    time::Duration,
};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::AgentContext;

/// What is run when an attempt is cancelled, in the order in which it was asked for.
#[derive(Default)]
pub(super) struct Cleanups {
    pending: Vec<Pending>,
    has_fired: bool,
}

/// A cleanup that takes its time.
pub type Cleanup = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Pending {
    AtOnce(Box<dyn FnOnce() + Send>),
    Beside(Cleanup),
}

impl Pending {
    /// Runs it; one that panics does not keep the others from being run. By force means that the attempt was dropped.
    fn run(self, cx: &AgentContext, by_force: bool) {
        match self {
            Self::AtOnce(cleanup) => {
                if catch_unwind(AssertUnwindSafe(cleanup)).is_err() {
                    tracing::warn!("a cleanup panicked");
                }
            }
            Self::Beside(cleanup) => match cx.host() {
                Some(host) => host.clean_up(cleanup, by_force),
                None => spawn(cleanup),
            },
        }
    }
}

/// Runs a cleanup for as long as such may take where nobody says.
pub(super) fn spawn(cleanup: Cleanup) {
    const LIMIT: Duration = Duration::from_secs(5);

    match Handle::try_current() {
        Ok(runtime) => _ = runtime.spawn(tokio::time::timeout(LIMIT, cleanup)),
        Err(_) => tracing::warn!("a cleanup was not run, because nothing runs tasks here"),
    }
}

impl fmt::Debug for Cleanups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleanups").field("pending", &self.pending.len()).field("has_fired", &self.has_fired).finish()
    }
}

impl AgentContext {
    /// Runs something when the attempt is cancelled, takes too long or is dropped: once, and at once if that has happened already. It is
    /// forgotten when the attempt ends by itself.
    ///
    /// It must not block. What has to wait for something belongs into [`clean_up`](Self::clean_up).
    pub fn on_cancel(&self, cleanup: impl FnOnce() + Send + 'static) {
        self.on_end(Pending::AtOnce(Box::new(cleanup)));
    }

    /// As [`on_cancel`](Self::on_cancel), for a cleanup that takes its time: it runs beside everything else, for at most
    /// `policies.concurrency.cleanupTimeoutMs` (5 s) if the attempt was told to end, and 2 s if it was dropped. Then it is dropped.
    ///
    /// ```
    /// # use orchestr8_agent_base::AgentContext;
    /// # struct Job;
    /// # impl Job { async fn withdraw(self) {} }
    /// # fn call(cx: &AgentContext, job: Job) {
    /// cx.clean_up(job.withdraw());
    /// # }
    /// ```
    pub fn clean_up(&self, cleanup: impl Future<Output = ()> + Send + 'static) {
        self.on_end(Pending::Beside(Box::pin(cleanup)));
    }

    fn on_end(&self, cleanup: Pending) {
        let late = self.with_extras(|extras| {
            if extras.cleanups.has_fired {
                return Some(cleanup);
            }
            extras.cleanups.pending.push(cleanup);
            None
        });
        if let Some(cleanup) = late {
            cleanup.run(self, false);
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
                    self.fire(false);
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

    fn fire(&self, by_force: bool) {
        let pending = self.with_extras(|extras| {
            extras.cleanups.has_fired = true;
            std::mem::take(&mut extras.cleanups.pending)
        });
        for cleanup in pending {
            cleanup.run(self, by_force);
        }
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
            self.cx.fire(true);
            self.cx.forget_cleanups();
        }
    }
}
