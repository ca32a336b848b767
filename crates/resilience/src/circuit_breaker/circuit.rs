use std::{
    borrow::Borrow,
    fmt,
    sync::{Arc, Weak},
};

use tokio::time::Instant;

use super::{
    CircuitBreakerPolicy, CircuitChange, CircuitOpen, CircuitState, Outcome,
    cell::Cell,
    state::{Admission, Ticket, Transition},
};
use crate::sync::AtomicU64;

/// A handle of one circuit. Clones are cheap and share its state.
///
/// Usually got from a [`CircuitRegistry`](super::CircuitRegistry) by key, and then kept for as many calls as one likes: when
/// the registry evicts the circuit meanwhile, the handle goes on with the one that the registry has for the key then, or has it
/// make one. Without a registry, [`Circuit::new`] makes a circuit of which there are only this handle and its clones.
#[derive(Clone)]
pub struct Circuit {
    pub(super) cell: Arc<Cell>,
}

impl Circuit {
    /// Makes a closed circuit that belongs to no registry. The key is for errors and observers.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        let uses = Arc::new(AtomicU64::new(0));
        Self { cell: Arc::new(Cell::new(key.into(), Weak::new(), uses)) }
    }

    /// Returns the key of the circuit.
    pub fn key(&self) -> &str {
        &self.cell.key
    }

    /// Returns the present state. An open circuit stays open after its time, until an attempt comes.
    pub fn state(&self) -> CircuitState {
        self.existing().map_or(CircuitState::Closed { failures: 0 }, |circuit| circuit.cell.lock().machine.state())
    }

    /// Returns the error with which the circuit would reject an attempt now, if it is open and not due for a probe.
    ///
    /// Changes nothing and promises nothing. It is for those who would otherwise wait for something else before they ask, only
    /// to be rejected. For a closed circuit it costs one atomic read.
    ///
    /// ```
    /// use orchestr8_resilience::Circuit;
    ///
    /// assert!(Circuit::new("payments").rejection().is_none());
    /// ```
    pub fn rejection(&self) -> Option<CircuitOpen> {
        if self.cell.word().is_closed() {
            return None;
        }
        match self.state() {
            CircuitState::Open { until } => {
                let now = Instant::now();
                (now < until).then(|| self.rejected(Some(until), now))
            }
            CircuitState::Closed { .. } | CircuitState::HalfOpen { .. } => None,
        }
    }

    /// Closes the circuit and forgets its failures. The outcomes of attempts in progress are ignored.
    ///
    /// Returns the change, if the circuit was not closed before; no observer hears of it.
    pub fn reset(&self) -> Option<CircuitChange> {
        let circuit = self.existing()?;
        let transition = circuit.cell.lock().machine.reset()?;
        Some(circuit.change(transition))
    }

    /// Takes over what was known before a restart, if nothing is known by now.
    pub(crate) fn restore(&self, state: CircuitState) {
        self.cell.lock().machine.restore(state);
    }

    /// Admits an attempt if the circuit is closed, as it is nearly always; else the answer takes a lock and a clock.
    ///
    /// For callers that know of an attempt before any layer is built: they hand the admission to
    /// [`CircuitBreakerLayer::admitted`](super::CircuitBreakerLayer::admitted), or report to [`succeeded`](Self::succeeded) and
    /// never build one. An admission that is dropped changes nothing.
    ///
    /// ```
    /// use orchestr8_resilience::Circuit;
    ///
    /// let circuit = Circuit::new("payments");
    /// if let Some(admitted) = circuit.admit_if_closed() {
    ///     // … the payment goes through at once …
    ///     circuit.succeeded(admitted);
    /// }
    /// ```
    #[inline]
    pub fn admit_if_closed(&self) -> Option<Admitted> {
        let word = self.cell.word();
        word.is_closed().then(|| {
            self.cell.touch();
            Admitted { generation: word.generation() }
        })
    }

    /// Takes the report that an admitted attempt succeeded: in a closed circuit, failures in a row end.
    #[inline]
    pub fn succeeded(&self, admitted: Admitted) {
        let word = self.cell.word();
        if word.generation() == admitted.generation && !word.is_quiet() {
            // A success in a closed circuit opens none, and the policy is asked about failures only.
            self.record(admitted.ticket(), Outcome::Success, &CircuitBreakerPolicy::default());
        }
    }

    /// Asks to attempt something now. Returns the ticket with the change that granting it made.
    #[cold]
    pub(super) fn admit(&mut self) -> Result<(Ticket, Option<CircuitChange>), CircuitOpen> {
        let now = Instant::now();
        let admission = loop {
            let mut inhabitant = self.cell.lock();
            if !inhabitant.is_evicted {
                break inhabitant.machine.admit(now);
            }
            drop(inhabitant);
            self.refresh();
        };
        self.cell.touch_last();
        match admission {
            Admission::Admitted(ticket, transition) => {
                Ok((ticket, transition.map(|transition| self.change(transition))))
            }
            Admission::Rejected { until } => Err(self.rejected(until, now)),
        }
    }

    /// Turns to the circuit that the registry has for the key now, if this one was evicted.
    #[inline]
    pub(super) fn refresh(&mut self) {
        if self.cell.word().is_evicted() {
            self.replace_evicted();
        }
    }

    #[cold]
    fn replace_evicted(&mut self) {
        match self.cell.table.upgrade() {
            Some(table) => *self = table.circuit(&self.cell.key),
            // Nobody can ask the registry for the key any more, so this circuit may as well live on.
            None => self.cell.lock().is_evicted = false,
        }
    }

    #[cold]
    fn record(&self, ticket: Ticket, outcome: Outcome, policy: &CircuitBreakerPolicy) -> Option<CircuitChange> {
        let now = Instant::now();
        self.cell.touch_last();
        let transition = self.cell.lock().machine.record(ticket, outcome, policy, now)?;
        Some(self.change(transition))
    }

    #[cold]
    fn abandon(&self, ticket: Ticket) {
        self.cell.lock().machine.abandon(ticket);
    }

    /// The circuit that stands for the key now, if there is one; an evicted circuit is not brought back by looking at it.
    fn existing(&self) -> Option<Self> {
        if self.cell.word().is_evicted() { self.cell.table.upgrade()?.get(&self.cell.key) } else { Some(self.clone()) }
    }

    fn rejected(&self, until: Option<Instant>, now: Instant) -> CircuitOpen {
        CircuitOpen {
            key: Arc::clone(&self.cell.key),
            reopens_at: until,
            retry_after: until.map(|until| until.saturating_duration_since(now)),
        }
    }

    fn change(&self, transition: Transition) -> CircuitChange {
        CircuitChange {
            key: Arc::clone(&self.cell.key),
            old: transition.old,
            new: transition.new,
            reason: transition.reason,
            generation: transition.generation,
        }
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuit").field("key", &self.key()).field("state", &self.state()).finish()
    }
}

/// The right to attempt something once, got from a closed circuit by [`Circuit::admit_if_closed`].
#[derive(Clone, Copy, Debug)]
pub struct Admitted {
    generation: u64,
}

impl Admitted {
    #[inline]
    pub(super) fn ticket(self) -> Ticket {
        Ticket::new(self.generation, false)
    }
}

/// The right to attempt something once. Dropped without a report, it counts as abandoned.
#[derive(Debug)]
pub(super) struct Permit<C: Borrow<Circuit>> {
    circuit: Holder<C>,
    ticket: Ticket,
}

/// A circuit as its caller gave it, or the one that took its place when the registry evicted it.
#[derive(Debug)]
pub(super) enum Holder<C> {
    Given(C),
    Successor(Circuit),
}

impl<C: Borrow<Circuit>> Holder<C> {
    #[inline]
    fn circuit(&self) -> &Circuit {
        match self {
            Holder::Given(circuit) => circuit.borrow(),
            Holder::Successor(circuit) => circuit,
        }
    }
}

impl<C: Borrow<Circuit>> Permit<C> {
    #[inline]
    pub(super) fn new(circuit: Holder<C>, ticket: Ticket) -> Self {
        Self { circuit, ticket }
    }

    /// Reports how the attempt went, once, and returns the change that this made.
    #[inline]
    pub(super) fn record(&mut self, outcome: Outcome, policy: &CircuitBreakerPolicy) -> Option<CircuitChange> {
        let ticket = self.ticket.take();
        let circuit = self.circuit.circuit();
        let word = circuit.cell.word();
        let is_stale = word.generation() != ticket.generation();
        let changes_nothing = match outcome {
            Outcome::Success => word.is_quiet(),
            Outcome::Failure => false,
            Outcome::Neutral | Outcome::Abandoned => !ticket.is_probe(),
        };
        if is_stale || changes_nothing { None } else { circuit.record(ticket, outcome, policy) }
    }
}

impl<C: Borrow<Circuit>> Drop for Permit<C> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(planted)]
        if crate::planted::PROBES_LEAK.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        if self.ticket.is_probe() {
            self.circuit.circuit().abandon(self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::{runtime, time};

    use super::*;
    use crate::circuit_breaker::Probe;

    const RESET: Duration = Duration::from_secs(5);

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Ask,
        End { which: usize, outcome: Outcome },
        Drop { which: usize },
        Reset,
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome = prop_oneof![
            4 => Just(Outcome::Failure),
            2 => Just(Outcome::Success),
            1 => Just(Outcome::Neutral),
            1 => Just(Outcome::Abandoned),
        ];
        prop_oneof![
            3 => (0..4_u64).prop_map(Step::Wait),
            6 => Just(Step::Ask),
            6 => (0..8_usize, outcome).prop_map(|(which, outcome)| Step::End { which, outcome }),
            1 => (0..8_usize).prop_map(|which| Step::Drop { which }),
            1 => Just(Step::Reset),
        ]
    }

    /// The table of the specification, read aloud: attempts know the epoch in which they were admitted.
    struct Model {
        state: CircuitState,
        epoch: u32,
    }

    impl Model {
        fn enter(&mut self, state: CircuitState) {
            self.state = state;
            self.epoch += 1;
        }

        fn ask(&mut self, now: Instant) -> bool {
            let taken = CircuitState::HalfOpen { probe: Probe::Taken };
            match self.state {
                CircuitState::Closed { .. } => true,
                CircuitState::Open { until } if now >= until => {
                    self.enter(taken);
                    true
                }
                CircuitState::HalfOpen { probe: Probe::Free } => {
                    self.state = taken;
                    true
                }
                CircuitState::Open { .. } | CircuitState::HalfOpen { .. } => false,
            }
        }

        fn end(&mut self, epoch: u32, outcome: Outcome, threshold: u32, now: Instant) {
            if epoch != self.epoch {
                return;
            }
            let open = CircuitState::Open { until: now + RESET };
            let closed = CircuitState::Closed { failures: 0 };
            match (self.state, outcome) {
                (CircuitState::Closed { .. }, Outcome::Success) => self.state = closed,
                (CircuitState::Closed { failures }, Outcome::Failure) => {
                    if failures + 1 == threshold {
                        self.enter(open);
                    } else {
                        self.state = CircuitState::Closed { failures: failures + 1 };
                    }
                }
                (CircuitState::HalfOpen { .. }, Outcome::Failure) => self.enter(open),
                (CircuitState::HalfOpen { .. }, Outcome::Success | Outcome::Neutral) => {
                    self.enter(closed);
                }
                (CircuitState::HalfOpen { .. }, Outcome::Abandoned) => {
                    self.state = CircuitState::HalfOpen { probe: Probe::Free };
                }
                (CircuitState::Closed { .. } | CircuitState::Open { .. }, _) => {}
            }
        }
    }

    proptest! {
        #[test]
        fn a_circuit_does_what_the_table_says(
            threshold in 1..4_u32,
            steps in prop::collection::vec(step(), 0..120),
        ) {
            let runtime = runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                let policy = CircuitBreakerPolicy::try_new(threshold, RESET).unwrap();
                let circuit = Circuit::new("key");
                let mut model = Model {
                    state: CircuitState::Closed { failures: 0 },
                    epoch: 0,
                };
                let mut in_progress = Vec::new();
                for step in steps {
                    let now = Instant::now();
                    match step {
                        Step::Wait(seconds) => time::advance(Duration::from_secs(seconds)).await,
                        Step::Ask => {
                            let promised = circuit.rejection().is_none();
                            let answer = match circuit.admit_if_closed() {
                                Some(admitted) => Ok(admitted.ticket()),
                                None => circuit.clone().admit().map(|(ticket, _)| ticket),
                            };
                            prop_assert!(promised || answer.is_err());
                            prop_assert_eq!(answer.is_ok(), model.ask(now));
                            if let Ok(ticket) = answer {
                                in_progress.push((Permit::new(Holder::Given(&circuit), ticket), model.epoch));
                            }
                        }
                        Step::End { which, outcome } if which < in_progress.len() => {
                            let (mut permit, epoch) = in_progress.swap_remove(which);
                            permit.record(outcome, &policy);
                            model.end(epoch, outcome, threshold, now);
                        }
                        Step::Drop { which } if which < in_progress.len() => {
                            let (_, epoch) = in_progress.swap_remove(which);
                            model.end(epoch, Outcome::Abandoned, threshold, now);
                        }
                        Step::End { .. } | Step::Drop { .. } => {}
                        Step::Reset => {
                            circuit.reset();
                            let closed = CircuitState::Closed { failures: 0 };
                            if model.state != closed {
                                model.enter(closed);
                            }
                        }
                    }
                    prop_assert_eq!(circuit.state(), model.state);
                }
                Ok(())
            })?;
        }
    }
}
