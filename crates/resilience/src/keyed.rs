//! Shared things by key: [registries](Registry) of them, and [which](Select) of them a request belongs to.
//!
//! A [`Circuit`](crate::Circuit), a [`Bucket`](crate::Bucket) or a [`Compartment`](crate::Compartment) is a *handle*: clones of it
//! share what it stands for. A layer is given one handle for all requests, or finds that of each request by a key: then it is made
//! with a registry and a function from request to key.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::InvalidPolicy;

/// Says which handle a request belongs to: the same for all, or one by key.
///
/// Sealed; its implementations are the handles and [`Keyed`].
pub trait Select<R>: sealed::Sealed {
    /// The handle, or a reference to one.
    type Handle;

    /// Returns the handle for this request.
    fn select(&mut self, request: &R) -> Self::Handle;
}

/// Finds handles by key.
///
/// Sealed; its implementations are the registries, with what a new handle is made from.
pub trait Lookup: sealed::Sealed {
    /// What is found.
    type Handle;

    /// Returns the handle of this key, a new one if there is none.
    fn look_up(&self, key: &str) -> Self::Handle;
}

pub(crate) mod sealed {
    #[expect(unnameable_types, reason = "that is what seals")]
    pub trait Sealed {}
}

/// A registry, and a function from request to key.
#[derive(Clone, Copy)]
pub struct Keyed<L, F> {
    registry: L,
    key: F,
}

impl<L, F> Keyed<L, F> {
    pub(crate) const fn new(registry: L, key: F) -> Self {
        Self { registry, key }
    }
}

impl<L, F> sealed::Sealed for Keyed<L, F> {}

impl<R, L, K, F> Select<R> for Keyed<L, F>
where
    L: Lookup,
    F: Fn(&R) -> K,
    K: AsRef<str>,
{
    type Handle = L::Handle;

    fn select(&mut self, request: &R) -> L::Handle {
        self.registry.look_up((self.key)(request).as_ref())
    }
}

impl<L: fmt::Debug, F> fmt::Debug for Keyed<L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// Handles by key, for as many callers as share what the keys stand for. Clones are the same registry.
///
/// A registry holds at most [1000](Registry::DEFAULT_CAPACITY) handles unless made with another
/// [capacity](Registry::with_capacity). When a new key comes to a full registry, the least recently asked for handle that is idle,
/// so that nothing is lost with it, and that nobody else has, is evicted; if there is none, one that is idle; and only if all are in
/// use any. Handles of what was evicted remain usable, but no longer share with those of the key that are asked for later.
#[derive(Clone, Debug)]
pub struct Registry<H> {
    table: Arc<Table<H>>,
}

/// What a registry holds.
///
/// Sealed; its implementations are [`Bucket`](crate::Bucket) and [`Compartment`](crate::Compartment). Circuits have a
/// [registry](crate::CircuitRegistry) of their own: calls use them without asking it, so its order of use is another.
pub trait Handle: Clone + sealed::Sealed {
    /// What can be said of it.
    type State;

    /// Returns the key.
    fn key(&self) -> &Arc<str>;

    /// Returns its state now.
    fn state(&self) -> Self::State;

    /// Returns whether a new one in its place would be the same.
    fn is_idle(&self) -> bool;

    /// Returns whether anybody but the registry has it.
    fn is_held(&self) -> bool;
}

impl<H> Registry<H> {
    /// How many handles a registry holds unless told otherwise.
    pub const DEFAULT_CAPACITY: usize = 1000;

    /// Makes an empty registry of the default capacity.
    pub fn new() -> Self {
        Self::of_capacity(Self::DEFAULT_CAPACITY)
    }

    /// Makes an empty registry that holds at most `capacity` handles. Making room takes time in proportion to it.
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
        let entries = Mutex::new(Entries { by_key: HashMap::new(), uses: 0 });
        Self { table: Arc::new(Table { entries, capacity }) }
    }

    /// Returns how many handles there are.
    pub fn len(&self) -> usize {
        self.table.lock().by_key.len()
    }

    /// Returns whether there are no handles.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, key: &str) -> Option<H>
    where
        H: Clone,
    {
        self.table.lock().by_key.get(key).map(|entry| entry.handle.clone())
    }
}

impl<H: Handle> Registry<H> {
    /// Returns the state of the handle of this key, if there is one. Does not count as a use.
    pub fn state(&self, key: &str) -> Option<H::State> {
        Some(self.get(key)?.state())
    }

    /// Returns all keys and states, by key. Each state is true for itself; together they are no instant's picture.
    pub fn states(&self) -> Vec<(Arc<str>, H::State)> {
        self.handles().map(|handle| (Arc::clone(handle.key()), handle.state())).collect()
    }

    /// All of them, by key.
    pub(crate) fn handles(&self) -> impl Iterator<Item = H> + use<H> {
        let mut all: Vec<_> = self.table.lock().by_key.values().map(|entry| entry.handle.clone()).collect();
        all.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        all.into_iter()
    }

    /// The one of this key, made if there is none. Counts as a use.
    pub(crate) fn get_or_insert(&self, key: &str, make: impl FnOnce(Arc<str>) -> H) -> H {
        let mut entries = self.table.lock();
        entries.uses += 1;
        let last_use = entries.uses;
        if let Some(entry) = entries.by_key.get_mut(key) {
            entry.last_use = last_use;
            return entry.handle.clone();
        }
        while entries.by_key.len() >= self.table.capacity && entries.evict_one() {}
        let key: Arc<str> = key.into();
        let handle = make(Arc::clone(&key));
        entries.by_key.insert(key, Entry { handle: handle.clone(), last_use });
        handle
    }
}

impl<H> Default for Registry<H> {
    fn default() -> Self {
        Self::new()
    }
}

/// Its lock is taken before those of the things in it, never after.
#[derive(Debug)]
struct Table<H> {
    entries: Mutex<Entries<H>>,
    capacity: usize,
}

#[derive(Debug)]
struct Entries<H> {
    by_key: HashMap<Arc<str>, Entry<H>>,
    uses: u64,
}

#[derive(Debug)]
struct Entry<H> {
    handle: H,
    last_use: u64,
}

impl<H> Table<H> {
    fn lock(&self) -> MutexGuard<'_, Entries<H>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Handle> Entries<H> {
    /// Evicts the least recently used one that is idle and that nobody has a handle of, else one that is idle, else any.
    fn evict_one(&mut self) -> bool {
        let rank = |entry: &Entry<H>| (!entry.handle.is_idle(), entry.handle.is_held(), entry.last_use);
        let chosen = self.by_key.iter().min_by_key(|(_, entry)| rank(entry)).map(|(key, _)| Arc::clone(key));
        chosen.is_some_and(|key| self.by_key.remove(&key).is_some())
    }
}
