//! The real stack beside an executable model of the specification, under random outcomes, delays, cancellations and concurrent
//! callers.
//!
//! The model is a simulation of sections 1 to 5: a list of what happens when, and one circuit. Nothing of two callers falls on
//! the same millisecond, so the order of everything follows from the times. 256 cases of some two hundred calls are
//! more than a hundred thousand steps, a step being a try that begins or an attempt that ends.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod support;

use std::{cell::RefCell, cmp::Reverse, collections::BinaryHeap, rc::Rc, time::Duration};

use orchestr8_resilience::{
    Backoff, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, Class, Classify, Jitter, RetryLayer, RetryPolicy,
    Stack, TimeoutLayer, circuit_breaker::CircuitState,
};
use proptest::prelude::*;
use support::Failure;
use tokio::{
    runtime::Builder,
    task::LocalSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tower::{Layer, service_fn};

const CALLERS: u64 = 400;
/// All times of a caller are its number beyond a multiple of this, but for its cancellation, which is this much further.
const GRID: u64 = 2 * CALLERS;

#[derive(Clone, Copy, Debug)]
enum End {
    Success,
    Fails(Class),
    Busy { retry_after: u64 },
}

/// An attempt that ends like this after so long.
type Attempt = (End, u64);

#[derive(Clone, Debug)]
struct Caller {
    begins: u64,
    attempts: Vec<Attempt>,
    cancelled: Option<u64>,
    deadline: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Policy {
    max_attempts: u32,
    base: u64,
    cap: u64,
    timeout: u64,
    threshold: u32,
    reset: u64,
}

/// What a caller gets: after how many attempts that reached the service, when, and of what class the error is.
type Outcome = (u32, u64, Option<Class>);

impl Caller {
    fn random(random: &mut fastrand::Rng) -> Self {
        let begins = random.u64(0..250);
        let later = |random: &mut fastrand::Rng| (random.u8(0..5) == 0).then(|| (begins + random.u64(0..40)) * GRID);
        let attempts = (0..5).map(|_| (End::random(random), random.u64(0..14) * GRID)).collect();
        let cancelled = later(random).map(|at| at + CALLERS);
        Caller { begins: begins * GRID, attempts, cancelled, deadline: later(random) }
    }
}

impl End {
    fn random(random: &mut fastrand::Rng) -> Self {
        match random.u8(0..16) {
            0..6 => End::Success,
            6..10 => End::Fails(Class::Retryable),
            10 => End::Fails(Class::Network),
            11 => End::Fails(Class::ServerError),
            12 => End::Fails(Class::Permanent),
            13 => End::Fails(Class::Internal),
            14 => End::Fails(Class::Cancelled),
            _ => End::Busy { retry_after: random.u64(0..30) * GRID },
        }
    }
}

fn callers(seed: u64, count: usize) -> Vec<Caller> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| Caller::random(&mut random)).collect()
}

fn policy() -> impl Strategy<Value = Policy> {
    (1..6_u32, 0..4_u64, 0..10_u64, 4..16_u64, 1..9_u32, 1..8_u64).prop_map(
        |(max_attempts, base, above, timeout, threshold, reset)| Policy {
            max_attempts,
            base: base * GRID,
            cap: (base + above) * GRID,
            timeout: timeout * GRID,
            threshold,
            reset: reset * GRID,
        },
    )
}

// === the model ===

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Closed { failures: u32 },
    Open { until: u64 },
    HalfOpen { taken: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Try,
    Ends,
    Cancel,
}

struct Model {
    policy: Policy,
    state: State,
    epoch: u32,
    agenda: BinaryHeap<Reverse<(u64, usize, Happening)>>,
    steps: u64,
}

#[derive(Clone, Default)]
struct Progress {
    tries: u32,
    /// The epoch in which the attempt in progress was admitted.
    in_progress: Option<u32>,
    outcome: Option<Outcome>,
}

impl Model {
    fn run(policy: Policy, callers: &[Caller]) -> (Vec<Outcome>, State, u64) {
        let mut agenda = BinaryHeap::new();
        for (number, caller) in callers.iter().enumerate() {
            agenda.push(Reverse((caller.begins + number as u64, number, Happening::Try)));
            if let Some(cancelled) = caller.cancelled {
                agenda.push(Reverse((cancelled + number as u64, number, Happening::Cancel)));
            }
        }
        let mut model = Self { policy, state: State::Closed { failures: 0 }, epoch: 0, agenda, steps: 0 };
        let mut progress = vec![Progress::default(); callers.len()];
        while let Some(Reverse((now, number, happening))) = model.agenda.pop() {
            let (caller, progress) = (&callers[number], &mut progress[number]);
            if progress.outcome.is_none() {
                model.steps += 1;
                model.step(now, number, happening, caller, progress);
            }
        }
        let outcomes = progress.into_iter().map(|progress| progress.outcome.unwrap()).collect();
        (outcomes, model.state, model.steps)
    }

    fn step(&mut self, now: u64, number: usize, happening: Happening, caller: &Caller, progress: &mut Progress) {
        match happening {
            Happening::Try => {
                if !self.admits(now) {
                    progress.outcome = Some((progress.tries, now, Some(Class::CircuitOpen)));
                    return;
                }
                progress.in_progress = Some(self.epoch);
                let (_, lasts) = caller.attempts[progress.tries as usize];
                progress.tries += 1;
                let ends = now + lasts.min(self.policy.timeout);
                self.agenda.push(Reverse((ends, number, Happening::Ends)));
            }
            Happening::Ends => {
                let (end, lasts) = caller.attempts[progress.tries as usize - 1];
                let end = if lasts > self.policy.timeout { End::Fails(Class::Timeout) } else { end };
                let epoch = progress.in_progress.take().unwrap();
                self.record(epoch, end, now);
                let (class, minimum) = match end {
                    End::Success => {
                        progress.outcome = Some((progress.tries, now, None));
                        return;
                    }
                    End::Fails(class) => (class, 0),
                    End::Busy { retry_after } => (Class::RateLimited, retry_after),
                };
                let is_retried = match class {
                    Class::Timeout | Class::Network | Class::Retryable | Class::ServerError | Class::RateLimited => {
                        true
                    }
                    Class::Permanent | Class::Internal | Class::CircuitOpen | Class::Cancelled => false,
                };
                if !is_retried || progress.tries == self.policy.max_attempts {
                    progress.outcome = Some((progress.tries, now, Some(class)));
                    return;
                }
                let nominal = self.policy.base << (progress.tries - 1);
                let due_at = now + nominal.min(self.policy.cap).max(minimum);
                if caller.deadline.is_some_and(|deadline| due_at >= deadline + number as u64) {
                    progress.outcome = Some((progress.tries, now, Some(Class::Timeout)));
                    return;
                }
                self.agenda.push(Reverse((due_at, number, Happening::Try)));
            }
            Happening::Cancel => {
                if let Some(epoch) = progress.in_progress
                    && epoch == self.epoch
                    && self.state == (State::HalfOpen { taken: true })
                {
                    self.state = State::HalfOpen { taken: false };
                }
                progress.outcome = Some((progress.tries, now, Some(Class::Cancelled)));
            }
        }
    }

    fn admits(&mut self, now: u64) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } if now >= until => {
                self.enter(State::HalfOpen { taken: true });
                true
            }
            State::HalfOpen { taken: false } => {
                self.state = State::HalfOpen { taken: true };
                true
            }
            State::Open { .. } | State::HalfOpen { taken: true } => false,
        }
    }

    fn record(&mut self, epoch: u32, end: End, now: u64) {
        if epoch != self.epoch {
            return;
        }
        let is_failure =
            matches!(end, End::Fails(Class::Timeout | Class::Network | Class::Retryable | Class::ServerError));
        let open = State::Open { until: now + self.policy.reset };
        match (self.state, end) {
            (State::Closed { .. }, End::Success) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, _) if is_failure => {
                if failures + 1 == self.policy.threshold {
                    self.enter(open);
                } else {
                    self.state = State::Closed { failures: failures + 1 };
                }
            }
            (State::HalfOpen { .. }, _) if is_failure => self.enter(open),
            (State::HalfOpen { .. }, End::Fails(Class::Cancelled)) => self.state = State::HalfOpen { taken: false },
            (State::HalfOpen { .. }, _) => self.enter(State::Closed { failures: 0 }),
            (State::Closed { .. } | State::Open { .. }, _) => {}
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}

// === the real one ===

async fn real(policy: Policy, callers: &[Caller]) -> (Vec<Outcome>, CircuitState, Instant) {
    let start = Instant::now();
    let at = move |millis: u64| start + Duration::from_millis(millis);
    let millis = Duration::from_millis;
    let backoff = Backoff::try_new(millis(policy.base), millis(policy.cap)).unwrap().jitter(Jitter::None);
    let retry = RetryPolicy::try_new(policy.max_attempts, backoff).unwrap();
    let breaker = CircuitBreakerPolicy::try_new(policy.threshold, millis(policy.reset)).unwrap();
    let circuit = Circuit::new("shared");
    let mut running = Vec::new();
    for (number, caller) in callers.iter().cloned().enumerate() {
        let number = number as u64;
        let calls = Rc::new(RefCell::new(0));
        let count = Rc::clone(&calls);
        let service = service_fn(move |()| {
            let (end, lasts) = caller.attempts[*count.borrow() as usize];
            *count.borrow_mut() += 1;
            async move {
                if lasts > 0 {
                    sleep(millis(lasts)).await;
                }
                match end {
                    End::Success => Ok(()),
                    End::Fails(class) => Err(Failure::Plain(class)),
                    End::Busy { retry_after } => Err(Failure::Busy { retry_after: millis(retry_after) }),
                }
            }
        });
        let stack = Stack::new()
            .retry(RetryLayer::new(retry, 0).deadline(caller.deadline.map(|deadline| at(deadline + number))))
            .circuit_breaker(CircuitBreakerLayer::new(circuit.clone(), breaker))
            .timeout(TimeoutLayer::new(millis(policy.timeout)))
            .layer(service);
        let (begins, cancelled) = (caller.begins, caller.cancelled);
        running.push(tokio::task::spawn_local(async move {
            sleep_until(at(begins + number)).await;
            let call = stack.oneshot(());
            let result = match cancelled {
                None => call.await,
                Some(cancelled) => {
                    timeout_at(at(cancelled + number), call).await.unwrap_or(Err(Failure::Plain(Class::Cancelled)))
                }
            };
            let attempts = *calls.borrow();
            (attempts, start.elapsed().as_millis() as u64, result.err().map(|failure| failure.classify()))
        }));
    }
    let mut outcomes = Vec::new();
    for call in running {
        outcomes.push(call.await.unwrap());
    }
    (outcomes, circuit.state(), start)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_stack_does_what_the_specification_says(
        policy in policy(),
        seed: u64,
        count in 1..=CALLERS as usize,
    ) {
        let callers = callers(seed, count);
        let (expected, expected_state, _) = Model::run(policy, &callers);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (outcomes, state, start) = LocalSet::new().block_on(&runtime, real(policy, &callers));
        for (number, (real, expected)) in outcomes.into_iter().zip(expected).enumerate() {
            prop_assert_eq!(real, expected, "caller {}", number);
        }
        let state = match state {
            CircuitState::Closed { failures } => State::Closed { failures },
            CircuitState::Open { until } => State::Open { until: (until - start).as_millis() as u64 },
            CircuitState::HalfOpen { probe } => State::HalfOpen { taken: probe == orchestr8_resilience::circuit_breaker::Probe::Taken },
        };
        prop_assert_eq!(state, expected_state);
    }
}

/// The figure in the head of this file.
#[test]
fn the_cases_are_a_hundred_thousand_steps() {
    let policy =
        Policy { max_attempts: 3, base: GRID, cap: 5 * GRID, timeout: 9 * GRID, threshold: 4, reset: 4 * GRID };
    let steps: u64 = (0..20).map(|seed| Model::run(policy, &callers(seed, CALLERS as usize / 2)).2).sum();
    assert!(steps * 256 / 20 >= 100_000, "256 cases are {} steps", steps * 256 / 20);
}
