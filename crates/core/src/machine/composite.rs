//! What a composite step holds while it is open.

use std::sync::Arc;

use orchestr8_schema::{
    Failure,
    event::{Activation, ItemResult, MapItems},
};
use serde_json::Value;

use super::{State, instance::Place};
use crate::plan::Plan;

/// What a composite holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Composite {
    /// The scope instances inside that have live activations.
    pub(super) open: Vec<Place>,
    /// How it is to end once nothing inside is open; absent while it goes on. A composite that ends well without a fixed output has
    /// its default one.
    pub(super) end: Option<Result<Option<Arc<Value>>, Arc<Failure>>>,
    pub(super) progress: Progress,
    /// Whether the last hooks of the workflow that it runs have been called.
    pub(super) hooked: bool,
}

/// How far a composite has come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Progress {
    /// A parallel group or a sub-workflow: one scope, once.
    Group {
        place: Option<Place>,
        /// Joined steps that have completed.
        completed: u32,
        /// Joined steps that have ended otherwise.
        lost: u32,
        joined: bool,
    },
    Branch {
        case: Option<u32>,
        place: Option<Place>,
    },
    Map(MapProgress),
    Loop(LoopProgress),
}

/// How far a map has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct MapProgress {
    pub(super) items: Option<Arc<MapItems>>,
    /// The item that opens next.
    pub(super) next: u32,
    /// With an accumulator, the item whose turn it is.
    pub(super) turn: u32,
    pub(super) finished: u32,
    pub(super) results: Vec<Option<Arc<ItemResult>>>,
    /// With an accumulator, the scope instances that have ended before their turn.
    pub(super) early: Vec<Option<Place>>,
    pub(super) accumulator: Option<Arc<Value>>,
}

/// How far a loop has come.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LoopProgress {
    /// The iteration that begins next.
    pub(super) next: u32,
    pub(super) value: Arc<Value>,
    /// The scope instance of the latest iteration.
    pub(super) place: Option<Place>,
    /// Whether it ended because there were no iterations left.
    pub(super) limit: bool,
}

impl Composite {
    pub(super) fn new(progress: Progress) -> Self {
        Self { open: Vec::new(), end: None, progress, hooked: false }
    }
}

impl State {
    /// How far a composite has come.
    pub(super) fn progress(&self, activation: Activation) -> Option<&Progress> {
        self.steps[activation.get()].composite.as_deref().map(|composite| &composite.progress)
    }
}

impl State {
    /// Tells why a step is cancelled, for people: somebody asked for the end of the execution, it fails, or something around the step
    /// ends early.
    pub(crate) fn reason_of_cancelling(&self, plan: &Plan, activation: Activation) -> String {
        if let Some(request) = self.cancelling() {
            return request.reason.clone();
        }
        let ends_early = |place: Place| {
            let scope = &self.scopes[place as usize];
            let around = scope.opened_by?;
            let path = || self.path_of(plan, around);
            match self.steps[around.get()].composite.as_ref()?.end.as_ref() {
                Some(Err(error)) => Some(format!("`{}` fails: {}", path(), error.message)),
                Some(Ok(_)) => Some(format!("enough steps of `{}` have completed", path())),
                None => scope
                    .failed
                    .as_ref()
                    .filter(|_| scope.aborting)
                    .map(|error| format!("item {} of `{}` fails: {}", scope.number, path(), error.message)),
            }
        };
        let around = self.steps.get(activation.get()).filter(|_| !self.status.is_ending());
        let early = around.and_then(|step| self.around(step.scope).find_map(ends_early));
        early.unwrap_or_else(|| "the workflow failed".to_owned())
    }
}

impl MapProgress {
    pub(super) fn count(&self) -> u32 {
        self.items.as_ref().map_or(0, |items| items.items.len() as u32)
    }

    /// Whether an item has no result yet.
    pub(super) fn is_open(&self, number: u32) -> bool {
        self.results.get(number as usize) == Some(&None)
    }

    pub(super) fn item(&self, number: u32) -> Option<&Value> {
        self.items.as_ref()?.items.get(number as usize)
    }

    pub(super) fn key(&self, number: u32) -> Option<&str> {
        self.items.as_ref()?.keys.as_ref()?.get(number as usize).map(AsRef::as_ref)
    }
}
