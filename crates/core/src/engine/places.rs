//! The places of active executions: those that have something to do. Others are queued, paused, or wait for timers, signals or answers.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// How many executions may be active at once.
#[derive(Debug)]
pub(crate) struct Places {
    free: Semaphore,
    count: usize,
    /// How many are active beyond what was allowed, since they woke while all places were taken.
    beyond: Mutex<usize>,
}

/// The place of an active execution; dropped, it is free for another.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

/// The engine shuts down, and nobody gets a place any more.
#[derive(Debug)]
pub(crate) struct Closed;

impl Places {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let count = count.min(Semaphore::MAX_PERMITS);
        Arc::new(Self { free: Semaphore::new(count), count, beyond: Mutex::new(0) })
    }

    /// Waits for a place, first in, first out. Dropped, it gives up its turn.
    pub(crate) async fn wait(self: Arc<Self>) -> Result<Place, Closed> {
        self.free.acquire().await.map_err(|_| Closed)?.forget();
        Ok(Place(self))
    }

    /// Takes a place at once, for one that goes on after a wait. If there is none, those that end next make up for it.
    pub(crate) fn take(self: &Arc<Self>) -> Place {
        let mut beyond = self.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        match self.free.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => *beyond += 1,
        }
        Place(Arc::clone(self))
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        let beyond = self.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        self.count - self.free.available_permits() + *beyond
    }

    /// Gives nobody a place any more who waits for one.
    pub(crate) fn close(&self) {
        self.free.close();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut beyond = self.0.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        match beyond.checked_sub(1) {
            Some(less) => *beyond = less,
            None => self.0.free.add_permits(1),
        }
    }
}
