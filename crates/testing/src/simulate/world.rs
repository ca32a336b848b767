//! The world around one simulated execution: its time, its store's troubles, its people, and what its agents do.
//!
//! It outlives the engines that drive the execution one after the other. Everything in it follows from the seed, the faults, and what
//! the journal says.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orchestr8_agent_base::{AgentContext, AgentError, Clock};
use orchestr8_core::clock::mix;
use orchestr8_schema::{
    ErrorKind, Timestamp,
    event::{Activation, ApprovalAnswer, ApprovalDecision, Event, EventBody, Signal},
    json_schema::{JsonValidator, Violations},
    policy::Budget,
    usage::Usage,
    validate::{ValidKind, ValidWait},
};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};

use super::{
    chance::Chance,
    fault::{Checkpoint, Fault, Place},
    invariant::Invariant,
    referee::{Begun, CallEnd, Referee},
    report::MockMistake,
    stand_in::Real,
    value::value_of,
};
use crate::{
    Interference, StoreFault,
    mocks::{Answer, Called, Mocks, error_of, resolve},
};

/// The most mistakes of mocks that are kept of one execution.
const MAX_MISTAKES: usize = 8;
/// 2025-01-17T00:00:00Z in microseconds from the Unix epoch.
const START: i64 = 1_737_072_000_000_000;

#[derive(Debug)]
pub(super) struct World {
    /// Decides what agents and people do.
    seed: u64,
    /// Decides how long everything takes, and so the order in which it ends.
    order: u64,
    faults: Vec<Fault>,
    mocks: Arc<Mocks>,
    /// Wakes whoever runs errands when there are new ones.
    pub(super) news: Notify,
    /// Wakes whoever runs the process when it is to be gone.
    pub(super) gone: Notify,
    /// Wakes whoever runs the process when it is to end in good order.
    pub(super) stop: Notify,
    scene: Mutex<Scene>,
}

#[derive(Debug)]
struct Scene {
    referee: Referee,
    /// When this life of the process began, on its runtime's clock, and how long before it the simulation began.
    life: Option<(Instant, Duration)>,
    /// How far the wall clock is off, in microseconds.
    jump: i64,
    drawn: u64,
    crash_when_stored: bool,
    writes: u64,
    errands: BTreeMap<(Duration, u64), Errand>,
    errand_count: u64,
    /// Signals that were sent before anybody waited for them.
    early: HashMap<Arc<str>, u32>,
    /// Mocks that cannot answer as they should.
    mistakes: Vec<MockMistake>,
    /// How many executions were begun: the first one, and forks.
    executions: usize,
    /// Forks that were asked for, whether or not there is one.
    forks: usize,
    /// Where the fork begins that is being asked for.
    forking: Option<u64>,
    /// By step path, the attempts before the execution was reopened or forked.
    attempts: HashMap<Arc<str>, u32>,
    /// By what is waited for, how often somebody was asked.
    asked: HashMap<String, u32>,
    /// The process is told to end.
    is_stopping: bool,
    /// The process has the lease of the execution.
    is_held: bool,
}

/// What somebody does with a failed execution to have it go on.
#[derive(Debug)]
pub(super) struct Resuming {
    pub(super) delay: Duration,
    pub(super) budget: Option<Budget>,
}

/// What somebody forks an execution with.
#[derive(Clone, Debug)]
pub(super) struct Forking {
    pub(super) at: Checkpoint,
    pub(super) has_other_input: bool,
}

/// What somebody outside does with the execution.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    Answer(String, ApprovalAnswer),
    Signal(Signal),
    Cancel,
    Pause,
    Resume,
}

/// What an agent does in one call.
#[derive(Debug)]
pub(super) struct Act {
    /// The number of the call.
    pub(super) call: usize,
    pub(super) delay: Duration,
    pub(super) ending: Ending,
}

/// How an agent's call ends unless somebody ends it first.
#[derive(Debug)]
pub(super) enum Ending {
    Answer(Value),
    Fail(AgentError),
    /// Not before its token fires.
    WhenTold,
    Never,
}

impl World {
    pub(super) fn new((seed, order): (u64, u64), faults: &[Fault], mocks: &Arc<Mocks>, referee: Referee) -> Self {
        let world = Self {
            seed,
            order,
            faults: faults.to_vec(),
            mocks: Arc::clone(mocks),
            news: Notify::new(),
            gone: Notify::new(),
            stop: Notify::new(),
            scene: Mutex::new(Scene {
                referee,
                life: None,
                jump: 0,
                drawn: 0,
                crash_when_stored: false,
                writes: 0,
                errands: BTreeMap::new(),
                errand_count: 0,
                early: HashMap::new(),
                mistakes: Vec::new(),
                executions: 0,
                forks: 0,
                forking: None,
                attempts: HashMap::new(),
                asked: HashMap::new(),
                is_stopping: false,
                is_held: false,
            }),
        };
        world.send_early_signals(&mut world.scene());
        world
    }

    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with_referee<T>(&self, act: impl FnOnce(&mut Referee) -> T) -> T {
        act(&mut self.scene().referee)
    }

    /// A process begins, this long after the beginning of all.
    pub(super) fn begin_life(&self, after: Duration) {
        let mut scene = self.scene();
        scene.life = Some((Instant::now(), after));
        (scene.is_stopping, scene.is_held) = (false, false);
    }

    /// The process is told to end.
    pub(super) fn stops(&self) {
        self.scene().is_stopping = true;
    }

    /// The process has ended in good order: what it drove is anybody's.
    pub(super) fn has_stopped(&self) {
        let mut scene = self.scene();
        // A store that refuses, or has given the execution to somebody else, takes no lease back.
        let is_troubled = self.faults.iter().any(|fault| matches!(fault, Fault::DiskFull(_) | Fault::Conflict(_)));
        if scene.is_held && !is_troubled && !scene.referee.state().status().is_terminal() {
            scene.referee.blame(Invariant::LeaseReleased, "the process ended, and its lease was not given back");
        }
    }

    // === what becomes of executions that have ended ===

    /// How many executions were begun.
    pub(super) fn executions(&self) -> usize {
        self.scene().executions
    }

    /// Whether, when and how somebody has the failed execution go on.
    pub(super) fn resuming(&self) -> Option<Resuming> {
        let scene = self.scene();
        let failures = scene.referee.count_of_failures();
        let is_meant = |fault: &Fault| matches!(fault, Fault::Reopen(at) if *at == failures);
        self.faults.iter().any(is_meant).then(|| {
            let mut chance = Chance::of(self.seed, &format!("reopen {failures}"));
            let delay = chance.duration(Duration::from_secs(1), Duration::from_secs(86_400));
            let limits = scene.referee.plan().limits().budget.filter(|_| chance.one_in(2));
            let budget = limits.map(|limits| {
                let more = |limit: u64| limit.saturating_mul(10 * failures);
                let mut budget = Budget::default();
                (budget.max_tokens, budget.max_steps) = (limits.tokens.map(more), limits.steps.map(more));
                budget
            });
            Resuming { delay, budget }
        })
    }

    /// The fork that is to be made of the execution that has ended.
    pub(super) fn next_fork(&self) -> Option<Forking> {
        let mut forks = self.faults.iter().filter_map(|fault| match fault {
            Fault::Fork(at) => Some(Forking { at: at.clone(), has_other_input: false }),
            Fault::ForkOther(at) => Some(Forking { at: at.clone(), has_other_input: true }),
            _ => None,
        });
        forks.nth(self.scene().forks)
    }

    /// Somebody asks for a fork. Returns after how many events of the execution it begins; absent if there is no such place.
    pub(super) fn asks_for_fork(&self, at: &Checkpoint) -> Option<u64> {
        let mut scene = self.scene();
        scene.forking = scene.referee.position(at);
        scene.forking
    }

    /// There is no fork, for a reason that holds.
    pub(super) fn has_no_fork(&self) {
        let mut scene = self.scene();
        scene.forking = None;
        scene.forks += 1;
    }

    /// A fork has been stored: from here on it is what is simulated.
    fn begin_fork(&self, scene: &mut Scene, sequence: u64) {
        let all: Vec<_> = (0..scene.referee.state().steps().len() as u32).map(Activation).collect();
        scene.count_attempts(&all);
        scene.forks += 1;
        scene.errands.clear();
        scene.early.clear();
        scene.asked.clear();
        scene.referee.begin_fork(sequence);
        self.send_early_signals(scene);
    }

    /// The process is gone. Returns how long after the beginning of all, and the number of writes so far.
    pub(super) fn end_life(&self) -> (Duration, u64) {
        let mut scene = self.scene();
        let elapsed = scene.elapsed();
        scene.referee.crashed();
        (elapsed, scene.writes)
    }

    /// How much time has passed since the beginning of all, whatever the wall clock says.
    pub(super) fn elapsed(&self) -> Duration {
        self.scene().elapsed()
    }

    // === errands ===

    /// Returns the first errand whose time has come. It stays until it is [done](Self::done): whoever hears nothing, because the
    /// process is gone, asks again.
    pub(super) fn errand_due(&self) -> Option<((Duration, u64), Errand)> {
        let scene = self.scene();
        let (at, errand) = scene.errands.first_key_value()?;
        (at.0 <= scene.elapsed()).then(|| (*at, errand.clone()))
    }

    /// An errand is done.
    pub(super) fn done(&self, at: (Duration, u64)) {
        let mut scene = self.scene();
        if let Some(Errand::Pause) = scene.errands.remove(&at) {
            let mut chance = Chance::of(self.seed, &format!("pause {}", at.1));
            let length = chance.duration(Duration::from_secs(1), Duration::from_secs(6 * 3600));
            scene.errand(length, Errand::Resume);
        }
    }

    /// How long until the next errand.
    pub(super) fn next_errand(&self) -> Option<Duration> {
        let scene = self.scene();
        let ((due, _), _) = scene.errands.first_key_value()?;
        Some(due.saturating_sub(scene.elapsed()))
    }

    /// Some signals come before anybody waits for them.
    fn send_early_signals(&self, scene: &mut Scene) {
        let plan = Arc::clone(scene.referee.plan());
        for step in 0..plan.steps().len() as u32 {
            let step = orchestr8_schema::StepIndex(step);
            let ValidKind::Wait(ValidWait::Signal { name, .. }) = &plan.valid_step(step).kind else { continue };
            let mut chance = Chance::of(self.seed, &format!("early signal {}", step.0));
            if chance.one_in(4) {
                let name: Arc<str> = name.as_str().into();
                *scene.early.entry(Arc::clone(&name)).or_default() += 1;
                let delay = chance.duration(Duration::from_millis(1), Duration::from_secs(2));
                scene.errand(delay, Errand::Signal(signal(&name, &format!("early-{}", step.0))));
            }
        }
    }

    // === agents ===

    /// An agent is called.
    pub(super) fn called(&self, (called, real): (&Called, &Real), input: &Value, cx: &AgentContext) -> Act {
        let path = cx.step_path().as_str();
        let target = real.target(input);
        let mut scene = self.scene();
        let before = scene.attempts.get(path).copied().unwrap_or_default();
        let place = Place { path: path.to_owned(), attempt: before + cx.attempt() };
        let begun = Begun {
            path,
            attempt: cx.attempt(),
            key: cx.idempotency_key(),
            target: target.as_deref(),
            acts_once: real.acts_once(),
            elapsed: scene.elapsed(),
        };
        let call = scene.referee.called(begun);
        drop(scene);
        let mut order = Chance::of(self.order, &format!("delay of {path} {}", place.attempt));
        let delay = match order.below(4) {
            0 => Duration::ZERO,
            _ => {
                let now = cx.now();
                let most = cx.deadline().map_or(Duration::from_secs(20), |deadline| deadline.since(now).mul_f64(0.9));
                order.duration(Duration::from_millis(1), Duration::from_secs(20)).min(most)
            }
        };
        let mut chance = Chance::of(self.seed, &format!("end of {path} {}", place.attempt));
        let fault = self.faults.iter().find_map(|fault| match fault {
            Fault::Timeout(at) if *at == place => Some(Ending::WhenTold),
            Fault::Hang(at) if *at == place => Some(Ending::Never),
            Fault::Fail(at) if *at == place => {
                let kind = *chance.pick(&FAILURES).unwrap_or(&ErrorKind::Retryable);
                Some(Ending::Fail(AgentError::new(kind, "told to fail")))
            }
            Fault::RateLimit(at) if *at == place => {
                let told = chance.one_in(2);
                let delay = chance.duration(Duration::from_millis(100), Duration::from_secs(60));
                let error = AgentError::new(ErrorKind::RateLimited, "told to fail");
                Some(Ending::Fail(if told { error.with_retry_after(delay) } else { error }))
            }
            _ => None,
        });
        if let Some(ending) = fault {
            return Act { call, delay, ending };
        }
        if let Some((ending, after)) = self.mocked(called, real, input, cx) {
            return Act { call, delay: after.unwrap_or(delay), ending };
        }
        let mut chance = Chance::of(self.seed, &format!("value of {path}"));
        // A real agent's answer is always one that its schema allows; a simulation checks beforehand that there is one.
        let value = real.output_schema().and_then(|schema| value_of(schema, &mut chance));
        Act { call, delay, ending: Ending::Answer(value.unwrap_or_else(|| json!({ "result": "ok" }))) }
    }

    /// What a mock has a call do, if there is one, and when.
    fn mocked(
        &self,
        called: &Called,
        real: &Real,
        input: &Value,
        cx: &AgentContext,
    ) -> Option<(Ending, Option<Duration>)> {
        let number = self.mocks.of(called, Some(cx.step_path()))?;
        let mut way = Vec::new();
        // By the attempt, so that neither the order of calls nor a crash changes what is answered.
        let turn = |_: &[String], length: usize| Ok((cx.attempt() as usize).clamp(1, length) - 1);
        let answer = resolve(self.mocks.mock(number), input, cx.attempt(), &mut way, turn);
        let broken = match (&answer, real.output_schema()) {
            (Ok(Answer::Value(value, _)), Some(schema)) => schema.validate(value).err(),
            _ => None,
        };
        let mistake = match (broken, answer) {
            (Some(violations), _) => {
                format!(
                    "the answer breaks the output schema of {}: {}",
                    self.mocks.name(called),
                    Violations(&violations)
                )
            }
            (None, Ok(Answer::Value(value, after))) => return Some((Ending::Answer(value), after)),
            (None, Ok(Answer::Failure(failure, after))) => return Some((Ending::Fail(error_of(&failure)), after)),
            (None, Ok(Answer::Hang)) => return Some((Ending::WhenTold, None)),
            (None, Ok(Answer::Real)) => format!("{} is not called in a simulation", self.mocks.name(called)),
            (None, Err(message)) => message,
        };
        let ending = Ending::Fail(AgentError::internal(mistake.clone()));
        let target = self.mocks.target(number).to_string();
        let step = cx.step_path().to_string();
        let mut scene = self.scene();
        if scene.mistakes.len() < MAX_MISTAKES {
            scene.mistakes.push(MockMistake { target, way, message: mistake, step, seed: self.seed });
        }
        Some((ending, None))
    }

    /// Returns the mocks that could not answer as they should.
    pub(super) fn mistakes(&self) -> Vec<MockMistake> {
        self.scene().mistakes.clone()
    }

    /// What an attempt uses up, where there is a budget of tokens.
    pub(super) fn usage(&self, cx: &AgentContext) -> Option<Usage> {
        let most = self.scene().referee.plan().limits().budget?.tokens? / 4;
        let mut chance = Chance::of(self.seed, &format!("usage of {} {}", cx.step_path(), cx.attempt()));
        Some(Usage::new(chance.below(most), chance.below(most), 0.0))
    }

    /// Whether an agent that is told to end does so at once, rather than go on to what it would have answered.
    pub(super) fn heeds(&self, call: usize) -> bool {
        !Chance::of(self.seed, &format!("heeds {call}")).one_in(3)
    }

    pub(super) fn answered(&self, call: usize, end: CallEnd, answer: Option<Value>) {
        let mut scene = self.scene();
        let elapsed = scene.elapsed();
        scene.referee.answered(call, end, answer, elapsed);
    }

    pub(super) fn told_to_end(&self, call: usize) {
        self.scene().referee.told_to_end(call);
    }

    /// Whether anybody outside will still do something.
    pub(super) fn has_errands(&self) -> bool {
        !self.scene().errands.is_empty()
    }

    // === what follows from events ===

    fn follow(&self, scene: &mut Scene, event: &Event) {
        match &event.body {
            EventBody::ApprovalRequested { activation, expires_at } => {
                let plan = Arc::clone(scene.referee.plan());
                let Some(step) = scene.referee.state().activation(*activation).map(|known| known.step) else { return };
                if let ValidKind::Approval(approval) = &plan.valid_step(step).kind {
                    self.ask_a_person(scene, *activation, approval.schema.as_ref(), event.at, *expires_at);
                }
            }
            EventBody::StepWaiting { activation, .. } => {
                let plan = Arc::clone(scene.referee.plan());
                let Some(step) = scene.referee.state().activation(*activation).map(|known| known.step) else { return };
                if let ValidKind::Wait(ValidWait::Signal { name, timeout }) = &plan.valid_step(step).kind {
                    self.send_a_signal(scene, *activation, name.as_str(), timeout.is_some());
                }
            }
            _ => {}
        }
    }

    fn ask_a_person(
        &self,
        scene: &mut Scene,
        activation: Activation,
        schema: Option<&JsonValidator>,
        asked: Timestamp,
        expires: Option<Timestamp>,
    ) {
        let plan = Arc::clone(scene.referee.plan());
        let Some(path) = scene.referee.state().step_path(&plan, activation) else { return };
        let path = path.as_str();
        let is_first = scene.asks(&format!("approval {path}")) == 0;
        let mut chance = Chance::of(self.seed, &format!("person at {path}"));
        let slow = self.faults.contains(&Fault::SlowHuman);
        let (shortest, longest) = match slow {
            true => (Duration::from_secs(600), Duration::from_secs(21 * 86_400)),
            false => (Duration::from_secs(1), Duration::from_secs(2 * 3600)),
        };
        let mut delay = chance.duration(shortest, longest);
        if let Some(expires) = expires {
            let left = expires.since(asked);
            match chance.below(8) {
                // Never, unless asked again.
                0 if is_first => return,
                // At the very instant.
                1 if slow => delay = left,
                _ if slow => {}
                _ => delay = delay.min(left.mul_f64(0.9)),
            }
        }
        // Whoever is asked again because the execution goes on has made up their mind.
        let decision = match chance.one_in(6) && is_first {
            true => ApprovalDecision::Reject,
            false => ApprovalDecision::Approve,
        };
        let answer = match schema {
            Some(schema) => value_of(schema, &mut chance).unwrap_or_default(),
            None => json!({}),
        };
        let approval = ApprovalAnswer { decision, answer, comment: None, by: Some("somebody".into()) };
        scene.errand(delay, Errand::Answer(path.to_owned(), approval.clone()));
        match chance.below(6) {
            // The same again, and the opposite after it.
            0 => scene.errand(delay + Duration::from_secs(1), Errand::Answer(path.to_owned(), approval)),
            1 if is_first => {
                let decision = match decision {
                    ApprovalDecision::Approve => ApprovalDecision::Reject,
                    ApprovalDecision::Reject => ApprovalDecision::Approve,
                };
                let approval = ApprovalAnswer { decision, ..approval };
                scene.errand(delay + Duration::from_secs(1), Errand::Answer(path.to_owned(), approval));
            }
            _ => {}
        }
        self.news.notify_one();
    }

    fn send_a_signal(&self, scene: &mut Scene, activation: Activation, name: &str, may_fail: bool) {
        if let Some(early) = scene.early.get_mut(name).filter(|early| **early > 0) {
            *early -= 1;
            return;
        }
        let plan = Arc::clone(scene.referee.plan());
        let Some(path) = scene.referee.state().step_path(&plan, activation) else { return };
        let times = scene.asks(&format!("signal {}", path.as_str()));
        let mut chance = Chance::of(self.seed, &format!("signal to {}", path.as_str()));
        if may_fail && chance.one_in(6) && times == 0 {
            return;
        }
        let delay = chance.duration(Duration::from_millis(10), Duration::from_secs(3600));
        // One that was received before would be taken for told.
        let signal = signal(name, &if times == 0 { path.to_string() } else { format!("{path} {times}") });
        scene.errand(delay, Errand::Signal(signal.clone()));
        if chance.one_in(4) {
            scene.errand(delay + Duration::from_millis(5), Errand::Signal(signal));
        }
        self.news.notify_one();
    }
}

/// How an attempt fails that is told to fail: some ways are retried, some are not.
const FAILURES: [ErrorKind; 6] = [
    ErrorKind::Retryable,
    ErrorKind::Network,
    ErrorKind::Timeout,
    ErrorKind::Internal,
    ErrorKind::Validation,
    ErrorKind::Denied,
];

fn signal(name: &str, id: &str) -> Signal {
    Signal { name: name.into(), payload: json!({ "from": "simulation" }), signal_id: Some(id.into()), step_path: None }
}

impl Scene {
    fn elapsed(&self) -> Duration {
        self.life.map_or(Duration::ZERO, |(began, before)| before + began.elapsed())
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_micros(START.saturating_add(self.jump)).plus(self.elapsed())
    }

    /// Counts how often somebody was asked for something. Returns how often before.
    fn asks(&mut self, what: &str) -> u32 {
        let times = self.asked.entry(what.to_owned()).or_default();
        *times += 1;
        *times - 1
    }

    /// Adds up the attempts of steps that are about to be what they were before their first one.
    fn count_attempts(&mut self, steps: &[Activation]) {
        let (plan, state) = (Arc::clone(self.referee.plan()), self.referee.state());
        let made = steps.iter().filter_map(|activation| {
            let attempts = state.activation(*activation).map(|step| step.attempts).filter(|attempts| *attempts > 0)?;
            Some((Arc::from(state.step_path(&plan, *activation)?.as_str()), attempts))
        });
        let made: Vec<(Arc<str>, u32)> = made.collect();
        for (path, attempts) in made {
            *self.attempts.entry(path).or_default() += attempts;
        }
    }

    fn errand(&mut self, delay: Duration, errand: Errand) {
        self.errand_count += 1;
        let due = self.elapsed() + delay;
        self.errands.insert((due, self.errand_count), errand);
    }
}

/// The wall clock and the dice of the simulated process.
impl Clock for World {
    fn now(&self) -> Timestamp {
        self.scene().wall()
    }

    fn random(&self) -> u64 {
        let mut scene = self.scene();
        scene.drawn += 1;
        mix(self.seed ^ scene.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

impl Interference for World {
    fn on_write(&self, write: u64) -> Option<StoreFault> {
        let mut scene = self.scene();
        scene.writes = write;
        let hit = self.faults.iter().find_map(|fault| match *fault {
            Fault::Crash(at) if at == write => Some(StoreFault::VanishAfter),
            Fault::CrashBefore(at) | Fault::Torn(at) if at == write => Some(StoreFault::VanishBefore),
            Fault::Conflict(at) if at == write => Some(StoreFault::Conflict),
            Fault::DiskFull(at) if (at..at + 1 + at % 3).contains(&write) => Some(StoreFault::Refuse),
            _ => None,
        });
        match hit {
            Some(StoreFault::VanishAfter) => scene.crash_when_stored = true,
            Some(StoreFault::VanishBefore) => self.gone.notify_one(),
            Some(StoreFault::Refuse) => scene.referee.disturbed(),
            _ => {}
        }
        hit
    }

    fn outlives_process(&self) -> bool {
        self.scene().is_stopping
    }

    fn claimed(&self) {
        self.scene().is_held = true;
    }

    fn released(&self) {
        self.scene().is_held = false;
    }

    fn overtaken(&self) {
        self.scene().referee.overtaken();
    }

    fn stored(&self, events: &[Event]) {
        let mut scene = self.scene();
        match events.first().map(|first| &first.body) {
            Some(EventBody::ExecutionQueued(_)) => {
                scene.executions += 1;
                if let Some(sequence) = scene.forking.take() {
                    self.begin_fork(&mut scene, sequence);
                }
            }
            Some(EventBody::ExecutionReopened(reopening)) => {
                scene.count_attempts(&reopening.rerun);
                scene.errands.clear();
            }
            _ => {}
        }
        let before = scene.referee.count_of_events();
        let elapsed = scene.elapsed();
        scene.referee.stored(events, elapsed);
        let after = before + events.len() as u64;
        for event in events {
            self.follow(&mut scene, event);
        }
        for fault in &self.faults {
            match *fault {
                Fault::Cancel(at) if (before + 1..=after).contains(&at) => scene.errand(Duration::ZERO, Errand::Cancel),
                Fault::Pause(at) if (before + 1..=after).contains(&at) => scene.errand(Duration::ZERO, Errand::Pause),
                Fault::Shutdown(at) if (before + 1..=after).contains(&at) => self.stop.notify_one(),
                Fault::ClockJump(at) if (before + 1..=after).contains(&at) => {
                    let mut chance = Chance::of(self.seed, &format!("clock {at}"));
                    let by = chance.duration(Duration::from_secs(1), Duration::from_secs(86_400)).as_micros() as i64;
                    scene.jump += if chance.one_in(2) { by } else { -by };
                    scene.referee.clock_was_set();
                }
                _ => continue,
            }
            self.news.notify_one();
        }
        if std::mem::take(&mut scene.crash_when_stored) {
            self.gone.notify_one();
        }
    }
}
