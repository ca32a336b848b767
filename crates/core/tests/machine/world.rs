//! A driver without a world: it holds exactly what commands tell it to, and after each batch compares that with what the machine
//! calls outstanding.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use orchestr8_core::{
    machine::{Call, Command, Commands, Phase, State, Status, fold, outstanding, rerun, step},
    plan::Plan,
};
use orchestr8_schema::workflow::HookPoint;
use orchestr8_schema::{
    ErrorKind, ExecutionId, Failure, Timestamp,
    api::Compensation,
    event::{
        Activation, ApprovalAnswer, ApprovalDecision, CallId, Cancelling, Event, EventBody, EventSort, HookId,
        HookOwner, HookResult, HookVerdict, ItemResult, LoopDecision, LoopVerdict, MapItems, Queued, Reopening, Signal,
        SkipReason, TimeoutScope, Timer,
    },
    usage::{Estimate, Usage},
};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use crate::account::{Account, Shortage};

/// What the world does next; the index picks among what is possible.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    Start(Index),
    Succeed(Index),
    FailAndRetry(Index),
    FailFinally(Index),
    Reject(Index),
    FireTimer(Index),
    /// A signal that some step may wait for.
    Signal(bool),
    /// Answers an approval, well or not.
    Answer(Index, bool),
    /// A hook answers, one way or another.
    HookSays(Index, u8),
    /// Asks for the end, with or without a grace.
    Cancel(bool),
    Pause,
    Resume,
    /// An event that nobody asked for.
    Hostile(u8, u32, u32),
}

pub(crate) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => any::<Index>().prop_map(Move::Start),
        6 => any::<Index>().prop_map(Move::Succeed),
        2 => any::<Index>().prop_map(Move::FailAndRetry),
        2 => any::<Index>().prop_map(Move::FailFinally),
        1 => any::<Index>().prop_map(Move::Reject),
        1 => any::<Index>().prop_map(Move::FireTimer),
        4 => prop::bool::weighted(0.9).prop_map(Move::Signal),
        2 => (any::<Index>(), any::<bool>()).prop_map(|(index, approve)| Move::Answer(index, approve)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(index, answer)| Move::HookSays(index, answer)),
        1 => any::<bool>().prop_map(Move::Cancel),
        2 => Just(Move::Pause),
        2 => Just(Move::Resume),
        3 => (any::<u8>(), 0..24_u32, 0..5_u32).prop_map(|(kind, one, two)| Move::Hostile(kind, one, two)),
    ];
    prop::collection::vec(one, 0..100)
}

/// What is known of a step in the end: its phase, output and input.
pub(crate) type StepResult = (Phase, Option<Arc<Value>>, Option<Arc<Value>>);

/// A driver that holds exactly what it was told to.
pub(crate) struct World<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) state: State,
    pub(crate) journal: Vec<Event>,
    /// What the machine asked for with each event of the journal.
    pub(crate) asked: Vec<Commands>,
    /// Whether what is held and known is compared after every batch, which takes its time.
    is_checked: bool,
    now: i64,
    calls: BTreeMap<CallId, Held>,
    timers: BTreeMap<Timer, Timestamp>,
    approvals: BTreeSet<Activation>,
    pub(crate) finished: Option<Status>,
}

#[derive(Debug)]
struct Held {
    in_attempt: bool,
    attempt: u32,
    told: bool,
}

impl<'a> World<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            state: State::new(plan),
            journal: Vec::new(),
            asked: Vec::new(),
            is_checked: false,
            now: 0,
            calls: BTreeMap::new(),
            timers: BTreeMap::new(),
            approvals: BTreeSet::new(),
            finished: None,
        }
    }

    /// One that compares, after every batch, what it holds with what is outstanding, and what is known with what is stored.
    pub(crate) fn checked(plan: &'a Plan) -> Self {
        Self { is_checked: true, ..Self::new(plan) }
    }

    /// Goes through a whole life: these moves, as far as they come, and then a patient world.
    pub(crate) fn live(&mut self, moves: &[Move]) {
        self.start(json!({ "yes": true, "no": false }));
        for action in moves {
            if self.finished.is_some() {
                return;
            }
            self.act(action);
        }
        self.settle();
    }

    /// Forgets everything but the journal, and takes up what is outstanding. Attempts in progress go on.
    pub(crate) fn crash(&mut self) {
        self.state = State::new(self.plan);
        for event in &self.journal {
            fold(self.plan, &mut self.state, event);
        }
        self.take_up();
    }

    /// As [`crash`](Self::crash), and says that somebody else has taken the execution up.
    pub(crate) fn recover(&mut self, epoch: u64) {
        self.is_checked = false;
        assert!(self.event(EventBody::ExecutionRecovered { epoch }), "it can be recovered");
        self.is_checked = true;
        self.crash();
        self.check();
    }

    /// Holds what is outstanding and nothing else.
    fn take_up(&mut self) {
        self.calls.clear();
        self.timers.clear();
        self.approvals.clear();
        let mut commands = Commands::new();
        outstanding(self.plan, &self.state, &mut commands);
        for command in &commands {
            self.carry_out(command);
            if let Command::Call(Call { id, restart, .. }) = command {
                self.calls.get_mut(id).expect("open").in_attempt = *restart > 0;
            }
        }
    }

    /// Shows each event of the journal with the state before and behind it.
    pub(crate) fn replay(&self, mut show: impl FnMut(&State, &Event, &State)) {
        let mut before = State::new(self.plan);
        for event in &self.journal {
            let mut after = before.clone();
            fold(self.plan, &mut after, event);
            show(&before, event, &after);
            before = after;
        }
    }

    /// Whether nothing is held any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.timers.is_empty() && self.approvals.is_empty()
    }

    /// Hands one external event to the machine and carries everything out. False if it was refused.
    pub(crate) fn event(&mut self, body: EventBody) -> bool {
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
            assert_eq!(
                self.state.sequence(),
                self.journal.len() as u64 + 1,
                "the machine does not take its own decision: {event:?} in {:?}",
                event.body.activation().and_then(|activation| before.activation(activation))
            );
            self.journal.push(event);
            assert!(self.journal.len() < 20_000, "the machine decides without end");
            let next = match commands.pop() {
                Some(Command::Record(next)) => Some(next),
                other => {
                    commands.extend(other);
                    None
                }
            };
            assert!(!commands.iter().any(|command| matches!(command, Command::Record(_))), "two records at once");
            effects.extend(commands.iter().cloned());
            self.asked.push(commands);
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
        if self.is_checked {
            self.check();
        }
        true
    }

    fn carry_out(&mut self, effect: &Command) {
        match *effect {
            Command::Call(Call { id, attempt, .. }) => {
                let held = Held { in_attempt: false, attempt, told: false };
                assert!(self.calls.insert(id, held).is_none(), "a second call of {id:?}");
            }
            Command::AbortCall { call, force: true, .. } => {
                assert!(self.calls.remove(&call).is_some(), "{call:?} is no call that could be aborted");
            }
            Command::AbortCall { call, force: false, .. } => {
                self.calls.get_mut(&call).expect("only open calls are told").told = true;
            }
            Command::SetTimer { timer, due_at } => {
                self.timers.insert(timer, due_at);
            }
            Command::ClearTimer { timer } => {
                self.timers.remove(&timer);
            }
            Command::RequestApproval { activation, .. } => {
                assert!(self.approvals.insert(activation), "{activation:?} asks twice");
            }
            Command::WithdrawApproval { activation } => {
                assert!(self.approvals.remove(&activation), "{activation:?} has not asked");
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
        let mut approvals = BTreeSet::new();
        for command in commands {
            match command {
                Command::Call(call) => assert!(calls.insert(call.id)),
                Command::SetTimer { timer, due_at } => assert!(timers.insert(timer, due_at).is_none()),
                Command::AbortCall { call, .. } => assert!(told.insert(call)),
                Command::RequestApproval { activation, .. } => assert!(approvals.insert(activation)),
                other => panic!("{other:?} is outstanding"),
            }
        }
        assert_eq!(self.calls.keys().copied().collect::<BTreeSet<_>>(), calls, "calls");
        assert_eq!(self.timers, timers, "timers");
        assert_eq!(self.approvals, approvals, "approvals");
        let held_told: BTreeSet<_> = self.calls.iter().filter(|(_, held)| held.told).map(|(at, _)| *at).collect();
        assert_eq!(held_told, told, "calls whose token has fired");

        let mut replayed = State::new(self.plan);
        for event in &self.journal {
            fold(self.plan, &mut replayed, event);
        }
        assert_eq!(replayed, self.state, "the journal does not fold to the live state");
        assert_eq!(self.state.sequence(), self.journal.len() as u64);
    }

    pub(crate) fn start(&mut self, input: Value) {
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

    /// Lets a failed execution go on; false if it cannot.
    pub(crate) fn reopen(&mut self) -> bool {
        let ended = self.finished.take();
        let reopening = Reopening::new(rerun(self.plan, &self.state));
        let goes_on = self.event(EventBody::ExecutionReopened(Arc::new(reopening)));
        if !goes_on {
            self.finished = ended;
        }
        goes_on
    }

    fn pick(&self, index: &Index, wanted: impl Fn(&Held) -> bool) -> Option<CallId> {
        let fit: Vec<_> = self.calls.iter().filter(|(_, held)| wanted(held)).map(|(at, _)| *at).collect();
        (!fit.is_empty()).then(|| fit[index.index(fit.len())])
    }

    pub(crate) fn act(&mut self, action: &Move) {
        match action {
            Move::Start(index) => {
                let Some(call) = self.pick(index, |held| !held.in_attempt) else { return };
                self.begin(call);
            }
            Move::Succeed(index) => {
                let Some(call) = self.pick(index, |held| held.in_attempt) else { return };
                self.succeed(call);
            }
            Move::FailFinally(index) => {
                let Some(call) = self.pick(index, |held| held.in_attempt) else { return };
                self.finish(call, Err(Arc::new(Failure::new(ErrorKind::Network, "down"))));
            }
            Move::HookSays(index, answer) => {
                let hooks = self.calls.iter().filter(|(call, held)| is_hook(**call) && held.in_attempt);
                let hooks: Vec<_> = hooks.map(|(call, _)| *call).collect();
                if hooks.is_empty() {
                    return;
                }
                let answer = match answer % 4 {
                    0 => json!({ "decision": "deny", "reason": "no" }),
                    1 => json!({ "decision": "allow", "input": { "replaced": true } }),
                    2 => json!({ "decision": "allow", "input": 7 }),
                    _ => json!("nonsense"),
                };
                self.finish(hooks[index.index(hooks.len())], Ok(Arc::new(answer)));
            }
            Move::FailAndRetry(index) => {
                let Some(call) = self.pick(index, |held| held.in_attempt && !held.told) else { return };
                if is_hook(call) {
                    return;
                }
                let held = self.calls.get_mut(&call).expect("open");
                let attempt = held.attempt;
                (held.in_attempt, held.attempt) = (false, attempt + 1);
                let result = Err(Arc::new(Failure::new(ErrorKind::Network, "down")));
                let usage = self.usage(call);
                assert!(self.event(EventBody::AttemptFinished { call, attempt, result, is_final: false, usage }));
                let (delay, due_at) = (Duration::from_secs(1), Timestamp::from_micros(self.now + 1_000_000));
                self.event(EventBody::RetryScheduled { call, attempt: attempt + 1, delay, due_at });
            }
            Move::Reject(index) => {
                let Some(call) = self.pick(index, |held| !held.in_attempt) else { return };
                if self.state.status() == Status::Paused {
                    return;
                }
                self.calls.remove(&call);
                let error = Arc::new(Failure::new(ErrorKind::CircuitOpen, "open"));
                assert!(self.event(EventBody::AttemptRejected { call, error, is_final: true }));
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
            Move::Signal(wanted) => self.signal(if *wanted { "go" } else { "stop" }),
            Move::Answer(index, approve) => {
                let open: Vec<_> = self.approvals.iter().copied().collect();
                if !open.is_empty() {
                    self.answer(open[index.index(open.len())], *approve);
                }
            }
            Move::Cancel(gracefully) => {
                let request = Cancelling {
                    reason: "enough".to_owned(),
                    grace_period: if *gracefully { Duration::from_secs(5) } else { Duration::ZERO },
                    requested_by: None,
                    superseded_by: None,
                };
                self.event(EventBody::ExecutionCancelling(Arc::new(request)));
            }
            Move::Pause => {
                self.event(EventBody::ExecutionPaused { reason: None });
            }
            Move::Resume => {
                self.event(EventBody::ExecutionResumed { reason: None });
            }
            Move::Hostile(kind, one, two) => self.hostile(*kind, *one, *two),
        }
    }

    pub(crate) fn begin(&mut self, call: CallId) {
        let attempt = self.calls[&call].attempt;
        let timeout = Some(Duration::from_secs(30));
        let reserved = self.estimate(call);
        let asked = reserved.as_deref().map_or(0, |estimate| estimate.tokens);
        if self.event(EventBody::AttemptStarted { call, attempt, restart: 0, timeout, reserved }) {
            self.calls.get_mut(&call).expect("open").in_attempt = true;
        } else if self.state.status() == Status::Running && !matches!(call, CallId::Hook(_) | CallId::Compensation(_)) {
            let account = Account::of(self);
            match account.shortage(self, call, asked).expect("refused without a reason") {
                Shortage::Taken => assert!(self.event(EventBody::AttemptDeferred { call })),
                Shortage::Spent(budget) => {
                    self.calls.remove(&call);
                    let mut error = Failure::new(ErrorKind::BudgetExceeded, "spent");
                    error.context = Some(json!({ "budget": budget.key() }));
                    assert!(self.event(EventBody::AttemptRejected { call, error: Arc::new(error), is_final: true }));
                }
            }
        }
    }

    /// What an attempt says that it may use, the same each time.
    fn estimate(&self, call: CallId) -> Option<Arc<Estimate>> {
        let CallId::Step(activation) = call else { return None };
        self.plan.workflow().workflow().policies.budget.as_ref()?;
        Some(Arc::new(Estimate::new(10 * (1 + u64::from(activation.0 % 3)), 0.0)))
    }

    /// What it has used: sometimes less than it said, and sometimes more.
    fn usage(&self, call: CallId) -> Option<Arc<Usage>> {
        let said = self.estimate(call)?.tokens;
        let CallId::Step(activation) = call else { return None };
        let used = [said / 2, said, said, said + 3][activation.get() % 4];
        Some(Arc::new(Usage::new(used, 0, 0.0)))
    }

    pub(crate) fn succeed(&mut self, call: CallId) {
        let attempt = self.calls[&call].attempt;
        // What an agent answers depends on step path and attempt, never on order.
        let path = call.activation().map(|activation| self.state.step_path(self.plan, activation));
        let result = if is_hook(call) {
            json!({ "decision": "allow" })
        } else {
            json!({ "step": path.expect("of a step"), "attempt": attempt })
        };
        self.finish(call, Ok(Arc::new(result)));
    }

    pub(crate) fn finish(&mut self, call: CallId, result: Result<Arc<Value>, Arc<Failure>>) {
        let held = self.calls.remove(&call).expect("open");
        let usage = self.usage(call);
        let attempt = held.attempt;
        assert!(self.event(EventBody::AttemptFinished { call, attempt, result, is_final: true, usage }));
    }

    fn signal(&mut self, name: &str) {
        let signal = Signal { name: name.into(), payload: json!("now"), signal_id: None, step_path: None };
        self.event(EventBody::SignalReceived(Arc::new(signal)));
    }

    fn answer(&mut self, activation: Activation, approve: bool) {
        let decision = if approve { ApprovalDecision::Approve } else { ApprovalDecision::Reject };
        let answer = Arc::new(ApprovalAnswer { decision, answer: json!({}), comment: None, by: None });
        assert!(self.event(EventBody::ApprovalAnswered { activation, answer }));
        assert!(!self.approvals.contains(&activation), "what was answered is withdrawn");
    }

    /// Events that may fit or not, and that no driver reports. Those that could be taken for an answer are tried on a copy.
    fn hostile(&mut self, kind: u8, one: u32, two: u32) {
        let (activation, attempt) = (Activation(one), two);
        let error = || Arc::new(Failure::new(ErrorKind::Internal, "hostile"));
        let value = || Arc::new(json!(null));
        let body = match kind % 47 {
            0 => EventBody::ExecutionStarted { epoch: 9 },
            1 => EventBody::ExecutionFailing { error: error() },
            2 => EventBody::ExecutionCompleted { outputs: None },
            3 => EventBody::ExecutionFailed,
            4 => EventBody::ExecutionCancelled { graceful: true },
            5 => EventBody::StepScheduled { activation, input: value(), idempotency_key: None, reuse: None },
            6 => EventBody::StepStarted { activation },
            7 => EventBody::StepCompleted { activation, output: Some(value()) },
            8 => EventBody::StepFailed { activation, error: error(), fatal: two.is_multiple_of(2) },
            9 => EventBody::StepSkipped { activation, reason: SkipReason::ConditionNotMet, dependency: None },
            10 => EventBody::StepCancelled { activation, forced: true },
            11 => EventBody::AttemptStarted {
                call: CallId::Step(activation),
                attempt,
                restart: u32::MAX,
                timeout: None,
                reserved: None,
            },
            12 => EventBody::AttemptFinished {
                call: CallId::Step(activation),
                attempt,
                result: Ok(value()),
                is_final: two.is_multiple_of(2),
                usage: None,
            },
            13 => EventBody::AttemptRejected {
                call: CallId::Step(activation),
                error: error(),
                is_final: two.is_multiple_of(2),
            },
            14 => EventBody::RetryScheduled {
                call: CallId::Step(activation),
                attempt,
                delay: Duration::MAX,
                due_at: Timestamp::from_micros(i64::MAX),
            },
            15 => EventBody::TimerFired { timer: Timer::StepDeadline(activation) },
            16 => EventBody::TimeoutExceeded { scope: TimeoutScope::Step(activation), timeout: Duration::MAX },
            17 => EventBody::StepWaiting { activation, due_at: None },
            18 => EventBody::StepFallback { activation, fallback: Activation(two) },
            19 => EventBody::StepRecovered { activation, fallback: Activation(two) },
            20 => EventBody::StepFallbackFailed { activation, fallback: Activation(two) },
            21 => EventBody::BranchDecided { activation, case: two },
            22 => EventBody::ParallelJoined { activation, completed: two },
            23 => {
                let items = vec![json!(1); two as usize];
                let accumulator = two.is_multiple_of(2).then(value);
                EventBody::MapOpened { activation, items: Arc::new(MapItems { items, keys: None, accumulator }) }
            }
            24 => {
                let outcome = if two.is_multiple_of(2) { Ok(value()) } else { Err(error()) };
                let result = Arc::new(ItemResult { outcome, accumulator: None });
                EventBody::MapItemFinished { activation, index: two, result }
            }
            25 => {
                let verdict = match two {
                    0 => LoopVerdict::Condition,
                    1 => LoopVerdict::Limit,
                    2 => LoopVerdict::Continue { due_at: Some(Timestamp::from_micros(i64::MAX)) },
                    _ => LoopVerdict::Continue { due_at: None },
                };
                let decision = Arc::new(LoopDecision { index: two, verdict, value: value() });
                EventBody::LoopDecided { activation, decision }
            }
            26 => EventBody::SignalDelivered { activation, signal_sequence: u64::from(two) },
            27 => EventBody::ApprovalRequested { activation, expires_at: None },
            28 => {
                let decision = ApprovalDecision::Reject;
                let answer = Arc::new(ApprovalAnswer { decision, answer: json!(1), comment: None, by: None });
                EventBody::ApprovalAnswered { activation, answer }
            }
            29 => EventBody::TimerFired { timer: Timer::Wait(activation) },
            40 | 41 => {
                let hook = HookId { owner: HookOwner::Step, point: HookPoint::Before, index: 0 };
                let result = HookResult { verdict: HookVerdict::Replace(value()), reason: None, error: None };
                if kind.is_multiple_of(2) {
                    EventBody::HookStarted { activation, hook, input: value() }
                } else {
                    EventBody::HookFinished { activation, hook, result: Arc::new(result) }
                }
            }
            42 => {
                let hook =
                    HookId { owner: HookOwner::Workflow { depth: 0 }, point: HookPoint::AfterExecution, index: 0 };
                EventBody::HookStarted { activation: Activation::EXECUTION, hook, input: value() }
            }
            43 => EventBody::AttemptStarted {
                call: CallId::Hook(activation),
                attempt,
                restart: 0,
                timeout: None,
                reserved: None,
            },
            44 => EventBody::AttemptFinished {
                call: CallId::Hook(activation),
                attempt,
                result: Err(error()),
                is_final: two.is_multiple_of(2),
                usage: None,
            },
            45 => EventBody::ExecutionReopened(Arc::new(Reopening::new(vec![activation]))),
            30 => EventBody::StepCompleted { activation, output: None },
            31 => EventBody::CompensationStarted { order: Arc::new([activation, Activation(two)]) },
            32 => EventBody::CompensationStepStarted { activation, input: value(), idempotency_key: None },
            33 => EventBody::CompensationStepCompleted { activation },
            34 => EventBody::CompensationStepFailed { activation, error: error() },
            35 => EventBody::CompensationFinished { result: Compensation::Complete },
            36 => {
                let call = CallId::Compensation(activation);
                EventBody::AttemptStarted { call, attempt, restart: 0, timeout: None, reserved: None }
            }
            37 => {
                let call = CallId::Compensation(activation);
                EventBody::AttemptFinished {
                    call,
                    attempt,
                    result: Ok(value()),
                    is_final: two.is_multiple_of(2),
                    usage: None,
                }
            }
            38 => EventBody::TimerFired { timer: Timer::Compensation },
            39 => EventBody::TimerFired { timer: Timer::Grace },
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
    pub(crate) fn settle(&mut self) {
        // Each signal ends a wait; there are not that many.
        let mut signals = 0;
        for _ in 0..5000 {
            if self.finished.is_some() {
                return;
            }
            if signals == 200 {
                break;
            }
            self.event(EventBody::ExecutionResumed { reason: None });
            let wait = self.timers.keys().find(|timer| matches!(timer, Timer::Wait(_))).copied();
            // What waits for others' share of a budget begins when they have ended.
            let next = self.calls.iter().find(|(_, held)| held.in_attempt).or_else(|| self.calls.iter().next());
            match (next, self.approvals.first(), wait) {
                (Some((&call, held)), _, _) if held.in_attempt => self.succeed(call),
                (Some((&call, _)), _, _) => self.begin(call),
                (None, Some(&activation), _) => self.answer(activation, true),
                (None, None, Some(timer)) => {
                    self.timers.remove(&timer);
                    assert!(self.event(EventBody::TimerFired { timer }));
                }
                (None, None, None) => {
                    signals += 1;
                    self.signal("go");
                }
            }
        }
        panic!("the execution does not end: {:?}", self.state);
    }

    /// What is known of each step in the end, by step path: the numbers of activations depend on the order of opening.
    pub(crate) fn results(&self) -> BTreeMap<String, StepResult> {
        let steps = self.state.steps().iter().enumerate();
        steps
            .map(|(index, step)| {
                let path = self.state.step_path(self.plan, Activation(index as u32)).expect("there is one");
                (path.to_string(), (step.phase, step.output.clone(), step.input.clone()))
            })
            .collect()
    }
}

pub(crate) fn is_hook(call: CallId) -> bool {
    matches!(call, CallId::Hook(_))
}
