//! The timers of one execution: one sleep for all of them, armed late.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    task::Context,
};

use orchestr8_schema::{
    Timestamp,
    event::{EventBody, TimeoutScope, Timer},
};
use tokio::time::Sleep;

use super::Driver;
use crate::machine::{accept::accept, fold::time_limit};

/// The timers that are set, and the sleep until the first of them.
#[derive(Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Timestamp, Timer)>,
    due: BTreeMap<Timer, Timestamp>,
    sleep: Option<Pin<Box<Sleep>>>,
    sleeps_until: Option<Timestamp>,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, due_at: Timestamp) {
        self.clear(timer);
        self.due.insert(timer, due_at);
        self.by_time.insert((due_at, timer));
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(due_at) = self.due.remove(&timer) {
            self.by_time.remove(&(due_at, timer));
        }
    }
}

impl Driver {
    /// Tells the machine of the timers that are due, and sleeps until the next.
    pub(super) fn take_timers(&mut self, cx: &mut Context<'_>) {
        while let Some(&(due_at, timer)) = self.timers.by_time.first() {
            if self.timeline.now() < due_at {
                if self.is_asleep_until(due_at, cx) {
                    return;
                }
                continue;
            }
            self.timers.clear(timer);
            let fired = EventBody::TimerFired { timer };
            // What the timer was for may have ended within this batch.
            if accept(&self.program.plan, &self.state, &fired).is_ok() {
                if let Some(remark) = self.remark_on(timer) {
                    self.tell(remark);
                }
                self.tell(fired);
            }
        }
    }

    fn is_asleep_until(&mut self, due_at: Timestamp, cx: &mut Context<'_>) -> bool {
        let instant = self.timeline.instant(due_at);
        let timers = &mut self.timers;
        let sleep = timers.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(instant)));
        if timers.sleeps_until.replace(due_at) != Some(due_at) {
            sleep.as_mut().reset(instant);
        }
        let asleep = sleep.as_mut().poll(cx).is_pending();
        if !asleep {
            timers.sleeps_until = None;
        }
        asleep
    }

    fn remark_on(&self, timer: Timer) -> Option<EventBody> {
        let (scope, timeout) = match timer {
            Timer::ExecutionDeadline => (TimeoutScope::Execution, time_limit(&self.program.plan, &self.state)?),
            Timer::StepDeadline(activation) => {
                let step = self.state.activation(activation)?.step;
                (TimeoutScope::Step(activation), self.program.plan.steps()[step.get()].deadline?)
            }
            Timer::Wait(_) | Timer::Grace | Timer::Compensation => return None,
        };
        Some(EventBody::TimeoutExceeded { scope, timeout })
    }
}
