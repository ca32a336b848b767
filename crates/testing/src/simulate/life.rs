//! One simulated execution, over as many lives of its process as it takes.

use std::{pin::pin, sync::Arc, time::Duration};

use orchestr8_agent_base::{AgentRegistry, Clock};
use orchestr8_core::{
    Cancellation, Engine, ExecutionHandle, MemoryStore, StartError,
    engine::{self, ForkError, ForkRequest, ResumeError, TakeUpError},
    machine::{Phase, Status},
    store::{Holder, Query},
};
use orchestr8_schema::{ExecutionId, Timestamp, ValidWorkflow, policy::Budget};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    chance::Chance,
    fault::Checkpoint,
    invariant::Invariant,
    referee::Told,
    world::{Errand, Forking, World},
};
use crate::FaultStore;

/// The most lives of a process; more crashes than that are no longer faults but a process that does not run.
const MAX_LIVES: u64 = 40;
/// An execution with more events than that does not end.
const MAX_EVENTS: usize = 100_000;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) workflow: &'a ValidWorkflow,
    pub(super) agents: &'a AgentRegistry,
    pub(super) input: &'a Value,
    /// What a fork with another input is given.
    pub(super) other_input: &'a Value,
    pub(super) horizon: Duration,
    pub(super) slots: u32,
}

/// How a simulated execution ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is terminal.
    Ended(Status),
    /// The horizon came, and it waits for something that has a name.
    Waits,
    /// It can neither end nor say what it waits for.
    Stuck,
}

/// How a life of the process ended.
enum End {
    /// The execution is over, as far as this simulation goes.
    Done(Verdict),
    /// The process is gone.
    Gone,
    /// The process has ended in good order.
    Stopped,
}

/// The execution and its forks, one after the other.
#[derive(Debug, Default)]
struct Course {
    executions: Vec<ExecutionId>,
    /// When the last of them began.
    began: Duration,
}

/// Lives through an execution.
pub(super) fn live_through(subject: Subject<'_>, world: &Arc<World>, seed: u64) -> Verdict {
    let store = MemoryStore::new();
    let mut course = Course::default();
    let (mut after, mut writes) = (Duration::ZERO, 0);
    for life in 0..MAX_LIVES {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build() {
            Ok(runtime) => runtime,
            Err(error) => {
                world.with_referee(|referee| referee.blame(Invariant::Progress, format!("no runtime: {error}")));
                return Verdict::Stuck;
            }
        };
        let end = runtime.block_on(async {
            world.begin_life(after);
            let store = FaultStore::new(store.clone(), Arc::clone(world) as _).after_writes(writes);
            live(subject, world, store, &mut course).await
        });
        let ended = runtime.block_on(async { world.end_life() });
        drop(runtime);
        (after, writes) = ended;
        match end {
            End::Done(verdict) => return verdict,
            End::Stopped => {}
            End::Gone => {
                // Long enough for leases to run out, whatever else.
                let mut chance = Chance::of(seed, &format!("downtime {life}"));
                after += chance.duration(Duration::from_secs(31), Duration::from_secs(3600));
            }
        }
    }
    Verdict::Stuck
}

async fn live(subject: Subject<'_>, world: &Arc<World>, store: FaultStore<MemoryStore>, course: &mut Course) -> End {
    let engine = Engine::builder()
        .registry(subject.agents.clone())
        .store(store)
        .clock(Arc::clone(world) as _)
        .max_concurrent_steps(subject.slots)
        .build();
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => {
            world.with_referee(|referee| referee.blame(Invariant::Progress, format!("no engine: {error}")));
            return End::Done(Verdict::Stuck);
        }
    };
    let mut life = pin!(follow(&engine, subject, world, course));
    tokio::select! {
        biased;
        () = world.gone.notified() => return End::Gone,
        () = world.stop.notified() => world.stops(),
        end = &mut life => return end,
    }
    // What is being asked for goes on while the process ends.
    let mut stopped = pin!(engine.shutdown(Duration::ZERO));
    tokio::select! {
        biased;
        () = world.gone.notified() => return End::Gone,
        _ = &mut stopped => {}
        _ = life => tokio::select! {
            biased;
            () = world.gone.notified() => return End::Gone,
            _ = stopped => {}
        },
    }
    world.has_stopped();
    End::Stopped
}

/// Drives the execution to its end, and what is made of it then.
async fn follow(engine: &Engine, subject: Subject<'_>, world: &World, course: &mut Course) -> End {
    let mut next = match begin(engine, subject, world, course).await {
        Ok(handle) => Some(handle),
        Err(error) => return cannot_begin(world, &error),
    };
    let mut verdict = Verdict::Stuck;
    while let Some(handle) = next {
        let passed = world.elapsed().saturating_sub(course.began);
        verdict = tokio::select! {
            biased;
            outcome = handle.outcome() => match outcome {
                Ok(outcome) => {
                    world.with_referee(|referee| referee.ended(outcome.state()));
                    Verdict::Ended(outcome.state().status())
                }
                // Another process has it now, or had.
                Err(_) => return End::Gone,
            },
            never = run_errands(world, &handle) => match never {},
            () = sleep(subject.horizon.saturating_sub(passed)) => at_horizon(world),
        };
        next = match verdict {
            Verdict::Ended(status) => match go_on(engine, subject, world, course, (handle.id(), status)).await {
                Ok(next) => next,
                Err(error) => return cannot_begin(world, &error),
            },
            Verdict::Waits | Verdict::Stuck => None,
        };
    }
    End::Done(verdict)
}

fn cannot_begin(world: &World, error: &str) -> End {
    world.with_referee(|referee| referee.blame(Invariant::Progress, format!("it cannot begin: {error}")));
    End::Done(Verdict::Stuck)
}

/// Starts the execution, or takes up the latest one that an earlier life of the process has begun, whether or not it could tell so.
async fn begin(
    engine: &Engine,
    subject: Subject<'_>,
    world: &World,
    course: &mut Course,
) -> Result<ExecutionHandle, String> {
    if world.executions() > course.executions.len() {
        let known = engine.executions(&Query::newest(world.executions())).await.map_err(|error| error.to_string())?;
        let ids = known.executions.iter().map(|known| known.execution_id);
        let new: Vec<_> = ids.filter(|id| !course.executions.contains(id)).collect();
        course.executions.extend(new);
    }
    match course.executions.last() {
        Some(id) => take_up(engine, *id).await,
        None => {
            let handle = start(engine, subject).await?;
            course.executions.push(handle.id());
            Ok(handle)
        }
    }
}

/// Starts the execution. Whoever is told that it cannot be started asks again.
async fn start(engine: &Engine, subject: Subject<'_>) -> Result<ExecutionHandle, String> {
    loop {
        match engine.start(subject.workflow, subject.input.clone()).await {
            Ok(handle) => return Ok(handle),
            Err(StartError::Store(_)) => sleep(Duration::from_secs(1)).await,
            Err(StartError::ShuttingDown) => std::future::pending().await,
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Takes up an execution of an earlier life, as a program does when it begins. One that has ended meanwhile is only looked at.
async fn take_up(engine: &Engine, id: ExecutionId) -> Result<ExecutionHandle, String> {
    loop {
        match engine.take_up(id).await {
            Ok(handle) => return Ok(handle),
            Err(TakeUpError::Nothing) => return engine.execution(id).await.map_err(|error| error.to_string()),
            // Its lease runs out, or the store has room again.
            Err(TakeUpError::Held(_) | TakeUpError::Store(_)) => sleep(Holder::RENEWAL).await,
            Err(TakeUpError::ShuttingDown) => std::future::pending().await,
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Has somebody make something of an execution that has ended.
async fn go_on(
    engine: &Engine,
    subject: Subject<'_>,
    world: &World,
    course: &mut Course,
    (id, status): (ExecutionId, Status),
) -> Result<Option<ExecutionHandle>, String> {
    if let Some(resuming) = world.resuming().filter(|_| status == Status::Failed) {
        sleep(resuming.delay).await;
        if let Some(handle) = resume(engine, world, id, resuming.budget).await? {
            return Ok(Some(handle));
        }
    }
    while let Some(forking) = world.next_fork() {
        if let Some(handle) = fork(engine, subject, world, id, forking).await? {
            course.executions.push(handle.id());
            course.began = world.elapsed();
            return Ok(Some(handle));
        }
        world.has_no_fork();
    }
    Ok(None)
}

/// Resumes an execution that has failed; absent if it cannot be, for a reason that holds.
async fn resume(
    engine: &Engine,
    world: &World,
    id: ExecutionId,
    budget: Option<Budget>,
) -> Result<Option<ExecutionHandle>, String> {
    loop {
        match engine.resume(id, None, budget.clone()).await {
            Ok(resumed) => return Ok(Some(resumed.handle)),
            Err(ResumeError::Refused(refusal)) => {
                world.with_referee(|referee| referee.is_not_reopened(&refusal.message));
                return Ok(None);
            }
            Err(ResumeError::TakeUp(TakeUpError::ShuttingDown)) => std::future::pending().await,
            // The store has room again, or the driver that was lost has let go of it.
            Err(ResumeError::TakeUp(TakeUpError::Store(_) | TakeUpError::Nothing) | ResumeError::Running) => {
                sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Forks an execution; absent if it cannot be, for a reason that holds.
async fn fork(
    engine: &Engine,
    subject: Subject<'_>,
    world: &World,
    id: ExecutionId,
    forking: Forking,
) -> Result<Option<ExecutionHandle>, String> {
    let at = match &forking.at {
        Checkpoint::Behind(sequence) => engine::Checkpoint::Sequence(*sequence),
        Checkpoint::Before(path) => match world.with_referee(|referee| referee.step_path(path)) {
            Some(path) => engine::Checkpoint::Before(path),
            None => return Ok(None),
        },
    };
    let mut request = ForkRequest::at(at);
    if forking.has_other_input {
        request = request.input(subject.other_input.clone());
    }
    loop {
        let expected = world.asks_for_fork(&forking.at);
        let refusal = match engine.fork(id, request.clone()).await {
            Ok(forked) => return Ok(Some(forked.submission.handle)),
            Err(ForkError::Store(_) | ForkError::Start(StartError::Store(_))) => {
                sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(ForkError::Start(StartError::ShuttingDown)) => std::future::pending().await,
            Err(ForkError::Start(error)) => return Err(error.to_string()),
            Err(refusal) => refusal,
        };
        let was_undone = matches!(refusal, ForkError::Undone(_));
        world.with_referee(|referee| referee.is_not_forked(expected, was_undone, &refusal.to_string()));
        return Ok(None);
    }
}

async fn run_errands(world: &World, handle: &ExecutionHandle) -> std::convert::Infallible {
    loop {
        while let Some((at, errand)) = world.errand_due() {
            // Whoever comes too late, or twice, is told so, and that is all.
            let _ = run_errand(world, handle, errand).await;
            world.done(at);
        }
        match world.next_errand() {
            Some(due) => tokio::select! {
                biased;
                () = world.news.notified() => {}
                () = sleep(due) => {}
            },
            None => world.news.notified().await,
        }
        let events = world.with_referee(|referee| referee.journal().len());
        if events > MAX_EVENTS {
            std::future::pending::<()>().await;
        }
    }
}

async fn run_errand(world: &World, handle: &ExecutionHandle, errand: Errand) -> Result<(), Box<dyn std::error::Error>> {
    match errand {
        Errand::Answer(path, approval) => {
            world.with_referee(|referee| referee.says(&path, approval.decision));
            handle.answer(&path, approval).await?;
        }
        Errand::Signal(signal) => {
            handle.signal(signal.clone()).await?;
            world.with_referee(|referee| referee.was_told(Told::Signal(signal.signal_id.as_deref())));
        }
        Errand::Cancel => {
            handle.cancel(Cancellation::new("somebody changed their mind")).await?;
            world.with_referee(|referee| referee.was_told(Told::Cancel));
        }
        Errand::Pause => {
            handle.pause(None).await?;
            world.with_referee(|referee| referee.was_told(Told::Pause));
        }
        Errand::Resume => handle.resume(None).await?,
    }
    Ok(())
}

/// The horizon has come: an execution that still stands must know what for.
fn at_horizon(world: &World) -> Verdict {
    let (now, has_errands) = (world.now(), world.has_errands());
    world.with_referee(|referee| {
        let state = referee.state();
        let open: Vec<_> = state.steps().iter().filter(|step| !step.phase.is_terminal()).collect();
        // What has a time waits for that; what has none, for somebody who may still come.
        let is_due = |due: Option<Timestamp>| due.is_none_or(|due| due < now);
        let waits = open
            .iter()
            .any(|step| matches!(step.phase, Phase::Waiting | Phase::Backoff) && (has_errands || !is_due(step.due_at)));
        if (waits || state.status() == Status::Paused) && referee.journal().len() <= MAX_EVENTS {
            return Verdict::Waits;
        }
        let phases: Vec<_> = open.iter().take(3).map(|step| format!("{:?}", step.phase)).collect();
        let message = format!("it does not end, and waits for nothing that will come ({})", phases.join(", "));
        referee.blame(Invariant::Progress, message);
        Verdict::Stuck
    })
}
