//! Deliberate mistakes, to find out whether simulations find them. Built with `--cfg planted` alone, which no feature and no release
//! switches on; see `crates/testing/planted`.
//!
//! One mistake at a time is made in the whole process. Each stands at a seam: what the machine has decided, what it asks for, what the
//! driver stores, takes up and hands on, and what the layers around a call are made of. The machine's own files know nothing of it.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use orchestr8_schema::{
    StepIndex,
    api::Compensation,
    event::{
        Activation, ApprovalDecision, Event, EventBody, HookId, HookResult, HookVerdict, ItemResult, LoopDecision,
        LoopVerdict, MapItems, Reuse, SkipReason, Timer,
    },
    validate::ValidKind,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{
    engine::mailbox::Request,
    machine::{Command, Commands, Phase, Refusal, State},
    plan::Plan,
};

/// The number of the mistake that is made, from 1; 0 for none.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

macro_rules! defects {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// A deliberate mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Defect { $($(#[doc = $doc])+ $name,)+ }

        impl Defect {
            /// Every mistake.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

defects! {
    // === what is decided ===
    /// A step runs although its condition does not hold.
    ConditionIgnored;
    /// A step counts as recovered although its fallback has failed.
    RecoveredByNobody;
    /// A step does not count as recovered although its fallback has completed.
    RecoveryLost;
    /// A branch takes the case behind the one that holds.
    WrongRoute;
    /// A group says that fewer have completed than have.
    JoinMiscounted;
    /// A map has one item too many.
    ItemTooMany;
    /// A map has one item too few.
    ItemLost;
    /// A map's items are in reverse.
    ItemsReversed;
    /// A loop goes on once although its condition holds.
    IterationTooMany;
    /// A loop that has used up its iterations ends as if its condition held.
    LimitTakenForCondition;
    /// A loop forgets its value.
    LoopValueLost;
    /// An approval that expires is asked for as if it did not.
    ExpiryLost;
    /// A step completes with null instead of its output.
    OutputLost;
    /// A fatal failure is taken for one that can be borne.
    FailureBorne;
    /// A failure that can be borne is taken for a fatal one.
    FailureFatal;
    /// A wait is half as long as it should be.
    WaitTooShort;
    /// A wait with an end is taken for one without.
    WaitWithoutEnd;
    /// What was done first is undone first.
    CompensationOldestFirst;
    /// What was done first is not undone.
    CompensationSkipsOne;
    /// What was done last is undone twice.
    CompensationTwice;
    /// Nothing is undone.
    CompensationForgotten;
    /// Compensation that has failed counts as complete.
    CompensationTakenForComplete;
    /// A step is skipped for another reason than the one that there is, although it should run.
    ReadyStepSkipped;
    /// The outputs of the execution are lost.
    OutcomeLost;
    /// A step that has failed counts as completed.
    FailureTakenForSuccess;
    /// Whoever takes an execution up begins its budget anew.
    BudgetReset;
    /// What several branches lead to runs once more when it has run.
    FanInTwice;
    /// An answer to an approval takes back those to others.
    SiblingReverted;
    /// What a skipped step has not given can be read.
    SkippedOutputRead;
    /// A step that its fallback has recovered shows null.
    RecoveryUnseen;
    /// A step that has failed is seen as completed.
    StatusMisread;
    /// Iterations see the number of the next one.
    IterationShifted;
    /// Items see their neighbour.
    NeighbourSeen;
    /// A step that may begin without another one is skipped when that has not completed.
    SoftTakenForHard;
    /// A fallback is not given what the step was given that it stands in for.
    FallbackInputLost;
    /// A wait gives no payload.
    PayloadLost;
    /// A group gives less than its steps have given.
    GroupOutputCut;
    /// Accumulators forget.
    AccumulatorLost;
    /// Hooks count as having answered without being called.
    HookLeftOut;
    /// Whoever takes an execution up leaves out the hooks that come.
    HookLeftOutAtRecovery;
    /// What an attempt has reserved is not given back when it is dropped.
    ReservationKept;
    // === what goes on, and what begins with what was ===
    /// A reopened execution runs what has completed again.
    CompletedReopened;
    /// A reopened execution leaves out what was cut short.
    UnfinishedLeftOut;
    /// A reopened execution begins its budget anew.
    BudgetResetByReopening;
    /// What was undone is reopened all the same.
    UndoneReopened;
    /// A fork takes a result over although the step has another input.
    ReusedWithOtherInput;
    /// A fork calls again what it could take over.
    ReuseForgotten;
    /// A fork takes over what came after the place where it begins.
    ForkOfTheEnd;
    /// A fork has the idempotency keys of the execution that it was made from.
    ForkSharesKeys;
    /// A fork undoes what it has taken over.
    ReusedUndone;
    /// A hook that has answered has its turn once more.
    HookTwice;
    // === what is asked for ===
    /// The timer of a wait is not set.
    WaitTimerLost;
    /// The deadline of a step is not watched.
    StepDeadlineLost;
    /// The deadline of a composite is not watched.
    GroupDeadlineLost;
    /// The deadline of the execution is not watched.
    ExecutionDeadlineLost;
    /// Running attempts have their grace without an end.
    GraceLost;
    /// Timers fire a minute late.
    TimersLate;
    /// Calls that should end are not told.
    AbortLost;
    /// Calls of steps that are cut off go on.
    CutOffRunsOn;
    /// A call is not made.
    CallLost;
    /// A call is made twice.
    CallTwice;
    // === what is stored, and taken up ===
    /// The last event of a batch is acted upon and not stored.
    LastEventNotStored;
    /// A batch is acted upon that another process has forestalled.
    ConflictIgnored;
    /// The store does not look at leases.
    LeaseUnchecked;
    /// A batch is acted upon that the store has refused.
    RefusalIgnored;
    /// Agents are called before the beginning of the attempt is stored.
    ActsBeforeStoring;
    /// Whoever takes an execution up forgets its timers.
    TimersForgottenAtRecovery;
    /// Whoever takes an execution up forgets its calls.
    CallsForgottenAtRecovery;
    /// The time of an execution that is taken up begins before its last event.
    TimeGoesBack;
    /// Idempotency keys change with the process.
    KeyChanges;
    /// Whoever shuts down keeps its leases.
    LeaseKept;
    // === what is handed on ===
    /// Signals are taken note of, and not delivered.
    SignalsLost;
    /// A signal that is sent twice counts twice.
    SignalsTwice;
    /// A rejection is taken for an approval.
    RejectionTakenForApproval;
    /// A pause is taken note of, and nothing stands still.
    PauseLost;
    /// A cancellation is taken note of, and nothing ends.
    CancelLost;
    /// Slots are taken without counting.
    SlotsWithoutEnd;
    /// Slots are not given back.
    SlotsLeak;
    // === layers ===
    /// Attempts may take twice as long as they may.
    TimeoutTwice;
    /// The time that a failed attempt was told to wait is ignored.
    RetryAfterIgnored;
    /// There is one attempt more than there may be.
    AttemptTooMany;
    /// An open circuit is called.
    CircuitIgnored;
    /// A probe of a half-open circuit that is dropped does not give its permit back.
    ProbeLeaks;
    /// An agent's answer is handed on as null.
    AnswerLost;
}

impl Defect {
    /// Makes this mistake from now on, or none.
    pub fn plant(defect: Option<Self>) {
        ACTIVE.store(defect.map_or(0, |defect| defect as usize + 1), Ordering::SeqCst);
        orchestr8_resilience::planted::PROBES_LEAK.store(defect == Some(Self::ProbeLeaks), Ordering::SeqCst);
    }

    /// Whether this mistake is made.
    pub(crate) fn is_made(self) -> bool {
        ACTIVE.load(Ordering::Relaxed) == self as usize + 1
    }
}

fn active() -> Option<Defect> {
    Defect::ALL.get(ACTIVE.load(Ordering::Relaxed).checked_sub(1)?).copied()
}

/// Has something else decided.
pub(crate) fn decided(plan: &Plan, state: &State, decided: Option<EventBody>) -> Option<EventBody> {
    let body = decided?;
    Some(active().and_then(|defect| mistaken(defect, plan, state, &body)).unwrap_or(body))
}

fn mistaken(defect: Defect, plan: &Plan, state: &State, body: &EventBody) -> Option<EventBody> {
    let mut wrong = body.clone();
    match (defect, &mut wrong) {
        (Defect::SoftTakenForHard, EventBody::StepScheduled { activation, .. }) => {
            let activation = *activation;
            let step = state.steps()[activation.get()].step;
            let own = state.own_steps();
            let is_missing = |soft: &&StepIndex| {
                own.iter().any(|other| other.step == **soft && other.phase.is_terminal() && !other.is_satisfied())
            };
            let missing = *plan.valid_step(step).soft.iter().find(is_missing)?;
            let reason = SkipReason::DependencyNotCompleted;
            wrong = EventBody::StepSkipped { activation, reason, dependency: Some(missing) };
        }
        (Defect::FallbackInputLost, EventBody::StepScheduled { activation, input, .. }) => {
            plan.valid_step(state.steps()[activation.get()].step).serves?;
            *input = Arc::new(json!({}));
        }
        (Defect::PayloadLost, EventBody::StepCompleted { output: Some(output), .. }) => {
            output.get("payload")?;
            *output = Arc::new(json!({ "reason": "signal", "payload": null }));
        }
        (Defect::AccumulatorLost, EventBody::MapItemFinished { result, .. }) => {
            result.accumulator.as_ref()?;
            *result = Arc::new(ItemResult { accumulator: Some(Arc::new(Value::Null)), ..ItemResult::clone(result) });
        }
        (Defect::HookLeftOut, EventBody::HookStarted { activation, hook, .. }) => {
            wrong = left_out(*activation, *hook);
        }
        (Defect::HookLeftOutAtRecovery, EventBody::HookStarted { activation, hook, .. })
            if RECOVERED.load(Ordering::Relaxed) =>
        {
            wrong = left_out(*activation, *hook);
        }
        (Defect::ConditionIgnored, EventBody::StepSkipped { activation, reason: SkipReason::ConditionNotMet, .. }) => {
            let activation = *activation;
            wrong =
                EventBody::StepScheduled { activation, input: Arc::new(json!({})), idempotency_key: None, reuse: None };
        }
        (Defect::ReusedWithOtherInput, EventBody::StepScheduled { reuse: reuse @ Some(Reuse::InputChanged), .. }) => {
            *reuse = Some(Reuse::Reused);
        }
        (Defect::ReuseForgotten, EventBody::StepScheduled { reuse: reuse @ Some(Reuse::Reused), .. }) => *reuse = None,
        (Defect::HookTwice, EventBody::HookFinished { activation, hook, .. })
            if state.activation(*activation)?.rejected == 1 =>
        {
            let input = state.activation(*activation)?.input.clone().unwrap_or_default();
            wrong = EventBody::HookStarted { activation: *activation, hook: *hook, input };
        }
        (Defect::RecoveredByNobody, EventBody::StepFallbackFailed { activation, fallback }) => {
            wrong = EventBody::StepRecovered { activation: *activation, fallback: *fallback };
        }
        (Defect::RecoveryLost, EventBody::StepRecovered { activation, fallback }) => {
            wrong = EventBody::StepFallbackFailed { activation: *activation, fallback: *fallback };
        }
        // Of two ways the other one.
        (Defect::WrongRoute, EventBody::BranchDecided { case, .. }) => *case = u32::from(*case == 0),
        (Defect::JoinMiscounted, EventBody::ParallelJoined { completed, .. }) => {
            *completed = completed.saturating_sub(1)
        }
        (Defect::ItemTooMany, EventBody::MapOpened { items, .. }) => {
            let mut more = MapItems::clone(items);
            more.items.push(more.items.last()?.clone());
            *items = Arc::new(more);
        }
        (Defect::ItemLost, EventBody::MapOpened { items, .. }) => {
            let mut fewer = MapItems::clone(items);
            fewer.items.pop();
            *items = Arc::new(fewer);
        }
        (Defect::ItemsReversed, EventBody::MapOpened { items, .. }) => {
            let mut reversed = MapItems::clone(items);
            reversed.items.reverse();
            *items = Arc::new(reversed);
        }
        (Defect::IterationTooMany, EventBody::LoopDecided { decision, .. })
            if decision.verdict == LoopVerdict::Condition && decision.index > 0 && decision.index % 2 == 0 =>
        {
            let verdict = LoopVerdict::Continue { due_at: None };
            *decision = Arc::new(LoopDecision { verdict, ..LoopDecision::clone(decision) });
        }
        (Defect::LimitTakenForCondition, EventBody::LoopDecided { decision, .. })
            if decision.verdict == LoopVerdict::Limit =>
        {
            let verdict = LoopVerdict::Condition;
            *decision = Arc::new(LoopDecision { verdict, ..LoopDecision::clone(decision) });
        }
        (Defect::LoopValueLost, EventBody::LoopDecided { decision, .. }) => {
            *decision = Arc::new(LoopDecision { value: Arc::new(Value::Null), ..LoopDecision::clone(decision) });
        }
        (Defect::ExpiryLost, EventBody::ApprovalRequested { expires_at, .. }) => *expires_at = None,
        (Defect::OutputLost, EventBody::StepCompleted { output: Some(output), .. }) => *output = Arc::new(Value::Null),
        (Defect::FailureBorne, EventBody::StepFailed { fatal, .. }) => *fatal = false,
        (Defect::FailureFatal, EventBody::StepFailed { fatal, .. }) => *fatal = true,
        (Defect::WaitTooShort, EventBody::StepWaiting { due_at: Some(due_at), .. }) => {
            *due_at = orchestr8_schema::Timestamp::from_micros(due_at.as_micros() - 30_000_000);
        }
        (Defect::WaitWithoutEnd, EventBody::StepWaiting { due_at, .. }) => *due_at = None,
        (Defect::CompensationOldestFirst, EventBody::CompensationStarted { order }) => {
            *order = order.iter().rev().copied().collect();
        }
        (Defect::CompensationSkipsOne, EventBody::CompensationStarted { order }) => {
            *order = order.split_last()?.1.into();
        }
        (Defect::CompensationTwice, EventBody::CompensationStarted { order }) => {
            *order = order.first().copied().into_iter().chain(order.iter().copied()).collect();
        }
        (Defect::CompensationForgotten, EventBody::CompensationStarted { order }) => *order = Arc::from([]),
        (Defect::CompensationTakenForComplete, EventBody::CompensationFinished { result }) => {
            *result = Compensation::Complete;
        }
        (Defect::ReadyStepSkipped, EventBody::StepScheduled { activation, .. }) => {
            let (activation, reason) = (*activation, SkipReason::FallbackNotNeeded);
            wrong = EventBody::StepSkipped { activation, reason, dependency: None };
        }
        (Defect::FailureTakenForSuccess, EventBody::StepFailed { activation, .. }) => {
            wrong = EventBody::StepCompleted { activation: *activation, output: Some(Arc::new(Value::Null)) };
        }
        (Defect::OutcomeLost, EventBody::ExecutionCompleted { outputs }) => *outputs = None,
        _ => return None,
    }
    Some(wrong)
}

fn left_out(activation: Activation, hook: HookId) -> EventBody {
    let result = Arc::new(HookResult { verdict: HookVerdict::Allow, reason: None, error: None });
    EventBody::HookFinished { activation, hook, result }
}

/// Has something else asked for.
pub(crate) fn asked(plan: &Plan, state: &State, out: &mut Commands, before: usize) {
    let Some(defect) = active() else { return };
    let asked: Vec<Command> = out.drain(before..).collect();
    for mut command in asked {
        let is_lost = matches!(
            (defect, &command),
            (Defect::WaitTimerLost, Command::SetTimer { timer: Timer::Wait(_), .. })
                | (Defect::StepDeadlineLost, Command::SetTimer { timer: Timer::StepDeadline(_), .. })
                | (Defect::ExecutionDeadlineLost, Command::SetTimer { timer: Timer::ExecutionDeadline, .. })
                | (Defect::GraceLost, Command::SetTimer { timer: Timer::Grace, .. })
                | (Defect::AbortLost, Command::AbortCall { force: false, .. })
                | (Defect::CutOffRunsOn, Command::AbortCall { force: true, .. })
                | (Defect::CallLost, Command::Call(_))
        );
        if is_lost {
            continue;
        }
        if let (Defect::GroupDeadlineLost, Command::SetTimer { timer: Timer::StepDeadline(activation), .. }) =
            (defect, &command)
            && plan.steps()[state.steps()[activation.get()].step.get()].leaf.is_none()
        {
            continue;
        }
        if let (Defect::TimersLate, Command::SetTimer { due_at, .. }) = (defect, &mut command) {
            *due_at = due_at.plus(Duration::from_secs(60));
        }
        if defect == Defect::CallTwice && matches!(command, Command::Call(_)) {
            out.push(command.clone());
        }
        out.push(command);
    }
}

/// Has something else taken up.
pub(crate) fn taken_up(outstanding: &mut Commands) {
    match active() {
        Some(Defect::TimersForgottenAtRecovery) => {
            outstanding.retain(|command| !matches!(command, Command::SetTimer { .. }));
        }
        Some(Defect::CallsForgottenAtRecovery) => outstanding.retain(|command| !matches!(command, Command::Call(_))),
        _ => {}
    }
}

/// Leaves the last event of a batch out.
pub(crate) fn stored(batch: &mut Vec<Event>) {
    if Defect::LastEventNotStored.is_made() && batch.len() > 1 {
        batch.pop();
    }
}

/// Has something else remembered.
pub(crate) fn folded(plan: &Plan, state: &mut State, event: &Event) {
    match (active(), &event.body) {
        (Some(Defect::BudgetReset), EventBody::ExecutionRecovered { .. })
        | (Some(Defect::BudgetResetByReopening), EventBody::ExecutionReopened(_)) => state.forget_spending(),
        (Some(Defect::HookTwice), EventBody::HookStarted { activation, .. }) => state.mark(*activation),
        (_, EventBody::ExecutionQueued(_)) => RECOVERED.store(false, Ordering::Relaxed),
        (_, EventBody::ExecutionRecovered { .. }) => RECOVERED.store(true, Ordering::Relaxed),
        (Some(Defect::FanInTwice), EventBody::StepCompleted { activation, .. }) => {
            let step = state.steps()[activation.get()].step;
            if plan.graph().dependencies(step) > 1 {
                state.run_again(plan, *activation);
            }
        }
        (Some(Defect::SiblingReverted), EventBody::ApprovalAnswered { activation, .. }) => {
            let is_answered = |other: &Activation| {
                let step = &state.steps()[other.get()];
                let is_approval = matches!(plan.valid_step(step.step).kind, ValidKind::Approval(_));
                other != activation && is_approval && step.phase == Phase::Completed
            };
            let others: Vec<_> = (0..state.steps().len() as u32).map(Activation).filter(is_answered).collect();
            others.into_iter().for_each(|other| state.run_again(plan, other));
        }
        _ => {}
    }
}

/// Whether what is folded is an execution that was taken up. Executions that are simulated side by side share it, which makes the mistake a
/// little rarer, and no rarer than it may be.
static RECOVERED: AtomicBool = AtomicBool::new(false);

/// What is seen of a step that was recovered.
pub(crate) fn of_recovered() -> Option<&'static Value> {
    static NOTHING: Value = Value::Null;
    Defect::RecoveryUnseen.is_made().then_some(&NOTHING)
}

/// What can be read of a skipped step that gave nothing.
pub(crate) fn of_skipped() -> Option<&'static Value> {
    static STALE: LazyLock<Value> = LazyLock::new(|| json!({ "score": 7 }));
    Defect::SkippedOutputRead.is_made().then(|| &*STALE)
}

/// Has something else asked for by people, or, where it is only taken note of, whom to tell so.
pub(crate) fn requested(request: Request) -> Result<Request, oneshot::Sender<Result<(), Refusal>>> {
    match request {
        Request::Cancel { answer, .. } if Defect::CancelLost.is_made() => Err(answer),
        Request::Pause { answer, .. } if Defect::PauseLost.is_made() => Err(answer),
        Request::Signal { answer, .. } if Defect::SignalsLost.is_made() => Err(answer),
        Request::Signal { mut signal, answer } if Defect::SignalsTwice.is_made() => {
            signal.signal_id = None;
            Ok(Request::Signal { signal, answer })
        }
        Request::Approval { step_path, mut approval, answer } if Defect::RejectionTakenForApproval.is_made() => {
            approval.decision = ApprovalDecision::Approve;
            Ok(Request::Approval { step_path, approval, answer })
        }
        request => Ok(request),
    }
}
