//! Shared things by key, at most so many.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::InvalidPolicy;

/// What a [`Table`] holds.
pub(crate) trait Shared {
    fn key(&self) -> &Arc<str>;

    /// Whether a new one in its place would be the same, so that nothing is lost when it goes.
    fn is_idle(&self) -> bool;
}

/// Its lock is taken before those of the things in it, never after.
#[derive(Debug)]
pub(crate) struct Table<T> {
    entries: Mutex<Entries<T>>,
    capacity: usize,
}

#[derive(Debug)]
struct Entries<T> {
    by_key: HashMap<Arc<str>, Entry<T>>,
    uses: u64,
}

#[derive(Debug)]
struct Entry<T> {
    shared: Arc<T>,
    last_use: u64,
}

pub(crate) const DEFAULT_CAPACITY: usize = 1000;

impl<T> Default for Table<T> {
    fn default() -> Self {
        let entries = Entries { by_key: HashMap::new(), uses: 0 };
        Self { entries: Mutex::new(entries), capacity: DEFAULT_CAPACITY }
    }
}

impl<T: Shared> Table<T> {
    pub(crate) fn of_capacity(capacity: usize) -> Result<Self, InvalidPolicy> {
        if capacity == 0 {
            return Err(InvalidPolicy::new("capacity", "must leave room for one key"));
        }
        Ok(Self { capacity, ..Self::default() })
    }

    /// The one of this key, made if there is none. Counts as a use.
    pub(crate) fn get_or_insert(&self, key: &str, make: impl FnOnce(Arc<str>) -> T) -> Arc<T> {
        let mut entries = self.lock();
        entries.uses += 1;
        let last_use = entries.uses;
        if let Some(entry) = entries.by_key.get_mut(key) {
            entry.last_use = last_use;
            return Arc::clone(&entry.shared);
        }
        while entries.by_key.len() >= self.capacity && entries.evict_one() {}
        let key: Arc<str> = key.into();
        let shared = Arc::new(make(Arc::clone(&key)));
        entries.by_key.insert(key, Entry { shared: Arc::clone(&shared), last_use });
        shared
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<T>> {
        self.lock().by_key.get(key).map(|entry| Arc::clone(&entry.shared))
    }

    /// All of them, by key.
    pub(crate) fn sorted(&self) -> Vec<Arc<T>> {
        let mut all: Vec<_> = self.lock().by_key.values().map(|entry| Arc::clone(&entry.shared)).collect();
        all.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    fn lock(&self) -> MutexGuard<'_, Entries<T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Shared> Entries<T> {
    /// Evicts the least recently used one that is idle and that nobody has a handle of, else one that is idle, else any.
    fn evict_one(&mut self) -> bool {
        let rank = |entry: &Entry<T>| {
            let is_idle = entry.shared.is_idle();
            let is_held = Arc::strong_count(&entry.shared) > 1;
            (!is_idle, is_held, entry.last_use)
        };
        let chosen = self.by_key.iter().min_by_key(|(_, entry)| rank(entry)).map(|(key, _)| Arc::clone(key));
        chosen.is_some_and(|key| self.by_key.remove(&key).is_some())
    }
}
