//! An execution whose driver is gone is taken up by another.

use std::sync::Arc;

use orchestr8_schema::{
    ErrorKind, Failure,
    event::{Activation, Timer},
};

use super::Fold;
use crate::machine::{State, command::Sink};

impl<S: Sink> Fold<'_, S> {
    /// Attempts that were interrupted stay open, and are begun again by whoever carries out what is outstanding. Those of an
    /// execution that is ending are not, and neither are those that were begun again too often.
    pub(super) fn execution_recovered(&mut self) {
        if self.state.ending.as_ref().is_some_and(|ending| !ending.forced) {
            self.clear(Timer::Grace);
            self.end_grace();
        }
        if self.state.status.is_ending() {
            return self.compensation_recovered();
        }
        for index in 0..self.state.steps.len() {
            let step = &mut self.state.steps[index];
            if step.phase.is_in_flight() && step.restarts >= State::MAX_RESTARTS {
                step.error = Some(Arc::new(interrupted_too_often()));
                self.state.in_flight -= 1;
                self.forfeit(Activation(index as u32));
                self.answered(Activation(index as u32));
            }
        }
    }
}

/// The failure of a call that may be what ends its processes.
pub(in crate::machine) fn interrupted_too_often() -> Failure {
    let begun = State::MAX_RESTARTS + 1;
    Failure::new(ErrorKind::Internal, format!("the process that ran the attempt ended {begun} times without a result"))
}
