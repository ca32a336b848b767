//! Group commit: whoever finds nobody writing writes for all who are ready, in one transaction with one sync.
//!
//! The first one to come *leads*. If executions beside its own are open, it lets other tasks run for as long as they bring more to
//! write, then takes all that waits, writes it, and tells each how it went; whoever has come meanwhile leads next. What is to be
//! written is ready as it comes: under the lock only statements run.

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
    StoreError,
    commits::Log,
    medium,
    sheets::{self, Sheet},
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
    /// If the future is dropped it may be done or not, as a whole. Those who wait for it to lead are led by the next of them.
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
        self.gather().await;
        let result = self.lead(attempted, operation);
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

    /// Lets others come along, for as long as they do. Nobody is waited for who does not run at this moment.
    async fn gather(&self) {
        if self.open.load(Relaxed) <= 1 {
            return;
        }
        let mut known = 0;
        loop {
            tokio::task::yield_now().await;
            let waiting = self.queue().waiting.len();
            if waiting == known || waiting >= MAX_GROUP {
                return;
            }
            known = waiting;
        }
    }

    /// Writes what this one and all who wait have brought.
    fn lead(&self, attempted: &'static str, operation: Operation) -> Result<Done, StoreError> {
        let (mut attempts, mut operations, mut answers) = (vec![attempted], vec![operation], Vec::new());
        {
            let mut queue = self.queue();
            let count = queue.waiting.len().min(MAX_GROUP - 1);
            for Waiting { attempted, operation, answer } in queue.waiting.drain(..count) {
                attempts.push(attempted);
                operations.push(operation);
                answers.push(answer);
            }
        }
        let mut results = Vec::with_capacity(operations.len());
        {
            let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            write(&connection, &operations, &mut results);
        }
        let mut results = results.into_iter().zip(attempts).zip(&operations).map(|((result, attempted), operation)| {
            let done = result.map_err(|error| medium(attempted, error))??;
            self.count(operation, &done);
            Ok(done)
        });
        let own = results.next();
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever asked may have gone.
            let _ = answer.send(Answer::Done(result));
        }
        own.unwrap_or_else(|| Err(StoreError::Medium { attempted, source: "nobody has written it".into() }))
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

type Written = rusqlite::Result<Result<Done, StoreError>>;

/// Does all of it in one transaction. If the database refuses that, each half has its own, so that one who cannot be served takes nobody
/// with it.
fn write(connection: &Connection, operations: &[Operation], results: &mut Vec<Written>) {
    if let Err(error) = connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([])) {
        // None of them is to blame, and each would wait for the lock anew.
        results.extend(operations.iter().map(|_| Err(again(&error))));
        return;
    }
    let done = run(connection, operations)
        .and_then(|results| connection.prepare_cached("COMMIT")?.execute([]).map(|_| results));
    if done.is_err() && !connection.is_autocommit() {
        // Should this fail, too, the next BEGIN does, and says why.
        let _ = connection.execute_batch("ROLLBACK");
    }
    match done {
        Ok(all) => results.extend(all.into_iter().map(Ok)),
        Err(error) if operations.len() == 1 => results.push(Err(error)),
        Err(_) => {
            let (first, second) = operations.split_at(operations.len() / 2);
            write(connection, first, results);
            write(connection, second, results);
        }
    }
}

/// The same failure, for one more who is to hear of it.
fn again(error: &rusqlite::Error) -> rusqlite::Error {
    match error.sqlite_error() {
        Some(code) => rusqlite::Error::SqliteFailure(*code, Some(error.to_string())),
        None => rusqlite::Error::ToSqlConversionFailure(error.to_string().into()),
    }
}

fn run(connection: &Connection, operations: &[Operation]) -> rusqlite::Result<Vec<Result<Done, StoreError>>> {
    let appends = operations.iter().filter(|operation| matches!(operation, Operation::Append(_))).count();
    let mut sheet = if appends < sheets::MANY { None } else { Some(Sheet::begin(connection)?) };
    let mut log = Log::new();
    let mut results = Vec::with_capacity(operations.len());
    for operation in operations {
        results.push(operation.run(connection, &mut sheet, &mut log)?);
    }
    if let Some(sheet) = sheet {
        sheet.end(connection)?;
    }
    log.end(connection)?;
    Ok(results)
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
