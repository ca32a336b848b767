//! Group commit: whoever finds nobody writing writes for all who are ready, in one transaction with one sync.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    StoreError, medium,
    write::{Done, Operation},
};

/// The one connection that writes, and who waits for it.
#[derive(Debug)]
pub(super) struct Group {
    connection: Mutex<Connection>,
    queue: Mutex<Queue>,
    /// Executions that have begun or were claimed through this connection and have not ended.
    open: AtomicU32,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whether somebody writes, or is about to.
    led: bool,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    attempted: &'static str,
    operation: Operation,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug)]
enum Answer {
    /// Somebody has done it.
    Done(Result<Done, StoreError>),
    /// It is this one's turn to write.
    Lead(Operation, Leading),
}

/// The right to write; passed on when it is dropped.
#[derive(Debug)]
struct Leading(Option<Arc<Group>>);

/// The most operations of one transaction.
const MAX_GROUP: usize = 1024;

impl Group {
    pub(super) fn new(connection: Connection) -> Arc<Self> {
        Arc::new(Self { connection: Mutex::new(connection), queue: Mutex::default(), open: AtomicU32::new(0) })
    }

    /// Has an operation done. When this returns it is as durable as the store promises.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped it may be done or not.
    pub(super) async fn submit(
        self: &Arc<Self>,
        attempted: &'static str,
        operation: Operation,
    ) -> Result<Done, StoreError> {
        let (operation, leading) = match self.enter(attempted, operation) {
            Entered::Leads(operation, leading) => (operation, leading),
            Entered::Waits(heard) => match heard.await {
                Ok(Answer::Done(result)) => return result,
                Ok(Answer::Lead(operation, leading)) => (operation, leading),
                Err(_) => {
                    return Err(StoreError::Medium { attempted, source: "nobody has written it".into() });
                }
            },
        };
        if self.open.load(Relaxed) > 1 {
            // Whoever else is about to write comes along.
            tokio::task::yield_now().await;
        }
        let result = self.lead(attempted, &operation);
        drop(leading);
        result
    }

    fn enter(self: &Arc<Self>, attempted: &'static str, operation: Operation) -> Entered {
        let mut queue = self.queue();
        if queue.led {
            let (answer, heard) = oneshot::channel();
            queue.waiting.push_back(Waiting { attempted, operation, answer });
            Entered::Waits(heard)
        } else {
            queue.led = true;
            Entered::Leads(operation, Leading(Some(Arc::clone(self))))
        }
    }

    /// Writes what this one and all who wait have brought.
    fn lead(&self, attempted: &'static str, operation: &Operation) -> Result<Done, StoreError> {
        let others: Vec<Waiting> = {
            let mut queue = self.queue();
            let count = queue.waiting.len().min(MAX_GROUP);
            queue.waiting.drain(..count).collect()
        };
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let together = (!others.is_empty()).then(|| {
            let operations = std::iter::once(operation).chain(others.iter().map(|waiting| &waiting.operation));
            in_one_transaction(&connection, operations)
        });
        // One that the database refuses must not take the others with it: each is tried by itself then.
        let mut together = together.and_then(Result::ok).map(Vec::into_iter);
        let mut result_of = |attempted, operation: &Operation| {
            let result = match together.as_mut().and_then(Iterator::next) {
                Some(result) => result,
                None => match in_one_transaction(&connection, std::iter::once(operation)) {
                    Ok(mut results) => results.pop().unwrap_or(Ok(Done::Nothing)),
                    Err(error) => Err(medium(attempted, error)),
                },
            };
            if let Ok(done) = &result {
                self.count(operation, done);
            }
            result
        };
        let own = result_of(attempted, operation);
        for Waiting { attempted, operation, answer } in others {
            // Whoever asked may have gone.
            let _ = answer.send(Answer::Done(result_of(attempted, &operation)));
        }
        own
    }

    /// Counts executions that go on, which tells whether anybody else may be about to write.
    fn count(&self, operation: &Operation, done: &Done) {
        let change = match (operation, done) {
            (Operation::Create(_), Done::Created(super::Created::New(_)))
            | (Operation::Claim(_) | Operation::Reclaim(_), _) => 1,
            (Operation::Append(append), _) if append.ended_at.is_some() => -1,
            (Operation::Release(_), _) => -1,
            _ => return,
        };
        // Only whoever leads counts.
        self.open.store(self.open.load(Relaxed).saturating_add_signed(change), Relaxed);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entered {
    Leads(Operation, Leading),
    Waits(oneshot::Receiver<Answer>),
}

/// Does all of it or, if the database refuses one, nothing.
fn in_one_transaction<'a>(
    connection: &Connection,
    operations: impl Iterator<Item = &'a Operation>,
) -> rusqlite::Result<Vec<Result<Done, StoreError>>> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let done = operations
        .map(|operation| operation.run(connection))
        .collect::<rusqlite::Result<Vec<_>>>()
        .and_then(|results| connection.prepare_cached("COMMIT")?.execute([]).map(|_| results));
    if done.is_err() && !connection.is_autocommit() {
        // Should this fail, too, the next BEGIN does, and says why.
        let _ = connection.execute_batch("ROLLBACK");
    }
    done
}

impl Drop for Leading {
    fn drop(&mut self) {
        let Some(group) = self.0.take() else { return };
        loop {
            let mut queue = group.queue();
            let Some(Waiting { operation, answer, .. }) = queue.waiting.pop_front() else {
                queue.led = false;
                return;
            };
            drop(queue);
            match answer.send(Answer::Lead(operation, Leading(Some(Arc::clone(&group))))) {
                Ok(()) => return,
                // It has gone, and so has what it wanted; the right comes back.
                Err(Answer::Lead(_, mut leading)) => leading.0 = None,
                Err(Answer::Done(_)) => {}
            }
        }
    }
}
