//! What the machine asks of its driver.

use std::sync::Arc;

use orchestr8_schema::{
    Timestamp,
    event::{Activation, CallId, Event, Timer},
};

use super::{Refusal, Status};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Hand this derived event to the machine at once, and store it with its cause.
    Record(Event),
    /// Call an agent.
    Call(Call),
    /// Tell whoever sent the event that it does not fit.
    Refuse(Refusal),
    /// End a call.
    AbortCall {
        /// Which call.
        call: CallId,
        /// Why.
        reason: Arc<str>,
        /// True drops the call at once, and no answer counts; false fires its token, and the next answer is final.
        force: bool,
    },
    /// Report [`TimerFired`](orchestr8_schema::event::EventBody::TimerFired) at this time.
    SetTimer {
        /// Which timer.
        timer: Timer,
        /// When it is due; a past time is due at once.
        due_at: Timestamp,
    },
    /// Forget a timer.
    ClearTimer {
        /// Which timer.
        timer: Timer,
    },
    /// Ask a person: the prompt is the step's input.
    RequestApproval {
        /// Which step asks.
        activation: Activation,
        /// Until when it can be answered.
        expires_at: Option<Timestamp>,
    },
    /// Ask no longer.
    WithdrawApproval {
        /// Which step asked.
        activation: Activation,
    },
    /// The execution has ended; nothing follows.
    Finish(Status),
}

/// A call of an agent, all attempts of it.
///
/// The driver announces each attempt by `attempt.started` before the agent is called, and reports each by `attempt.finished`.
/// Input, agent and policies stand in the state and the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it is for.
    pub id: CallId,
    /// The number of the attempt to begin with.
    pub attempt: u32,
    /// How often that attempt was begun before, by processes that are gone.
    pub restart: u32,
    /// Tries already spent, of those that the retry policy allows.
    pub tries_used: u32,
    /// The attempt must not begin before.
    pub not_before: Option<Timestamp>,
    /// No wait may reach this time.
    pub deadline_at: Option<Timestamp>,
}

/// Where commands go: a driver's buffer, or nowhere when a journal is replayed.
pub trait Sink {
    /// Takes a command.
    fn push(&mut self, command: Command);
}

/// A driver's buffer of commands, in the order in which they are to be carried out.
pub type Commands = Vec<Command>;

impl Sink for Commands {
    fn push(&mut self, command: Command) {
        Vec::push(self, command);
    }
}

/// Takes commands nowhere, so that replay costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Discard;

impl Sink for Discard {
    fn push(&mut self, _: Command) {}
}
