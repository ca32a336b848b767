use std::{collections::VecDeque, task::Waker, time::Duration};

use tokio::time::Instant;

use super::Rates;
use crate::timer::later;

/// What an attempt takes: one request, and this many weighted units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) weight: u64,
}

/// How long who asks would wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_wait: Duration,
    /// Before which the wait has to be over.
    pub(super) deadline: Option<Instant>,
}

/// How a bucket answers who asks for a permit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted,
    /// Stands in the queue under this number; as things are, until then.
    Queued {
        number: u64,
        until: Instant,
    },
    /// It would be longer than asked for.
    TooLong {
        wait: Duration,
    },
    /// It would be after the deadline.
    TooLate {
        wait: Duration,
    },
    /// It would never be.
    TooHeavy {
        capacity: u64,
    },
}

/// Where somebody stands who was queued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Granted,
    /// At the head, until then.
    Next {
        until: Instant,
    },
    Behind,
}

/// The state of one bucket and its rules. It knows neither clocks nor locks: time comes in with each question.
///
/// Whoever waits is served in the order of asking and at the moment that follows from what was asked for before, whether or not
/// anybody looks at that moment. So the state at an instant does not depend on who was polled when.
#[derive(Debug)]
pub(super) struct Machine {
    rates: Rates,
    level: Level,
    queue: VecDeque<Queued>,
    /// The level right after the last one in the queue was served; unknown after something else than queueing.
    tail: Option<Level>,
    next_number: u64,
}

#[derive(Debug)]
struct Queued {
    number: u64,
    demand: Demand,
    waker: Option<Waker>,
}

/// What is in both halves of a bucket at an instant, in sixty-billionths: a half refills by its rate per minute each nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    at: Instant,
    requests: i128,
    weight: i128,
}

/// One request or unit of weight.
const ONE: i128 = 60_000_000_000;

impl Machine {
    pub(super) fn new(rates: Rates, now: Instant) -> Self {
        Self { rates, level: Level::full(rates, now), queue: VecDeque::new(), tail: None, next_number: 0 }
    }

    pub(super) fn rates(&self) -> Rates {
        self.rates
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Returns what is there now, in whole units, rounded down; less than nothing is debt.
    pub(super) fn available(&mut self, now: Instant, wake: &mut Vec<Waker>) -> (Option<i64>, Option<i64>) {
        self.advance(now, wake);
        let level = self.level.refilled(self.rates, now);
        let units = |level: i128| i64::try_from(level.div_euclid(ONE)).unwrap_or(i64::MIN);
        (self.rates.requests().map(|_| units(level.requests)), self.rates.weight().map(|_| units(level.weight)))
    }

    pub(super) fn ask(&mut self, demand: Demand, limits: Limits, now: Instant, wake: &mut Vec<Waker>) -> Answer {
        if let Some(capacity) = self.rates.weight()
            && demand.weight > u64::from(capacity)
        {
            return Answer::TooHeavy { capacity: capacity.into() };
        }
        self.advance(now, wake);
        let mut tail = self.tail();
        let until = tail.take(self.rates, demand, now);
        let wait = until.saturating_duration_since(now);
        if wait.is_zero() {
            self.level = tail;
            return Answer::Granted;
        }
        if wait > limits.max_wait {
            return Answer::TooLong { wait };
        }
        if limits.deadline.is_some_and(|deadline| until >= deadline) {
            return Answer::TooLate { wait };
        }
        let number = self.next_number;
        self.next_number += 1;
        self.queue.push_back(Queued { number, demand, waker: None });
        self.tail = Some(tail);
        Answer::Queued { number, until }
    }

    /// Returns where the one of this number stands, and has it woken when that changes.
    pub(super) fn standing(&mut self, number: u64, waker: &Waker, now: Instant, wake: &mut Vec<Waker>) -> Standing {
        self.advance(now, wake);
        let Some(place) = self.place(number) else { return Standing::Granted };
        self.queue[place].waker = Some(waker.clone());
        if place > 0 {
            return Standing::Behind;
        }
        let mut level = self.level;
        Standing::Next { until: level.take(self.rates, self.queue[place].demand, now) }
    }

    /// Returns when the one of this number will be served, as things are. Takes time in proportion to those before it.
    pub(super) fn until(&mut self, number: u64, now: Instant, wake: &mut Vec<Waker>) -> Instant {
        self.advance(now, wake);
        let mut level = self.level;
        let mut until = now;
        for queued in self.queue.iter().take_while(|queued| queued.number <= number) {
            until = level.take(self.rates, queued.demand, level.at);
        }
        until
    }

    /// Takes the one of this number out of the queue, or what it was granted back.
    pub(super) fn leave(&mut self, number: u64, demand: Demand, now: Instant, wake: &mut Vec<Waker>) {
        self.advance(now, wake);
        match self.place(number) {
            Some(place) => {
                self.queue.remove(place);
                // Those behind have been kept up to this moment.
                self.level = self.level.refilled(self.rates, now);
                self.tail = None;
                self.wake_head(wake);
                self.advance(now, wake);
            }
            None => self.give_back(demand, now, wake),
        }
    }

    /// Puts back what an attempt took that was not made after all.
    pub(super) fn give_back(&mut self, demand: Demand, now: Instant, wake: &mut Vec<Waker>) {
        self.put(ONE, i128::from(demand.weight) * ONE, now, wake);
    }

    /// Puts back what was estimated too much, or takes what was estimated too little, into debt if need be.
    pub(super) fn correct(&mut self, estimated: u64, used: u64, now: Instant, wake: &mut Vec<Waker>) {
        self.put(0, (i128::from(estimated) - i128::from(used)) * ONE, now, wake);
    }

    /// Has other rates from now on. What is there stays, up to what there is room for.
    pub(super) fn set_rates(&mut self, rates: Rates, now: Instant, wake: &mut Vec<Waker>) {
        self.advance(now, wake);
        let full = Level::full(rates, now);
        let old = self.level.refilled(self.rates, now);
        let half = |rate: Option<u32>, old: i128, full: i128| if rate.is_none() { full } else { old.min(full) };
        self.level = Level {
            at: now,
            requests: half(self.rates.requests(), old.requests, full.requests),
            weight: half(self.rates.weight(), old.weight, full.weight),
        };
        self.rates = rates;
        self.tail = None;
        self.wake_head(wake);
        self.advance(now, wake);
    }

    /// Fills the bucket.
    pub(super) fn reset(&mut self, now: Instant, wake: &mut Vec<Waker>) {
        self.advance(now, wake);
        let full = Level::full(self.rates, now);
        let level = self.level.refilled(self.rates, now);
        self.put(full.requests - level.requests, full.weight - level.weight, now, wake);
    }

    /// Returns how much is missing to a full bucket, in thousandths of a unit.
    pub(super) fn missing(&mut self, now: Instant, wake: &mut Vec<Waker>) -> (u64, u64) {
        self.advance(now, wake);
        let (full, level) = (Level::full(self.rates, now), self.level.refilled(self.rates, now));
        let thousandths = |missing: i128| {
            let missing = missing.max(0).unsigned_abs() * 1000;
            u64::try_from(missing.div_ceil(ONE.unsigned_abs())).unwrap_or(u64::MAX)
        };
        (thousandths(full.requests - level.requests), thousandths(full.weight - level.weight))
    }

    /// Takes over what was missing before a restart, in thousandths of a unit, unless something is missing by now. The bucket
    /// has been refilled for this time meanwhile.
    pub(super) fn restore(&mut self, missing: (u64, u64), passed: Duration, now: Instant, wake: &mut Vec<Waker>) {
        if self.missing(now, wake) != (0, 0) {
            return;
        }
        let full = Level::full(self.rates, now);
        let less =
            |full: i128, missing: u64| (full - i128::from(missing) * (ONE / 1000)).max(-full.saturating_mul(MOST_DEBT));
        let level = Level { at: now, requests: less(full.requests, missing.0), weight: less(full.weight, missing.1) };
        self.level = Level { at: now, ..level.refilled(self.rates, later(now, passed)) };
    }

    fn put(&mut self, requests: i128, weight: i128, now: Instant, wake: &mut Vec<Waker>) {
        self.advance(now, wake);
        let full = Level::full(self.rates, now);
        let level = self.level.refilled(self.rates, now);
        self.level = Level {
            at: now,
            requests: (level.requests + requests).min(full.requests),
            weight: (level.weight + weight).clamp(-full.weight.saturating_mul(MOST_DEBT), full.weight),
        };
        self.tail = None;
        self.wake_head(wake);
        self.advance(now, wake);
    }

    /// Serves those whose moment has come.
    fn advance(&mut self, now: Instant, wake: &mut Vec<Waker>) {
        let mut served = false;
        while let Some(head) = self.queue.front() {
            let mut level = self.level;
            if level.take(self.rates, head.demand, self.level.at) > now {
                break;
            }
            self.level = level;
            wake.extend(self.queue.pop_front().and_then(|head| head.waker));
            served = true;
        }
        if served {
            self.wake_head(wake);
        }
    }

    /// The head knows when it will be served. What it knew, or that it is not the head, is not true any more.
    fn wake_head(&mut self, wake: &mut Vec<Waker>) {
        wake.extend(self.queue.front_mut().and_then(|head| head.waker.take()));
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&number, |queued| queued.number).ok()
    }

    fn tail(&self) -> Level {
        self.tail.filter(|_| !self.queue.is_empty()).unwrap_or_else(|| {
            let mut level = self.level;
            for queued in &self.queue {
                level.take(self.rates, queued.demand, level.at);
            }
            level
        })
    }
}

/// In full buckets. Who reports that it used more has reported nonsense, and is not to block others for years.
const MOST_DEBT: i128 = 60;

impl Level {
    fn full(rates: Rates, at: Instant) -> Self {
        let full = |rate: Option<u32>| i128::from(rate.unwrap_or(0)) * ONE;
        Self { at, requests: full(rates.requests()), weight: full(rates.weight()) }
    }

    fn refilled(self, rates: Rates, at: Instant) -> Self {
        let nanos = at.saturating_duration_since(self.at).as_nanos().min(i64::MAX as u128) as i128;
        let full = Self::full(rates, at);
        let refilled =
            |level: i128, rate: Option<u32>, full: i128| (level + nanos * i128::from(rate.unwrap_or(0))).min(full);
        Self {
            at: at.max(self.at),
            requests: refilled(self.requests, rates.requests(), full.requests),
            weight: refilled(self.weight, rates.weight(), full.weight),
        }
    }

    /// Takes both as soon as both are there, but not before this instant, and returns when that is.
    fn take(&mut self, rates: Rates, demand: Demand, not_before: Instant) -> Instant {
        let level = self.refilled(rates, not_before);
        let weight = i128::from(demand.weight) * ONE;
        let nanos = |level: i128, demand: i128, rate: Option<u32>| match rate {
            Some(rate) => {
                let missing = (demand - level).max(0).unsigned_abs();
                u64::try_from(missing.div_ceil(rate.into())).unwrap_or(u64::MAX)
            }
            None => 0,
        };
        let wait = nanos(level.requests, ONE, rates.requests()).max(nanos(level.weight, weight, rates.weight()));
        let until = later(level.at, Duration::from_nanos(wait));
        let level = level.refilled(rates, until);
        *self = Self {
            at: until,
            requests: level.requests - if rates.requests().is_some() { ONE } else { 0 },
            weight: level.weight - if rates.weight().is_some() { weight } else { 0 },
        };
        until
    }
}
