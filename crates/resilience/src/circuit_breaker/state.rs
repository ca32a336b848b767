use std::time::Duration;

use tokio::time::Instant;

use super::{CircuitBreakerPolicy, Outcome};
use crate::timer::later;

/// What a circuit does with the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Attempts pass.
    Closed {
        /// How many attempts failed in a row.
        failures: u32,
    },
    /// Attempts are rejected, until it is time for a probe.
    Open {
        /// The next attempt at or after this instant is the probe.
        until: Instant,
    },
    /// A single attempt, the probe, decides how it goes on.
    HalfOpen {
        /// Whether that attempt is in progress.
        probe: Probe,
    },
}

impl CircuitState {
    /// Returns what people call the state: `closed`, `open` or `half-open`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half-open",
        }
    }
}

/// Whether a half-open circuit has its probe out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The next attempt is the probe.
    Free,
    /// An attempt is the probe; others are rejected.
    Taken,
}

/// Why a circuit changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// As many attempts failed in a row as the policy allows: closed to open.
    ThresholdReached,
    /// An attempt came after the reset time had passed: open to half-open.
    ResetTimePassed,
    /// The probe succeeded, or failed in a way that does not count: half-open to closed.
    ProbePassed,
    /// The probe failed: half-open to open.
    ProbeFailed,
    /// Somebody reset the circuit: to closed.
    Reset,
}

impl Reason {
    /// Returns the reason as one word for logs and journals: `"threshold-reached"`, `"reset-time-passed"`, `"probe-passed"`,
    /// `"probe-failed"` or `"reset"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::ThresholdReached => "threshold-reached",
            Reason::ResetTimePassed => "reset-time-passed",
            Reason::ProbePassed => "probe-passed",
            Reason::ProbeFailed => "probe-failed",
            Reason::Reset => "reset",
        }
    }
}

/// The state of one circuit and its rules. It knows neither clocks nor locks: time comes in with each question.
#[derive(Debug)]
pub(super) struct Machine {
    state: CircuitState,
    generation: u64,
}

/// What an admitted attempt shows when it reports its outcome: the generation that admitted it, and whether it is the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl Ticket {
    const PROBE: u64 = 1;

    #[inline]
    pub(super) fn new(generation: u64, is_probe: bool) -> Self {
        Self(generation << 1 | u64::from(is_probe))
    }

    #[inline]
    pub(super) fn generation(self) -> u64 {
        self.0 >> 1
    }

    #[inline]
    pub(super) fn is_probe(self) -> bool {
        self.0 & Self::PROBE != 0
    }

    /// Leaves a ticket behind that stands for nothing.
    #[inline]
    pub(super) fn take(&mut self) -> Self {
        let ticket = *self;
        self.0 &= !Self::PROBE;
        ticket
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted(Ticket, Option<Transition>),
    Rejected { until: Option<Instant> },
}

/// A change from one of closed, open and half-open to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) old: CircuitState,
    pub(super) new: CircuitState,
    pub(super) reason: Reason,
    pub(super) generation: u64,
}

impl Machine {
    pub(super) const fn new() -> Self {
        Self { state: CircuitState::Closed { failures: 0 }, generation: 0 }
    }

    pub(super) fn state(&self) -> CircuitState {
        self.state
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        let transition = match self.state {
            CircuitState::Closed { .. } => return Admission::Admitted(self.ticket(false), None),
            CircuitState::Open { until } if now < until => {
                return Admission::Rejected { until: Some(until) };
            }
            CircuitState::HalfOpen { probe: Probe::Taken } => return Admission::Rejected { until: None },
            CircuitState::Open { .. } => {
                let half_open = CircuitState::HalfOpen { probe: Probe::Taken };
                Some(self.change(half_open, Reason::ResetTimePassed))
            }
            CircuitState::HalfOpen { probe: Probe::Free } => {
                self.state = CircuitState::HalfOpen { probe: Probe::Taken };
                None
            }
        };
        Admission::Admitted(self.ticket(true), transition)
    }

    pub(super) fn record(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        policy: &CircuitBreakerPolicy,
        now: Instant,
    ) -> Option<Transition> {
        if ticket.generation() != self.generation {
            return None;
        }
        match (self.state, outcome) {
            (CircuitState::Closed { .. }, Outcome::Success) => {
                self.state = CircuitState::Closed { failures: 0 };
                None
            }
            (CircuitState::Closed { failures }, Outcome::Failure) => {
                let failures = failures.saturating_add(1);
                if failures < policy.failure_threshold() {
                    self.state = CircuitState::Closed { failures };
                    return None;
                }
                let open = open_until(now, policy.reset_timeout());
                Some(self.change(open, Reason::ThresholdReached))
            }
            (CircuitState::Closed { .. }, Outcome::Neutral | Outcome::Abandoned) => None,

            (CircuitState::HalfOpen { .. }, Outcome::Success | Outcome::Neutral) => {
                let closed = CircuitState::Closed { failures: 0 };
                Some(self.change(closed, Reason::ProbePassed))
            }
            (CircuitState::HalfOpen { .. }, Outcome::Failure) => {
                let open = open_until(now, policy.reset_timeout());
                Some(self.change(open, Reason::ProbeFailed))
            }
            (CircuitState::HalfOpen { .. }, Outcome::Abandoned) => {
                self.abandon(ticket);
                None
            }

            // Opening starts a generation, and none of its attempts is admitted before the next one.
            (CircuitState::Open { .. }, _) => None,
        }
    }

    /// Takes the probe's permit back, if this is the ticket of the present one.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        if ticket.is_probe() && ticket.generation() == self.generation {
            self.state = CircuitState::HalfOpen { probe: Probe::Free };
        }
    }

    /// Closes the circuit and forgets its failures; what is in progress is not counted any more.
    pub(super) fn reset(&mut self) -> Option<Transition> {
        let closed = CircuitState::Closed { failures: 0 };
        if self.state == closed {
            return None;
        }
        let was_closed = matches!(self.state, CircuitState::Closed { .. });
        let transition = self.change(closed, Reason::Reset);
        (!was_closed).then_some(transition)
    }

    /// Takes over what was known before a restart, if nothing is known by now.
    pub(super) fn restore(&mut self, state: CircuitState) {
        if self.state == (CircuitState::Closed { failures: 0 }) {
            self.state = state;
            self.generation += 1;
        }
    }

    /// Starts anew in a generation of which nobody has a ticket.
    pub(super) fn forget(&mut self) {
        self.state = CircuitState::Closed { failures: 0 };
        self.generation += 1;
    }

    fn ticket(&self, is_probe: bool) -> Ticket {
        Ticket::new(self.generation, is_probe)
    }

    fn change(&mut self, new: CircuitState, reason: Reason) -> Transition {
        let old = self.state;
        self.state = new;
        self.generation += 1;
        Transition { old, new, reason, generation: self.generation }
    }
}

fn open_until(now: Instant, reset_timeout: Duration) -> CircuitState {
    CircuitState::Open { until: later(now, reset_timeout) }
}
