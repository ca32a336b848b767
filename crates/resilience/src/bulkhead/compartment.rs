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
use crate::{InvalidPolicy, keyed, timer::Timer};

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

impl keyed::Shared for Shared {
    fn key(&self) -> &Arc<str> {
        &self.key
    }

    fn is_idle(&self) -> bool {
        self.lock().running() == 0
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

/// Compartments by key, for as many callers as share what the keys stand for. Clones are the same registry.
///
/// A registry holds at most [1000](CompartmentRegistry::DEFAULT_CAPACITY) compartments unless made with another
/// [capacity](CompartmentRegistry::with_capacity). When a new key comes to a full registry, the least recently asked for
/// compartment that is empty, and that nobody has a handle of, is evicted; if there is none, one that is empty; and only if all
/// are in use any, whose attempts in progress then no longer count.
#[derive(Clone, Debug)]
pub struct CompartmentRegistry {
    table: Arc<keyed::Table<Shared>>,
}

impl CompartmentRegistry {
    /// How many compartments a registry holds unless told otherwise.
    pub const DEFAULT_CAPACITY: usize = keyed::DEFAULT_CAPACITY;

    /// Makes an empty registry of the default capacity.
    pub fn new() -> Self {
        Self { table: Arc::default() }
    }

    /// Makes an empty registry that holds at most `capacity` compartments. Making room takes time in proportion to it.
    ///
    /// # Errors
    ///
    /// If `capacity` is 0.
    pub fn with_capacity(capacity: usize) -> Result<Self, InvalidPolicy> {
        Ok(Self { table: Arc::new(keyed::Table::of_capacity(capacity)?) })
    }

    /// Returns the compartment of this key, a new one if there is none. One that lets through another number at once lets
    /// through that of this policy from now on.
    pub fn compartment(&self, key: &str, policy: &BulkheadPolicy) -> Compartment {
        let shared = self.table.get_or_insert(key, |key| Shared::new(key, policy));
        if shared.lock().max_concurrent() != policy.max_concurrent() {
            shared.with(|machine, wake| machine.set_max_concurrent(policy.max_concurrent(), wake));
        }
        Compartment { shared }
    }

    /// Returns how full the compartment of this key is, if there is one. Does not count as a use.
    pub fn state(&self, key: &str) -> Option<CompartmentState> {
        Some(Compartment { shared: self.table.get(key)? }.state())
    }

    /// Returns all keys and how full their compartments are, by key. Each state is true for itself; together they are no
    /// instant's picture.
    pub fn states(&self) -> Vec<(Arc<str>, CompartmentState)> {
        let compartments = self.table.sorted().into_iter().map(|shared| Compartment { shared });
        compartments.map(|compartment| (Arc::clone(&compartment.shared.key), compartment.state())).collect()
    }

    /// Returns how many compartments there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns whether there are no compartments.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for CompartmentRegistry {
    fn default() -> Self {
        Self::new()
    }
}
