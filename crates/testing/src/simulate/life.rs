//! One simulated execution, over as many lives of its process as it takes.

use std::{sync::Arc, time::Duration};

use orchestr8_agent_base::{AgentRegistry, Clock};
use orchestr8_core::{
    Cancellation, Engine, ExecutionHandle, MemoryStore, StartError,
    engine::TakeUpError,
    machine::{Phase, Status},
    store::{Holder, Query},
};
use orchestr8_schema::{ExecutionId, Timestamp, ValidWorkflow};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    chance::Chance,
    invariant::Invariant,
    referee::Told,
    world::{Errand, World},
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
}

/// Lives through an execution.
pub(super) fn live_through(subject: Subject<'_>, world: &Arc<World>, seed: u64) -> Verdict {
    let store = MemoryStore::new();
    let mut execution = None;
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
            live(
                subject,
                world,
                FaultStore::new(store.clone(), Arc::clone(world) as _).after_writes(writes),
                &mut execution,
            )
            .await
        });
        let ended = runtime.block_on(async { world.end_life() });
        drop(runtime);
        match end {
            End::Done(verdict) => return verdict,
            End::Gone => {
                writes = ended.1;
                // Long enough for leases to run out, whatever else.
                let mut chance = Chance::of(seed, &format!("downtime {life}"));
                after = ended.0 + chance.duration(Duration::from_secs(31), Duration::from_secs(3600));
            }
        }
    }
    Verdict::Stuck
}

async fn live(
    subject: Subject<'_>,
    world: &Arc<World>,
    store: FaultStore<MemoryStore>,
    execution: &mut Option<ExecutionId>,
) -> End {
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
    let begun = async {
        match *execution {
            Some(id) => take_up(&engine, id).await,
            None => start(&engine, subject).await,
        }
    };
    let handle = tokio::select! {
        biased;
        () = world.gone.notified() => return End::Gone,
        begun = begun => match begun {
            Ok(handle) => handle,
            Err(error) => {
                world.with_referee(|referee| referee.blame(Invariant::Progress, format!("it cannot begin: {error}")));
                return End::Done(Verdict::Stuck);
            }
        },
    };
    *execution = Some(handle.id());
    let end = tokio::select! {
        biased;
        () = world.gone.notified() => return End::Gone,
        outcome = handle.outcome() => match outcome {
            Ok(outcome) => {
                world.with_referee(|referee| referee.ended(outcome.state()));
                Verdict::Ended(outcome.state().status())
            }
            // Another process has it now, or had.
            Err(_) => return End::Gone,
        },
        never = run_errands(world, &handle) => match never {},
        () = sleep(subject.horizon.saturating_sub(world.elapsed())) => at_horizon(world),
    };
    End::Done(end)
}

/// Starts the execution, unless an earlier life of the process did before it could tell so. Whoever is told that it cannot be
/// started asks again.
async fn start(engine: &Engine, subject: Subject<'_>) -> Result<ExecutionHandle, String> {
    let known = engine.executions(&Query::newest(1)).await.map_err(|error| error.to_string())?;
    if let Some(known) = known.executions.first() {
        return take_up(engine, known.execution_id).await;
    }
    loop {
        match engine.start(subject.workflow, subject.input.clone()).await {
            Ok(handle) => return Ok(handle),
            Err(StartError::Store(_)) => sleep(Duration::from_secs(1)).await,
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
            Err(error) => return Err(error.to_string()),
        }
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
