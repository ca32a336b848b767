//! The machine: a pure, total function of (plan, state, event) to commands. It alone decides what happens next.
//!
//! There is no async in here, no clock, no randomness, no I/O and no logging. Everything that varies (time, what agents answer,
//! what people ask for) enters as an event; everything that is to be done leaves as a [`Command`].
//!
//! [`step`] does three things with an event:
//!
//! 1. **Accept** ([`accept()`](accept::accept)). An event from outside that does not fit the state is refused by a command; nothing changes.
//! 2. **Fold** ([`fold()`]). The state changes as the event says. No expression is evaluated. Replaying a journal is this part
//!    alone, so the state is only ever the fold of the events.
//! 3. **Decide** ([`decide()`](decide::decide)). From the state alone, changing nothing, at most one [`Command::Record`] comes out: the next derived
//!    event, which the driver hands to [`step`] at once, until none comes. One at a time, since each may forbid the next.
//!
//! The driver stores the external event and all that follows from it as one batch, and only then carries the other commands out.
//!
//! # Where to look
//!
//! | question | file |
//! |---|---|
//! | what is known of an execution? | [`mod@state`]; of scopes that opened, `instance`; of open composites, `composite`; of signals, `signals`; of pauses, `pause`; of hooks, `hooks`; of budgets, `budget`; of what agents have recorded, `durable`; of what is undone at the end, `compensation`; of failed executions that go on, [`mod@reopening`]; of what forks take over, `reuse` |
//! | when is an event refused? | [`mod@accept`] |
//! | what does an event change, and what is to be done then? | [`mod@fold`]: steps, composites, the end of an execution |
//! | what is decided next, and in what order? | [`mod@decide`]: steps, composites, waits; fed by [`mod@agenda`] |
//! | what do expressions see? | [`mod@scope`] |
//! | what is still open, for a driver with nothing in hand? | [`mod@outstanding`] |

pub mod accept;
pub mod agenda;
pub(crate) mod budget;
pub mod command;
pub(crate) mod compensation;
mod composite;
pub mod decide;
pub(crate) mod durable;
pub mod fold;
pub(crate) mod hooks;
pub(crate) mod instance;
pub mod outstanding;
mod pause;
pub mod reopening;
pub(crate) mod reuse;
pub mod scope;
mod signals;
pub mod state;

use orchestr8_schema::event::{Event, EventSort};

pub(crate) use self::reuse::retained;
pub use self::{
    accept::{Refusal, RefusalKind, approval_at},
    command::{Call, Command, Commands},
    fold::fold,
    outstanding::outstanding,
    reopening::rerun,
    state::{Phase, Rescue, State, Status, StepState},
};
use crate::plan::Plan;

/// Takes an event to the state and says what is to be done.
///
/// The commands are appended to `out` in the order in which they are to be carried out; a [`Command::Record`] comes last. An
/// event that does not fit leaves the state as it is and gives one [`Command::Refuse`] and nothing else.
///
/// Never panics, whatever the event.
pub fn step(plan: &Plan, state: &mut State, event: &Event, out: &mut Commands) {
    if let Err(refusal) = accept::accept(plan, state, &event.body) {
        // A derived event that does not fit comes from a foreign journal; it changes nothing, and nobody waits for an answer.
        if event.body.sort() != EventSort::Derived {
            out.push(Command::Refuse(refusal));
        }
        return;
    }
    proceed(plan, state, event, out);
}

/// Goes on with an event that fits: the first half of [`step`] is done. For a [`Command::Record`] that goes back to the state which it was
/// decided from, and so fits.
pub(crate) fn proceed(plan: &Plan, state: &mut State, event: &Event, out: &mut Commands) {
    debug_assert_eq!(accept::accept(plan, state, &event.body), Ok(()), "what is decided fits");
    #[cfg(planted)]
    let before = out.len();
    fold::apply(plan, state, event, out);
    #[cfg(planted)]
    {
        crate::planted::asked(plan, state, out, before);
        crate::planted::folded(plan, state, event);
    }
    let decided = decide::decide(plan, state);
    #[cfg(planted)]
    let decided = crate::planted::decided(plan, state, decided);
    if let Some(body) = decided {
        out.push(Command::Record(Event { at: event.at, body }));
    }
}
