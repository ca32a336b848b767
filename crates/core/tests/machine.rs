//! Properties of the machine: over random workflows, schedules, answers, cancellations and hostile events.
//!
//! The driver here is pure. It knows only what commands tell it, and after each batch what it holds must be what the machine
//! calls outstanding.

#![expect(clippy::panic, reason = "a test that goes wrong says so by a panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use orchestr8_agent_base::AgentRegistry;
use orchestr8_core::{
    machine::{Call, Command, Commands, Phase, State, Status, fold, outstanding, step},
    plan::Plan,
};
use orchestr8_schema::{
    ErrorKind, ExecutionId, Failure, Timestamp, ValidWorkflow,
    event::{Activation, Cancelling, Event, EventBody, EventSort, Queued, SkipReason, TimeoutScope, Timer},
};
use orchestr8_testing::scripted;
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

/// A random workflow: each step depends on, or softly reads, earlier ones.
fn workflows() -> impl Strategy<Value = Value> {
    let step = (
        prop::collection::vec((any::<Index>(), any::<bool>()), 0..3),
        prop::sample::select(vec!["fail", "continue", "retry"]),
        prop::option::of(1_u64..5000),
        prop::option::of(prop::sample::select(vec!["inputs.yes", "inputs.no"])),
    );
    (prop::collection::vec(step, 1..9), any::<bool>(), any::<bool>()).prop_map(|(steps, stop, propagate)| {
        let steps: Vec<_> = steps
            .into_iter()
            .enumerate()
            .map(|(index, (edges, on_error, deadline, condition))| {
                let mut hard = BTreeSet::new();
                let mut soft = BTreeSet::new();
                for (from, is_hard) in edges.into_iter().filter(|_| index > 0) {
                    let from = format!("s{}", from.index(index));
                    if is_hard {
                        hard.insert(from)
                    } else {
                        soft.insert(from)
                    };
                }
                let input: serde_json::Map<_, _> = soft
                    .difference(&hard)
                    .map(|from| (from.clone(), json!(format!("${{steps.{from}.output ?? null}}"))))
                    .collect();
                let mut step = json!({
                    "id": format!("s{index}"),
                    "agent": { "id": "@test/any" },
                    "dependencies": hard,
                    "input": input,
                    "onError": on_error,
                });
                if let Some(deadline) = deadline {
                    step["policies"] = json!({ "deadline": deadline });
                }
                if let Some(condition) = condition {
                    step["condition"] = json!({ "if": condition });
                }
                step
            })
            .collect();
        json!({
            "version": "1.0.0",
            "metadata": { "id": "random", "name": "Random" },
            "steps": steps,
            "policies": {
                "onFailure": if stop { "stop" } else { "continue" },
                "cancellation": { "propagate": propagate }
            }
        })
    })
}

/// What the world does next; the index picks among what is possible.
#[derive(Clone, Debug)]
enum Move {
    Start(Index),
    Succeed(Index),
    FailAndRetry(Index),
    FailFinally(Index),
    Reject(Index),
    FireTimer(Index),
    /// Asks for the end, with or without a grace.
    Cancel(bool),
    /// An event that nobody asked for.
    Hostile(u8, u32, u32),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => any::<Index>().prop_map(Move::Start),
        6 => any::<Index>().prop_map(Move::Succeed),
        2 => any::<Index>().prop_map(Move::FailAndRetry),
        2 => any::<Index>().prop_map(Move::FailFinally),
        1 => any::<Index>().prop_map(Move::Reject),
        1 => any::<Index>().prop_map(Move::FireTimer),
        1 => any::<bool>().prop_map(Move::Cancel),
        2 => (any::<u8>(), 0..12_u32, 0..5_u32).prop_map(|(kind, one, two)| Move::Hostile(kind, one, two)),
    ];
    prop::collection::vec(one, 0..80)
}

/// A driver that holds exactly what it was told to.
struct World<'a> {
    plan: &'a Plan,
    state: State,
    journal: Vec<Event>,
    now: i64,
    calls: BTreeMap<Activation, Held>,
    timers: BTreeMap<Timer, Timestamp>,
    finished: Option<Status>,
}

#[derive(Debug)]
struct Held {
    in_attempt: bool,
    attempt: u32,
    told: bool,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            state: State::new(plan),
            journal: Vec::new(),
            now: 0,
            calls: BTreeMap::new(),
            timers: BTreeMap::new(),
            finished: None,
        }
    }

    /// Hands one external event to the machine and carries everything out. False if it was refused.
    fn event(&mut self, body: EventBody) -> bool {
        self.now += 1;
        let before = self.state.clone();
        let mut event = Event { at: Timestamp::from_micros(self.now), body };
        let mut effects = Commands::new();
        loop {
            let mut commands = Commands::new();
            step(self.plan, &mut self.state, &event, &mut commands);
            if let [Command::Refuse(_)] = commands.as_slice() {
                assert_eq!(self.state, before, "a refused event changed the state: {event:?}");
                return false;
            }
            self.journal.push(event);
            let next = match commands.pop() {
                Some(Command::Record(next)) => Some(next),
                other => {
                    commands.extend(other);
                    None
                }
            };
            assert!(!commands.iter().any(|command| matches!(command, Command::Record(_))), "two records at once");
            effects.extend(commands);
            match next {
                Some(next) => {
                    assert_eq!(next.body.sort(), EventSort::Derived);
                    event = next;
                }
                None => break,
            }
        }
        for effect in effects {
            self.carry_out(&effect);
        }
        self.check();
        true
    }

    fn carry_out(&mut self, effect: &Command) {
        match *effect {
            Command::Call(Call { activation, attempt, .. }) => {
                let held = Held { in_attempt: false, attempt, told: false };
                assert!(self.calls.insert(activation, held).is_none(), "a second call of {activation:?}");
            }
            Command::AbortCall { activation, force: true, .. } => {
                self.calls.remove(&activation);
            }
            Command::AbortCall { activation, force: false, .. } => {
                self.calls.get_mut(&activation).expect("only open calls are told").told = true;
            }
            Command::SetTimer { timer, due_at } => {
                self.timers.insert(timer, due_at);
            }
            Command::ClearTimer { timer } => {
                self.timers.remove(&timer);
            }
            Command::Finish(status) => assert!(self.finished.replace(status).is_none(), "finished twice"),
            Command::Record(_) | Command::Refuse(_) => unreachable!("handled before"),
            _ => unreachable!("no other commands"),
        }
    }

    /// What is held is what is outstanding, and what is stored folds to what is known.
    fn check(&self) {
        let mut commands = Commands::new();
        outstanding(self.plan, &self.state, &mut commands);
        let mut calls = BTreeSet::new();
        let mut timers = BTreeMap::new();
        let mut told = BTreeSet::new();
        for command in commands {
            match command {
                Command::Call(call) => assert!(calls.insert(call.activation)),
                Command::SetTimer { timer, due_at } => assert!(timers.insert(timer, due_at).is_none()),
                Command::AbortCall { activation, .. } => assert!(told.insert(activation)),
                other => panic!("{other:?} is outstanding"),
            }
        }
        assert_eq!(self.calls.keys().copied().collect::<BTreeSet<_>>(), calls, "calls");
        assert_eq!(self.timers, timers, "timers");
        let held_told: BTreeSet<_> = self.calls.iter().filter(|(_, held)| held.told).map(|(at, _)| *at).collect();
        assert_eq!(held_told, told, "calls whose token has fired");

        let mut replayed = State::new(self.plan);
        for event in &self.journal {
            fold(self.plan, &mut replayed, event);
        }
        assert_eq!(replayed, self.state, "the journal does not fold to the live state");
        assert_eq!(self.state.sequence(), self.journal.len() as u64);
    }

    fn start(&mut self, input: Value) {
        let queued = Queued::new(
            ExecutionId::from_parts(1, [7; 10]),
            "test".parse().expect("well formed"),
            self.plan.workflow().clone(),
            Arc::clone(self.plan.agent_versions()),
            Arc::new(input),
            Arc::new(json!({})),
            Arc::new(json!({})),
        );
        assert!(self.event(EventBody::ExecutionQueued(Arc::new(queued))));
        assert!(self.event(EventBody::ExecutionStarted { epoch: 1 }));
    }

    fn pick(&self, index: &Index, wanted: impl Fn(&Held) -> bool) -> Option<Activation> {
        let fit: Vec<_> = self.calls.iter().filter(|(_, held)| wanted(held)).map(|(at, _)| *at).collect();
        (!fit.is_empty()).then(|| fit[index.index(fit.len())])
    }

    fn act(&mut self, action: &Move) {
        match action {
            Move::Start(index) => {
                let Some(activation) = self.pick(index, |held| !held.in_attempt) else { return };
                self.begin(activation);
            }
            Move::Succeed(index) => {
                let Some(activation) = self.pick(index, |held| held.in_attempt) else { return };
                self.succeed(activation);
            }
            Move::FailFinally(index) => {
                let Some(activation) = self.pick(index, |held| held.in_attempt) else { return };
                let held = self.calls.remove(&activation).expect("open");
                let result = Err(Arc::new(Failure::new(ErrorKind::Network, "down")));
                assert!(self.event(EventBody::AttemptFinished {
                    activation,
                    attempt: held.attempt,
                    result,
                    is_final: true
                }));
            }
            Move::FailAndRetry(index) => {
                let Some(activation) = self.pick(index, |held| held.in_attempt && !held.told) else { return };
                let attempt = self.calls[&activation].attempt;
                self.calls.get_mut(&activation).expect("open").in_attempt = false;
                self.calls.get_mut(&activation).expect("open").attempt += 1;
                let result = Err(Arc::new(Failure::new(ErrorKind::Network, "down")));
                assert!(self.event(EventBody::AttemptFinished { activation, attempt, result, is_final: false }));
                let (delay, due_at) = (Duration::from_secs(1), Timestamp::from_micros(self.now + 1_000_000));
                self.event(EventBody::RetryScheduled { activation, attempt: attempt + 1, delay, due_at });
            }
            Move::Reject(index) => {
                let Some(activation) = self.pick(index, |held| !held.in_attempt) else { return };
                self.calls.remove(&activation);
                let error = Arc::new(Failure::new(ErrorKind::CircuitOpen, "open"));
                assert!(self.event(EventBody::AttemptRejected { activation, error, is_final: true }));
            }
            Move::FireTimer(index) => {
                let timers: Vec<_> = self.timers.keys().copied().collect();
                if timers.is_empty() {
                    return;
                }
                let timer = timers[index.index(timers.len())];
                self.timers.remove(&timer);
                assert!(self.event(EventBody::TimerFired { timer }));
            }
            Move::Cancel(gracefully) => {
                let request = Cancelling {
                    reason: "enough".to_owned(),
                    grace_period: if *gracefully { Duration::from_secs(5) } else { Duration::ZERO },
                    requested_by: None,
                };
                self.event(EventBody::ExecutionCancelling(Arc::new(request)));
            }
            Move::Hostile(kind, one, two) => self.hostile(*kind, *one, *two),
        }
    }

    fn begin(&mut self, activation: Activation) {
        let attempt = self.calls[&activation].attempt;
        let timeout = Some(Duration::from_secs(30));
        if self.event(EventBody::AttemptStarted { activation, attempt, restart: 0, timeout }) {
            self.calls.get_mut(&activation).expect("open").in_attempt = true;
        }
    }

    fn succeed(&mut self, activation: Activation) {
        let held = self.calls.remove(&activation).expect("open");
        // What an agent answers depends on step and attempt, never on order.
        let result = Ok(Arc::new(json!({ "step": activation.0, "attempt": held.attempt })));
        assert!(self.event(EventBody::AttemptFinished { activation, attempt: held.attempt, result, is_final: true }));
    }

    /// Events that may fit or not, and that no driver reports. Those that could be taken for an answer are tried on a copy.
    fn hostile(&mut self, kind: u8, one: u32, two: u32) {
        let (activation, attempt) = (Activation(one), two);
        let error = || Arc::new(Failure::new(ErrorKind::Internal, "hostile"));
        let value = || Arc::new(json!(null));
        let body = match kind % 18 {
            0 => EventBody::ExecutionStarted { epoch: 9 },
            1 => EventBody::ExecutionFailing { error: error() },
            2 => EventBody::ExecutionCompleted { outputs: None },
            3 => EventBody::ExecutionFailed,
            4 => EventBody::ExecutionCancelled { graceful: true },
            5 => EventBody::StepScheduled { activation, input: value(), idempotency_key: None },
            6 => EventBody::StepStarted { activation },
            7 => EventBody::StepCompleted { activation, output: value() },
            8 => EventBody::StepFailed { activation, error: error(), fatal: two.is_multiple_of(2) },
            9 => EventBody::StepSkipped { activation, reason: SkipReason::ConditionNotMet, dependency: None },
            10 => EventBody::StepCancelled { activation, forced: true },
            11 => EventBody::AttemptStarted { activation, attempt, restart: u32::MAX, timeout: None },
            12 => {
                EventBody::AttemptFinished { activation, attempt, result: Ok(value()), is_final: two.is_multiple_of(2) }
            }
            13 => EventBody::AttemptRejected { activation, error: error(), is_final: two.is_multiple_of(2) },
            14 => EventBody::RetryScheduled {
                activation,
                attempt,
                delay: Duration::MAX,
                due_at: Timestamp::from_micros(i64::MAX),
            },
            15 => EventBody::TimerFired { timer: Timer::StepDeadline(activation) },
            16 => EventBody::TimeoutExceeded { scope: TimeoutScope::Step(activation), timeout: Duration::MAX },
            _ => EventBody::ExecutionQueued(Arc::clone(self.state.queued().expect("queued"))),
        };
        let mut copy = self.state.clone();
        let mut event = Event { at: Timestamp::from_micros(self.now), body };
        // Whatever comes, nothing panics, and the machine comes to rest.
        for _ in 0..1000 {
            let mut commands = Commands::new();
            let before = copy.clone();
            step(self.plan, &mut copy, &event, &mut commands);
            match commands.pop() {
                Some(Command::Record(next)) => event = next,
                Some(Command::Refuse(_)) => return assert_eq!(copy, before),
                _ => return,
            }
        }
        panic!("the machine does not come to rest");
    }

    /// Lets everything that is open end well, as a patient world does.
    fn settle(&mut self) {
        for _ in 0..1000 {
            if self.finished.is_some() {
                return;
            }
            match self.calls.iter().next() {
                Some((&activation, held)) if held.in_attempt => self.succeed(activation),
                Some((&activation, _)) => self.begin(activation),
                None => break,
            }
        }
        assert!(self.finished.is_some(), "nothing is open, and the execution has not ended: {:?}", self.state);
    }
}

fn registry() -> AgentRegistry {
    let mut agents = AgentRegistry::new();
    agents.register(scripted("any")).expect("registered");
    agents
}

fn plan(document: &Value) -> Plan {
    let workflow = ValidWorkflow::from_value(document).unwrap_or_else(|error| panic!("{error}\n{document:#}"));
    Plan::compile(&workflow, &registry()).expect("it compiles")
}

/// What the specification promises of every execution that has ended.
fn check_end(world: &World<'_>) {
    let steps = world.state.steps();
    assert!(steps.iter().all(|step| step.phase.is_terminal()), "a step is not terminal");
    let terminal = world.journal.iter().filter(|event| event.body.is_terminal()).count();
    assert_eq!(terminal, 1, "terminal events");
    assert!(world.journal.last().expect("not empty").body.is_terminal(), "the terminal event is not the last");

    let mut ended = BTreeSet::new();
    let mut ending = false;
    for event in &world.journal {
        match &event.body {
            EventBody::StepCompleted { activation, .. }
            | EventBody::StepFailed { activation, .. }
            | EventBody::StepSkipped { activation, .. }
            | EventBody::StepCancelled { activation, .. } => {
                assert!(ended.insert(*activation), "{activation:?} ended twice");
            }
            EventBody::AttemptStarted { activation, .. } => {
                assert!(!ended.contains(activation), "an attempt after the end of {activation:?}");
                assert!(!ending, "an attempt while the execution is ending");
            }
            EventBody::StepScheduled { activation, .. } => {
                assert!(!ending, "a step is scheduled while the execution is ending");
                let valid = &world.plan.workflow().steps()[activation.get()];
                for dependency in &valid.dependencies {
                    assert_eq!(steps[dependency.get()].phase, Phase::Completed, "scheduled before its dependency");
                }
                for soft in &valid.soft {
                    assert!(ended.contains(&Activation(soft.0)), "scheduled before its soft dependency has ended");
                }
            }
            EventBody::ExecutionCancelling(_) | EventBody::ExecutionFailing { .. } => ending = true,
            _ => {}
        }
    }
    for step in steps {
        if step.phase == Phase::Skipped {
            assert_eq!(step.attempts, 0, "a skipped step had an attempt");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_schedule_keeps_the_invariants(document in workflows(), moves in moves()) {
        let plan = plan(&document);
        let mut world = World::new(&plan);
        world.start(json!({ "yes": true, "no": false }));
        for action in &moves {
            if world.finished.is_some() {
                break;
            }
            world.act(action);
        }
        world.settle();
        check_end(&world);
        // Nothing fits any more.
        let refused = !world.event(EventBody::ExecutionStarted { epoch: 2 });
        prop_assert!(refused);
    }

    #[test]
    fn order_of_completion_does_not_matter(document in workflows(), one in moves(), other in moves()) {
        let plan = plan(&document);
        let run = |moves: &[Move]| {
            let mut world = World::new(&plan);
            world.start(json!({ "yes": true, "no": false }));
            for action in moves.iter().filter(|action| matches!(action, Move::Start(_) | Move::Succeed(_))) {
                if world.finished.is_none() {
                    world.act(action);
                }
            }
            world.settle();
            let steps = world.state.steps().iter().map(|step| (step.phase, step.output.clone(), step.input.clone()));
            steps.collect::<Vec<_>>()
        };
        prop_assert_eq!(run(&one), run(&other));
    }

    #[test]
    fn folding_any_mixture_of_events_never_panics(document in workflows(), moves in moves(), picks in prop::collection::vec(any::<Index>(), 0..60)) {
        let plan = plan(&document);
        let mut world = World::new(&plan);
        world.start(json!({ "yes": true, "no": false }));
        for action in &moves {
            if world.finished.is_none() {
                world.act(action);
            }
        }
        let mut state = State::new(&plan);
        for pick in &picks {
            fold(&plan, &mut state, &world.journal[pick.index(world.journal.len())]);
        }
    }
}
