use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    BulkheadFull, BulkheadPolicy, Refusal,
    state::{Answer, Machine},
};
use crate::{
    keyed::{Handle, Lookup, Registry, Select, sealed},
    timer::Timer,
};

/// A handle of one compartment. Clones are cheap and share its state.
///
/// Usually got from a [`CompartmentRegistry`] by key. Without a registry, [`Compartment::new`] makes one of which there are only
/// this handle and its clones.
#[derive(Clone)]
pub struct Compartment {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: Arc<str>,
    machine: Mutex<Machine>,
}

/// How full a compartment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompartmentState {
    /// How many attempts are in progress.
    pub running: u32,
    /// How many attempts wait.
    pub waiting: usize,
}

impl Compartment {
    /// Makes an empty compartment that belongs to no registry. The key is for errors and observers.
    pub fn new(key: impl Into<Arc<str>>, policy: &BulkheadPolicy) -> Self {
        Self { shared: Arc::new(Shared::new(key.into(), policy)) }
    }

    /// Returns the key of the compartment.
    pub fn key(&self) -> &str {
        &self.shared.key
    }

    /// Returns how full the compartment is. Attempts end by themselves, so there is nothing to reset.
    pub fn state(&self) -> CompartmentState {
        let machine = self.shared.lock();
        CompartmentState { running: machine.running(), waiting: machine.waiting() }
    }

    /// Asks for a permit, or a place in the queue from now on.
    pub(super) fn ask(&self, policy: &BulkheadPolicy) -> Result<Permit, BulkheadFull> {
        let stage = match self.shared.lock().ask(policy.longest_queue()) {
            Answer::Granted => Stage::Granted,
            Answer::Queued { number } => {
                Stage::Queued { number, since: Instant::now(), timer: Timer::new(), limit: policy.longest_wait() }
            }
            Answer::Full => return Err(self.refused(Refusal::QueueFull)),
        };
        Ok(Permit { compartment: self.clone(), stage })
    }

    fn refused(&self, refusal: Refusal) -> BulkheadFull {
        BulkheadFull { key: Arc::clone(&self.shared.key), refusal }
    }
}

impl fmt::Debug for Compartment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compartment").field("key", &self.key()).field("state", &self.state()).finish()
    }
}

impl Shared {
    fn new(key: Arc<str>, policy: &BulkheadPolicy) -> Self {
        Self { key, machine: Mutex::new(Machine::new(policy.max_concurrent())) }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the machine do something, and wakes those whom it concerns when the lock is free again.
    fn with(&self, act: impl FnOnce(&mut Machine, &mut Vec<Waker>)) {
        let mut wake = Vec::new();
        act(&mut self.lock(), &mut wake);
        wake.into_iter().for_each(Waker::wake);
    }
}

impl sealed::Sealed for Compartment {}

impl Handle for Compartment {
    type State = CompartmentState;

    fn key(&self) -> &Arc<str> {
        &self.shared.key
    }

    fn state(&self) -> CompartmentState {
        Self::state(self)
    }

    fn is_idle(&self) -> bool {
        self.shared.lock().running() == 0
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }
}

impl<R> Select<R> for Compartment {
    type Handle = Compartment;

    fn select(&mut self, _request: &R) -> Compartment {
        self.clone()
    }
}

/// A place in the queue of a compartment, and the permit that was granted there. Given back on drop.
#[derive(Debug)]
pub(super) struct Permit {
    compartment: Compartment,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Queued { number: u64, since: Instant, timer: Timer, limit: Duration },
    Granted,
    Left,
}

impl Permit {
    pub(super) fn compartment(&self) -> &Compartment {
        &self.compartment
    }

    /// Is ready once the permit is there, with the time that it was waited for, or once that was too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Duration, BulkheadFull>> {
        let Stage::Queued { number, since, timer, limit } = &mut self.stage else {
            return Poll::Ready(Ok(Duration::ZERO));
        };
        if self.compartment.shared.lock().is_granted(*number, cx.waker()) {
            let time = since.elapsed();
            self.stage = Stage::Granted;
            return Poll::Ready(Ok(time));
        }
        if timer.poll_after(*limit, cx).is_pending() {
            return Poll::Pending;
        }
        let refusal = Refusal::TooLong { limit: *limit };
        self.leave();
        Poll::Ready(Err(self.compartment.refused(refusal)))
    }

    fn leave(&mut self) {
        let shared = &self.compartment.shared;
        match std::mem::replace(&mut self.stage, Stage::Left) {
            Stage::Queued { number, .. } => shared.with(|machine, wake| machine.leave(number, wake)),
            Stage::Granted => shared.with(Machine::give_back),
            Stage::Left => {}
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Compartments by key. An idle one is empty; attempts in progress in one that is evicted no longer count.
pub type CompartmentRegistry = Registry<Compartment>;

impl Registry<Compartment> {
    /// Returns the compartment of this key, a new one if there is none. One that lets through another number at once lets
    /// through that of this policy from now on.
    pub fn compartment(&self, key: &str, policy: &BulkheadPolicy) -> Compartment {
        let compartment = self.get_or_insert(key, |key| Compartment::new(key, policy));
        if compartment.shared.lock().max_concurrent() != policy.max_concurrent() {
            compartment.shared.with(|machine, wake| machine.set_max_concurrent(policy.max_concurrent(), wake));
        }
        compartment
    }
}

impl sealed::Sealed for (CompartmentRegistry, BulkheadPolicy) {}

impl Lookup for (CompartmentRegistry, BulkheadPolicy) {
    type Handle = Compartment;

    fn look_up(&self, key: &str) -> Compartment {
        self.0.compartment(key, &self.1)
    }
}
