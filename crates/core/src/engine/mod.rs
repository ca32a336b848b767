//! The engine: takes workflows, drives their executions, answers questions about them.

mod builder;
mod call;
mod claim;
mod driver;
mod fork;
mod host;
pub(crate) mod mailbox;
mod places;
mod recover;
mod request;
mod resume;
mod slots;
mod stack;
mod supersede;
mod tenure;
mod upgrade;

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use orchestr8_agent_base::{AgentRegistry, Clock, SecretString, Secrets, ToolAccess};
use orchestr8_resilience::{
    bulkhead::CompartmentState, circuit_breaker::CircuitState, counts::Counted, rate_limit::BucketState,
};
use orchestr8_schema::{
    ExecutionId, StepIndex, ValidWorkflow,
    event::{CallId, Event, EventBody},
    json_schema::JsonValidator,
};
use serde_json::Value;
use tokio_util::task::TaskTracker;

pub(crate) use self::fork::own_variables;
pub use self::{
    builder::{BuildError, EngineBuilder},
    fork::{Checkpoint, Dropped, ForkError, ForkRequest, Forked},
    recover::{Recovery, TakeUpError},
    request::{StartError, StartRequest, Submission},
    resume::{ResumeError, Resumed},
    supersede::SupersedeError,
    upgrade::Upgrade,
};
use self::{
    places::Places,
    slots::Slots,
    stack::{LeafStack, Registries},
    tenure::Tenure,
};
use crate::{
    bus::Bus,
    chronicle::Chronicle,
    clock,
    execution::{CancelError, Cancellation, ExecutionHandle, Lost, Shared, Snapshot},
    hook::EngineHooks,
    journal::Readings,
    metrics::{self, Meter, Metrics, MetricsSnapshot},
    plan::{Leaf, Plan, PlanError, PlanStep},
    store::{Created, Holder, IdempotencyRecord, Page, Query, Store, StoreError},
};

/// Runs workflows. Clones are handles of the same engine.
///
/// ```
/// use orchestr8_core::{Engine, agent_base::HelloWorld, schema::ValidWorkflow};
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().agent(HelloWorld).build()?;
/// let workflow = ValidWorkflow::from_json(
///     r#"{
///         "version": "1.0.0",
///         "metadata": { "id": "greet", "name": "Greet" },
///         "inputs": { "type": "object", "required": ["name"] },
///         "steps": [
///             { "id": "hello", "agent": { "id": "@orchestr8/hello-world" }, "input": { "name": "${inputs.name}" } }
///         ]
///     }"#,
/// )?;
/// let execution = engine.start(&workflow, json!({ "name": "Ada" })).await?;
/// let outcome = execution.outcome().await?;
/// assert_eq!(outcome.output("hello").unwrap()["result"], "Hello, Ada! Welcome to @orchestr8.");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Engine {
    shared: Arc<EngineShared>,
}

/// Says whether a workflow is trusted with secrets.
type Trusts = Box<dyn Fn(&ValidWorkflow) -> bool + Send + Sync>;

/// What all handles and drivers of an engine share.
pub(crate) struct EngineShared {
    pub(crate) agents: AgentRegistry,
    /// What agents may call themselves.
    tools: ToolAccess,
    secrets: Secrets,
    /// Says whose workflows get what they list, whatever the policy of secrets is.
    trusts: Option<Trusts>,
    #[cfg(feature = "model")]
    models: orchestr8_agent_base::model::Models,
    /// Whether spans hold what models and tools are asked and answer.
    content_in_spans: bool,
    pub(crate) store: Arc<dyn Store>,
    /// Whose leases the executions that run here are.
    holder: Holder,
    tenure: Tenure,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) slots: Slots,
    pub(crate) places: Arc<Places>,
    pub(crate) registries: Registries,
    pub(crate) hooks: EngineHooks,
    /// Of executions whose workflows do not say; absent for the usual one.
    default_timeout: Option<Duration>,
    max_events: Option<u64>,
    /// Absent if nobody wants to know.
    metrics: Option<Metrics>,
    /// Whether the last attempt to add to a journal has failed.
    append_fails: AtomicBool,
    /// Of all jitter.
    pub(crate) seed: u64,
    drivers: TaskTracker,
    live: Mutex<HashMap<ExecutionId, Arc<Shared>>>,
    /// The programs used last, the newest first.
    programs: Mutex<VecDeque<Arc<Program>>>,
    readings: Readings,
}

/// A plan, and the layers around its steps: all that executions of one workflow share.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) plan: Arc<Plan>,
    /// Steps that are called alike share one.
    stacks: Vec<LeafStack>,
    /// By step.
    stack_of: Box<[u32]>,
    /// Those of the calls that undo a step.
    undoing_stack_of: HashMap<StepIndex, u32>,
    /// By hook of the plan.
    hook_stacks: Box<[u32]>,
    /// By hook of the engine.
    engine_stacks: Box<[u32]>,
    /// By step, what its calls are counted with; empty if nobody wants to know.
    meters: Box<[Option<Arc<Meter>>]>,
}

/// The stack of steps that call nothing.
const NO_STACK: u32 = u32::MAX;

impl Engine {
    /// Compiled workflows that an engine keeps at hand; others are compiled again.
    const MAX_PROGRAMS: usize = 64;
    /// How long executions may take to store what they have when the engine shuts down.
    const STOP_TIMEOUT: Duration = Duration::from_secs(5);

    /// Begins an engine.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Starts an execution.
    ///
    /// When this returns, the execution is stored; it goes on whether or not somebody holds the handle.
    ///
    /// # Errors
    ///
    /// [`StartError`] if this engine cannot run the workflow, or the input breaks its schema. No execution exists then.
    pub async fn start(&self, workflow: &ValidWorkflow, input: Value) -> Result<ExecutionHandle, StartError> {
        let submission = self.submit(StartRequest::new(workflow, input)).await?;
        Ok(submission.handle)
    }

    /// Starts an execution with everything that a request may say.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); and [`StartError::IdempotencyConflict`] if the request's key stands for another request.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped the execution may have been stored or not; one that was stored without being driven is left to
    /// recovery.
    pub async fn submit(&self, mut request: StartRequest) -> Result<Submission, StartError> {
        if self.shared.drivers.is_closed() {
            return Err(StartError::ShuttingDown);
        }
        self.shared.begin_tenure().await?;
        (request.default_timeout, request.max_events) = (self.shared.default_timeout, self.shared.max_events);
        let program = self.program(&request.workflow)?;
        let clock = &*self.shared.clock;
        let id = clock::execution_id(clock);
        let (queued, idempotency) = request.into_queued(id, &program.plan, &self.shared.hooks, clock)?;
        let record = idempotency.map(|(key, digest)| IdempotencyRecord {
            key,
            digest,
            execution_id: id,
            created_at: clock.now(),
        });
        let first = Event { at: clock.now(), body: EventBody::ExecutionQueued(Arc::clone(&queued)) };
        // Whoever finds the execution in the store finds it here, too.
        let expected = self.expect(&queued, first.at, program).ok_or(StoreError::Conflict(id))?;
        let created = self.shared.store.create(first.clone(), record.clone(), self.shared.holder.id).await;
        self.shared.append_fails.store(created.as_ref().is_err_and(StoreError::is_passing), Relaxed);
        let lease = match created? {
            Created::New(lease) => lease,
            Created::Taken(taken) if record.is_some_and(|asked| asked.digest == taken.digest) => {
                let handle = self.execution(taken.execution_id).await?;
                return Ok(Submission { handle, replayed: true });
            }
            Created::Taken(taken) => return Err(StartError::IdempotencyConflict { key: taken.key }),
        };
        Ok(Submission { handle: expected.start(lease, &first), replayed: false })
    }

    /// Returns a handle of an execution that exists, running or ended.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is none of this id.
    pub async fn execution(&self, id: ExecutionId) -> Result<ExecutionHandle, StoreError> {
        let live = self.shared.live().get(&id).cloned();
        let shared = match live {
            Some(shared) => shared,
            None => Arc::new(self.snapshot(id).await?.into_shared()),
        };
        Ok(ExecutionHandle::new(self.clone(), shared))
    }

    /// Returns what is known of an execution now: its state, and the journal that it is the fold of.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is none of this id.
    pub async fn snapshot(&self, id: ExecutionId) -> Result<Snapshot, StoreError> {
        let events = self.shared.store.load(id, 0).await?;
        let Some(EventBody::ExecutionQueued(queued)) = events.first().map(|event| &event.body) else {
            return Err(StoreError::NotFound(id));
        };
        Ok(Snapshot::replay(self.stored_plan(&queued.workflow)?, events))
    }

    /// Returns the plan of a workflow that was read from the store.
    pub(crate) fn stored_plan(&self, workflow: &ValidWorkflow) -> Result<Arc<Plan>, StoreError> {
        let program = self
            .program(workflow)
            .map_err(|source| StoreError::Medium { attempted: "compiling a stored workflow", source: source.into() })?;
        Ok(Arc::clone(&program.plan))
    }

    /// Lists executions, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub async fn executions(&self, query: &Query) -> Result<Page, StoreError> {
        self.shared.store.list(query).await
    }

    /// Returns the position of the event that was stored last, among those of all executions; 0 if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub async fn position(&self) -> Result<u64, StoreError> {
        self.shared.store.position().await
    }

    /// Follows all executions, beginning behind a position.
    pub fn chronicle(&self, after: u64) -> Chronicle {
        Chronicle::new(self.clone(), after)
    }

    /// Asks for the end of an execution. When this returns, the request is in the journal.
    ///
    /// # Errors
    ///
    /// [`CancelError`] if there is no such execution, it is ending already, or it has ended.
    pub async fn cancel(&self, id: ExecutionId, cancellation: Cancellation) -> Result<(), CancelError> {
        self.execution(id).await?.cancel(cancellation).await
    }

    /// Returns the agents that the engine may call.
    #[must_use]
    pub fn agents(&self) -> &AgentRegistry {
        &self.shared.agents
    }

    pub(crate) fn readings(&self) -> &Readings {
        &self.shared.readings
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Returns the wall clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// Returns the bus of live events.
    #[must_use]
    pub fn bus(&self) -> &Arc<Bus> {
        &self.shared.bus
    }

    /// Returns the state of every circuit breaker by key.
    #[must_use]
    pub fn circuits(&self) -> Vec<(Arc<str>, CircuitState)> {
        self.shared.registries.circuits.snapshot()
    }

    /// Returns what is left of every rate limit by key.
    #[must_use]
    pub fn rate_limits(&self) -> Vec<(Arc<str>, BucketState)> {
        self.shared.registries.buckets.states()
    }

    /// Returns how full every bulkhead is by key.
    #[must_use]
    pub fn bulkheads(&self) -> Vec<(Arc<str>, CompartmentState)> {
        self.shared.registries.compartments.states()
    }

    /// Returns what was counted of calls, by the key of their circuit.
    #[must_use]
    pub fn call_counts(&self) -> Vec<(Arc<str>, Counted)> {
        self.shared.registries.counts.states()
    }

    /// Returns what was counted since the engine was built; absent unless [`EngineBuilder::metrics`] has asked for that.
    #[must_use]
    pub fn metrics(&self) -> Option<MetricsSnapshot> {
        let shared = &self.shared;
        let mut snapshot = shared.metrics.as_ref()?.snapshot();
        let live = shared.live().len() as u64;
        snapshot.active = live.saturating_sub(snapshot.queued);
        snapshot.waiting = snapshot.active.saturating_sub(shared.places.taken() as u64);
        (snapshot.running, snapshot.ready) = shared.slots.usage();
        snapshot.circuits = metrics::states(self.circuits());
        snapshot.journal_bytes = shared.store.journal_bytes();
        Some(snapshot)
    }

    /// Whether journals can be added to, as far as the last attempt tells. While they cannot, executions are held up and lose nothing.
    #[must_use]
    pub fn can_append(&self) -> bool {
        !self.shared.append_fails.load(Relaxed)
    }

    /// Takes no more executions and waits until those that run have ended, at most this long. True if they all have.
    ///
    /// Executions are not cancelled. With a store that outlives the process those that have not ended by then are left as they are
    /// stored, attempts in progress are dropped, and whoever opens the store next takes them up.
    pub async fn shutdown(&self, timeout: Duration) -> bool {
        let drivers = &self.shared.drivers;
        drivers.close();
        let ended = tokio::time::timeout(timeout, drivers.wait()).await.is_ok();
        if self.shared.store.outlives_process() {
            self.shared.places.close();
            for shared in self.shared.live().values() {
                shared.mailbox().send(mailbox::Request::Stop);
            }
            // A store that cannot be written holds them up.
            let _ = tokio::time::timeout(Self::STOP_TIMEOUT, drivers.wait()).await;
            self.shared.end_tenure().await;
        }
        ended
    }

    /// Finds or makes the program of a workflow.
    fn program(&self, workflow: &ValidWorkflow) -> Result<Arc<Program>, PlanError> {
        let found = {
            let mut programs = self.shared.programs();
            let place = programs.iter().position(|program| program.plan.workflow().is_same(workflow));
            match place {
                Some(0) => programs.front().cloned(),
                Some(place) => programs.remove(place).inspect(|program| programs.push_front(Arc::clone(program))),
                None => None,
            }
        };
        if let Some(program) = found {
            return Ok(program);
        }
        let program = Arc::new(Program::compile(workflow, &self.shared)?);
        let mut programs = self.shared.programs();
        programs.push_front(Arc::clone(&program));
        programs.truncate(Self::MAX_PROGRAMS);
        Ok(program)
    }
}

/// An execution that can be found, and is forgotten again unless it comes to be driven.
struct Announced<'a> {
    engine: &'a EngineShared,
    shared: Option<Arc<Shared>>,
}

impl<'a> Announced<'a> {
    /// Absent if an execution of this id is there already.
    fn new(engine: &'a EngineShared, shared: &Arc<Shared>) -> Option<Self> {
        match engine.live().entry(shared.execution_id()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(vacant) => {
                vacant.insert(Arc::clone(shared));
                Some(Self { engine, shared: Some(Arc::clone(shared)) })
            }
        }
    }

    fn keep(mut self) {
        self.shared = None;
    }
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            self.engine.forget(shared.execution_id());
            shared.end(Err(Lost::stopped()));
        }
    }
}

impl EngineShared {
    /// Whether a workflow gets the secrets that it names, whatever the policy of secrets is.
    fn trusts(&self, plan: &Plan) -> bool {
        let root = plan.units().first();
        root.zip(self.trusts.as_ref()).is_some_and(|(root, trusts)| trusts(&root.workflow))
    }

    /// Finds the secrets that a workflow names and may ask for. What is not there is told to whoever asks for it.
    fn secrets_of(&self, plan: &Plan) -> Vec<SecretString> {
        let named = || plan.secret_refs();
        if named().next().is_none() {
            return Vec::new();
        }
        let is_trusted = self.trusts(plan);
        let allowed = named().filter(|reference| is_trusted || self.secrets.check(reference).is_ok());
        allowed.filter_map(|reference| self.secrets.find(reference).ok()).collect()
    }

    pub(crate) fn forget(&self, id: ExecutionId) {
        self.live().remove(&id);
    }

    fn live(&self) -> MutexGuard<'_, HashMap<ExecutionId, Arc<Shared>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn programs(&self) -> MutexGuard<'_, VecDeque<Arc<Program>>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Program {
    fn compile(workflow: &ValidWorkflow, engine: &EngineShared) -> Result<Self, PlanError> {
        let plan = Plan::compile(workflow, &engine.agents)?;
        let secrets = engine.secrets_of(&plan);
        let plan = plan.hiding(&secrets);
        let registries = &engine.registries;
        let mut stacks: Vec<LeafStack> = Vec::new();
        let mut stack = |step: &PlanStep, leaf: &Leaf, schema: Option<&JsonValidator>| {
            let recent = stacks.len().saturating_sub(Plan::SHARED);
            let alike = stacks[recent..].iter().position(|stack| stack.serves(leaf, schema));
            Ok(match alike {
                Some(place) => recent + place,
                None => {
                    stacks.push(
                        LeafStack::new(leaf, schema, registries)
                            .map_err(|error| PlanError::Policy { step: step.id.clone(), message: error.to_string() })?,
                    );
                    stacks.len() - 1
                }
            } as u32)
        };
        let mut stack_of = Vec::with_capacity(plan.steps().len());
        let mut undoing_stack_of = HashMap::new();
        for (index, step) in plan.steps().iter().enumerate() {
            let index = StepIndex(index as u32);
            stack_of.push(match &step.leaf {
                Some(leaf) => stack(step, leaf, plan.valid_step(index).output_schema.as_ref())?,
                None => NO_STACK,
            });
            if let Some(leaf) = &step.compensation {
                undoing_stack_of.insert(index, stack(step, leaf, None)?);
            }
        }
        let mut hook_stack = |leaf: &Leaf| {
            let stack = LeafStack::new(leaf, None, registries)
                .map_err(|error| PlanError::Hook { place: "the workflow".to_owned(), message: error.to_string() })?;
            stacks.push(stack);
            Ok(stacks.len() as u32 - 1)
        };
        let hook_stacks = plan.hooks().iter().map(|hook| hook_stack(&hook.leaf)).collect::<Result<_, PlanError>>()?;
        let engine_stacks = engine.hooks.leaves.iter().map(hook_stack).collect::<Result<_, PlanError>>()?;
        let meters = engine.metrics.as_ref().map(|metrics| metrics.meters(&plan)).unwrap_or_default();
        Ok(Self {
            plan: Arc::new(plan),
            meters,
            stacks,
            stack_of: stack_of.into(),
            undoing_stack_of,
            hook_stacks,
            engine_stacks,
        })
    }

    /// Finds the layers around a call; absent for a step that calls nothing.
    fn stack_of(&self, step: StepIndex, call: CallId) -> Option<u32> {
        match call {
            CallId::Step(_) => self.stack_of.get(step.get()).copied().filter(|stack| *stack != NO_STACK),
            CallId::Compensation(_) => self.undoing_stack_of.get(&step).copied(),
            CallId::Hook(_) => None,
        }
    }

    fn stack(&self, stack: u32) -> Option<&LeafStack> {
        self.stacks.get(stack as usize)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("store", &self.shared.store).finish_non_exhaustive()
    }
}
