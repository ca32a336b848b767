use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
};

use super::{CircuitState, registry::Table, state::Machine};
use crate::sync::{AtomicU64, Mutex, MutexGuard};

/// What all handles of one circuit share.
///
/// The truth is behind the lock. A [`Word`] beside it says as much of it as a call needs that finds the circuit closed and
/// succeeds: such a call reads one atomic when it is admitted and one when it is done, and takes no lock.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) key: Arc<str>,
    word: AtomicU64,
    inhabitant: Mutex<Inhabitant>,
    /// The highest even mark in the table.
    uses: Arc<AtomicU64>,
    last_use: AtomicU64,
    /// Dangling for a circuit without a registry.
    pub(super) table: Weak<Table>,
}

#[derive(Debug)]
pub(super) struct Inhabitant {
    pub(super) machine: Machine,
    pub(super) is_evicted: bool,
}

impl Cell {
    pub(super) fn new(key: Arc<str>, table: Weak<Table>, uses: Arc<AtomicU64>) -> Self {
        let inhabitant = Inhabitant { machine: Machine::new(), is_evicted: false };
        Self {
            key,
            word: AtomicU64::new(Word::of(&inhabitant).0),
            inhabitant: Mutex::new(inhabitant),
            last_use: AtomicU64::new(next_use(&uses)),
            uses,
            table,
        }
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    pub(super) fn lock(&self) -> Access<'_> {
        Access { inhabitant: self.inhabitant.lock().unwrap_or_else(PoisonError::into_inner), word: &self.word }
    }

    /// Marks this circuit as used since the last [`touch_last`](Cell::touch_last) of any circuit in its table. Writes nothing if
    /// it is marked, so that those who use different circuits do not wait for each other's memory.
    #[inline]
    pub(super) fn touch(&self) {
        let mark = self.uses.load(Ordering::Relaxed) | 1;
        if self.last_use() != mark {
            self.last_use.store(mark, Ordering::Relaxed);
        }
    }

    /// Makes this the most recently used circuit of its table.
    pub(super) fn touch_last(&self) {
        self.last_use.store(next_use(&self.uses), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// Forgets the state and marks the circuit as evicted, unless it became worth more than when it was chosen.
    pub(super) fn evict(&self, worth: Worth) -> bool {
        let mut inhabitant = self.lock();
        if Word::of(&inhabitant).worth() > worth {
            return false;
        }
        inhabitant.machine.forget();
        inhabitant.is_evicted = true;
        true
    }
}

/// An even number; the odd one after it is for all that are merely touched until the next.
fn next_use(uses: &AtomicU64) -> u64 {
    uses.fetch_add(2, Ordering::Relaxed) + 2
}

/// Access to what is behind the lock; brings the word up to date before it unlocks.
pub(super) struct Access<'a> {
    inhabitant: MutexGuard<'a, Inhabitant>,
    word: &'a AtomicU64,
}

impl Deref for Access<'_> {
    type Target = Inhabitant;

    fn deref(&self) -> &Inhabitant {
        &self.inhabitant
    }
}

impl DerefMut for Access<'_> {
    fn deref_mut(&mut self) -> &mut Inhabitant {
        &mut self.inhabitant
    }
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        self.word.store(Word::of(&self.inhabitant).0, Ordering::Release);
    }
}

/// The generation, and below it four bits on the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word(u64);

/// How much is lost when a circuit is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    Closed,
    HalfOpen,
    Open,
}

impl Word {
    const CLOSED: u64 = 1;
    /// Closed without a failure, so that a success changes nothing.
    const QUIET: u64 = 1 << 1;
    const OPEN: u64 = 1 << 2;
    const EVICTED: u64 = 1 << 3;
    const FLAGS: u32 = 4;

    fn of(inhabitant: &Inhabitant) -> Self {
        let flags = match inhabitant.machine.state() {
            _ if inhabitant.is_evicted => Self::EVICTED,
            CircuitState::Closed { failures: 0 } => Self::CLOSED | Self::QUIET,
            CircuitState::Closed { .. } => Self::CLOSED,
            CircuitState::Open { .. } => Self::OPEN,
            CircuitState::HalfOpen { .. } => 0,
        };
        Self(inhabitant.machine.generation() << Self::FLAGS | flags)
    }

    #[inline]
    pub(super) fn generation(self) -> u64 {
        self.0 >> Self::FLAGS
    }

    #[inline]
    pub(super) fn is_closed(self) -> bool {
        self.0 & Self::CLOSED != 0
    }

    #[inline]
    pub(super) fn is_quiet(self) -> bool {
        self.0 & Self::QUIET != 0
    }

    #[inline]
    pub(super) fn is_evicted(self) -> bool {
        self.0 & Self::EVICTED != 0
    }

    pub(super) fn worth(self) -> Worth {
        if self.0 & Self::OPEN != 0 {
            Worth::Open
        } else if self.is_closed() {
            Worth::Closed
        } else {
            Worth::HalfOpen
        }
    }
}
