use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, Weak},
};

use super::{Circuit, CircuitChange, CircuitState, cell::Cell};
use crate::{
    InvalidPolicy,
    sync::{AtomicU64, Mutex, MutexGuard},
};

/// Circuits by key, for as many callers as share what the keys stand for. Clones are the same registry.
///
/// A registry holds at most [1000](CircuitRegistry::DEFAULT_CAPACITY) circuits unless made with another
/// [capacity](CircuitRegistry::with_capacity). When a new key comes to a full registry, the least recently used closed circuit
/// is evicted, else the least recently used half-open one, and an open one only if all are open. Look-ups, failures and probes
/// count as uses one by one; among circuits that merely succeeded since the last of these, any may go first. What an evicted circuit knew is
/// lost, and the outcomes of its attempts in progress are ignored; [handles](Circuit) of it remain usable.
///
/// ```
/// use orchestr8_resilience::{CircuitRegistry, circuit_breaker::CircuitState};
///
/// let circuits = CircuitRegistry::new();
/// let payments = circuits.circuit("cb:payments");
/// assert_eq!(payments.state(), CircuitState::Closed { failures: 0 });
/// assert_eq!(circuits.state("cb:other"), None);
/// assert_eq!(circuits.len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct CircuitRegistry {
    table: Arc<Table>,
}

impl CircuitRegistry {
    /// How many circuits a registry holds unless told otherwise.
    pub const DEFAULT_CAPACITY: usize = 1000;

    /// Makes an empty registry of the default capacity.
    pub fn new() -> Self {
        Self::of_capacity(Self::DEFAULT_CAPACITY)
    }

    /// Makes an empty registry that holds at most `capacity` circuits. Making room takes time in proportion to it.
    ///
    /// # Errors
    ///
    /// If `capacity` is 0.
    pub fn with_capacity(capacity: usize) -> Result<Self, InvalidPolicy> {
        if capacity == 0 {
            return Err(InvalidPolicy::new("capacity", "must leave room for one key"));
        }
        Ok(Self::of_capacity(capacity))
    }

    fn of_capacity(capacity: usize) -> Self {
        let table = Arc::new_cyclic(|this| Table {
            circuits: Mutex::default(),
            capacity,
            uses: Arc::default(),
            this: Weak::clone(this),
        });
        Self { table }
    }

    /// Returns the circuit of this key, a new and closed one if there is none. Counts as a use of it.
    pub fn circuit(&self, key: &str) -> Circuit {
        self.table.circuit(key)
    }

    /// Returns the state of the circuit of this key, if there is one. Does not count as a use.
    pub fn state(&self, key: &str) -> Option<CircuitState> {
        self.table.get(key).map(|circuit| circuit.state())
    }

    /// Closes the circuit of this key, as [`Circuit::reset`] does. Returns `None` if it was closed, or there is none.
    pub fn reset(&self, key: &str) -> Option<CircuitChange> {
        self.table.get(key)?.reset()
    }

    /// Closes all circuits. Returns the changes of those that were not closed, by key.
    pub fn reset_all(&self) -> Vec<CircuitChange> {
        let circuits = self.table.sorted();
        circuits.iter().filter_map(Circuit::reset).collect()
    }

    /// Returns all keys and states, by key. Each state is true for itself; together they are no instant's picture.
    pub fn snapshot(&self) -> Vec<(Arc<str>, CircuitState)> {
        let circuits = self.table.sorted();
        let read = |circuit: &Circuit| (Arc::clone(&circuit.cell.key), circuit.state());
        circuits.iter().map(read).collect()
    }

    /// Returns how many circuits there are.
    pub fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// Returns whether there are no circuits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for CircuitRegistry {
    fn default() -> Self {
        Self::new()
    }
}

/// What the handles of a registry share, and evicted circuits find their successors in.
///
/// Its lock is taken before that of a circuit, never after.
#[derive(Debug)]
pub(super) struct Table {
    circuits: Mutex<Circuits>,
    capacity: usize,
    uses: Arc<AtomicU64>,
    this: Weak<Table>,
}

type Circuits = HashMap<Arc<str>, Circuit>;

impl Table {
    pub(super) fn circuit(&self, key: &str) -> Circuit {
        let mut circuits = self.lock();
        if let Some(circuit) = circuits.get(key) {
            circuit.cell.touch_last();
            return circuit.clone();
        }
        while circuits.len() >= self.capacity {
            evict_one(&mut circuits);
        }
        let key: Arc<str> = key.into();
        let cell = Cell::new(Arc::clone(&key), Weak::clone(&self.this), Arc::clone(&self.uses));
        let circuit = Circuit { cell: Arc::new(cell) };
        circuits.insert(key, circuit.clone());
        circuit
    }

    pub(super) fn get(&self, key: &str) -> Option<Circuit> {
        self.lock().get(key).cloned()
    }

    fn sorted(&self) -> Vec<Circuit> {
        let mut circuits: Vec<_> = self.lock().values().cloned().collect();
        circuits.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        circuits
    }

    fn lock(&self) -> MutexGuard<'_, Circuits> {
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Evicts the circuit that is worth least, and of those the least recently used; nothing if it opened in this moment.
fn evict_one(circuits: &mut Circuits) {
    let rank = |circuit: &Circuit| (circuit.cell.word().worth(), circuit.cell.last_use());
    let chosen = circuits
        .values()
        .map(|circuit| (rank(circuit), circuit))
        .min_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.key().cmp(other.key())));
    if let Some(((worth, _), circuit)) = chosen
        && circuit.cell.evict(worth)
    {
        let key = Arc::clone(&circuit.cell.key);
        circuits.remove(&key);
    }
}
