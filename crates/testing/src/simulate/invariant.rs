//! What must hold in every execution, whatever happens.

use std::fmt;

/// A promise of the engine, or of the workflow, that a simulation checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Invariant {
    /// Folding the journal gives the live state.
    FoldIsState,
    /// Every derived event of the journal is what the machine decides, and stands in the batch of its cause.
    DecisionsRepeat,
    /// Nothing is done that the journal does not know.
    AppendThenAct,
    /// The open effects are those that the machine calls outstanding.
    OutstandingIsOpen,
    /// Interruptions change no result, nor does a fork with the same input.
    SameAfterCrash,
    /// No activation ends twice, or does anything after its end.
    EndsOnce,
    /// What was committed is never called again.
    CommittedOnce,
    /// No step begins before what it depends on.
    DependenciesFirst,
    /// Results do not depend on the order in which independent steps end.
    OrderDoesNotMatter,
    /// At the end every step has ended, and the terminal event is the last.
    AllEnd,
    /// Attempts in progress stay within the limits.
    SlotLimits,
    /// No step has more attempts than it may.
    AttemptLimit,
    /// All attempts carry the same idempotency key, and no two activations share one.
    KeysHold,
    /// What was skipped reached no agent.
    SkippedMeansNothing,
    /// A fallback runs only if what it serves has failed.
    FallbackAfterFailure,
    /// An execution completes only if every failure was meant to be borne.
    CompletedMeansUnharmed,
    /// Once an execution is ending, nothing of its steps starts.
    EndingStartsNothing,
    /// A cancelled execution ends in time.
    CancelledInTime,
    /// While it is paused, nothing starts.
    PauseHolds,
    /// A signal is delivered once, in the order of receipt.
    SignalsOnce,
    /// Each step that qualifies is undone, at most once, the newest end first, and only once the execution is ending.
    CompensationOnce,
    /// An answer to an approval ends that approval, and no other.
    ApprovalsOnce,
    /// A map's output has the order of its input, and a join counts what has completed.
    JoinsCount,
    /// What a step gives is what its agent, its people, or the steps inside gave.
    ResultIsAnswer,
    /// Conditions, inputs and ways are those that expressions give, and what is skipped or fails has a reason for it.
    RouteIsKnown,
    /// Attempts, waits and deadlines last as long as they may, and delays as long as they must.
    TimeLimits,
    /// Open items and iterations stay within their limits.
    ScopeLimits,
    /// Time goes on along a journal.
    TimeGoesOn,
    /// No attempt before the time that the failed one was told.
    RetryAfter,
    /// An open circuit is not called, and a half-open one has one probe.
    CircuitHolds,
    /// A budget is neither exceeded nor begun anew, and nothing stays reserved for nobody.
    BudgetHolds,
    /// Once nothing goes wrong any more, the execution ends, or waits for something that has a name.
    Progress,
    /// A reopened execution keeps what has completed, and has exactly the rest before it.
    ReopeningHolds,
    /// A fork takes a result over if nothing that it depends on has changed, and only then.
    ReuseHolds,
    /// A hook is called once for each of its turns, and none is left out.
    HooksOnce,
    /// Whoever stops in good order gives back what it drives, and nothing is stored by whom it was taken from.
    LeaseReleased,
    /// An agent whose effect can neither be undone nor repeated acts once.
    EffectOnce,
    /// What the workflow's author says always holds: the number of the expression, from 0.
    Always(u32),
}

impl Invariant {
    /// Returns the invariant's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FoldIsState => "fold-is-state",
            Self::DecisionsRepeat => "decisions-repeat",
            Self::AppendThenAct => "append-then-act",
            Self::OutstandingIsOpen => "outstanding-is-open",
            Self::SameAfterCrash => "same-after-crash",
            Self::EndsOnce => "ends-once",
            Self::CommittedOnce => "committed-once",
            Self::DependenciesFirst => "dependencies-first",
            Self::OrderDoesNotMatter => "order-does-not-matter",
            Self::AllEnd => "all-end",
            Self::SlotLimits => "slot-limits",
            Self::AttemptLimit => "attempt-limit",
            Self::KeysHold => "keys-hold",
            Self::SkippedMeansNothing => "skipped-means-nothing",
            Self::FallbackAfterFailure => "fallback-after-failure",
            Self::CompletedMeansUnharmed => "completed-means-unharmed",
            Self::EndingStartsNothing => "ending-starts-nothing",
            Self::CancelledInTime => "cancelled-in-time",
            Self::PauseHolds => "pause-holds",
            Self::SignalsOnce => "signals-once",
            Self::CompensationOnce => "compensation-once",
            Self::ApprovalsOnce => "approvals-once",
            Self::JoinsCount => "joins-count",
            Self::ResultIsAnswer => "result-is-answer",
            Self::RouteIsKnown => "route-is-known",
            Self::TimeLimits => "time-limits",
            Self::ScopeLimits => "scope-limits",
            Self::TimeGoesOn => "time-goes-on",
            Self::RetryAfter => "retry-after",
            Self::CircuitHolds => "circuit-holds",
            Self::BudgetHolds => "budget-holds",
            Self::Progress => "progress",
            Self::ReopeningHolds => "reopening-holds",
            Self::ReuseHolds => "reuse-holds",
            Self::HooksOnce => "hooks-once",
            Self::LeaseReleased => "lease-released",
            Self::EffectOnce => "effect-once",
            Self::Always(_) => "always",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always(number) => write!(f, "always[{number}]"),
            promise => f.write_str(promise.name()),
        }
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// How, for people.
    pub message: String,
    /// The number of events that the journal had by then.
    pub sequence: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} violated: {}", self.invariant, self.message)
    }
}
