//! Deadlines of calls that wait, kept in one queue per thread behind a single timer of tokio's.
//!
//! A timer of tokio's takes the lock of its wheel when it is armed and again when it is dropped, and arming the earliest one
//! interrupts the thread that sleeps on the wheel. Most time limits never pass: what they limit answers long before. So a wait
//! is a place in a heap here, and tokio's timer is set to the earliest deadline only. It stays set when the wait that it was set
//! for ends early: later ones are in its care too, and it is set anew when it rings.
//!
//! Nobody has to be there for that. The timer's waker is the queue, so the runtime's own time driver rings the [`Queue`], which
//! wakes those that are due and sets the timer to the next. A call that is woken and then not polled delays nobody else.
//!
//! The clock is tokio's, paused or not, and a wait ends in the tick in which a timer of tokio's for the same instant would ring.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::BinaryHeap,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    task::coop,
    time::{Instant, Sleep, sleep_until},
};

/// Returns the instant after this time; if the clock cannot hold it, what passes for never with tokio's timers, too.
pub(crate) fn later(now: Instant, time: Duration) -> Instant {
    const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    now.checked_add(time).unwrap_or_else(|| now + FOREVER)
}

/// Whether this is more than a policy can mean: a hundred years.
pub(crate) const fn is_too_long(time: Duration) -> bool {
    time.as_secs() > 100 * 365 * 24 * 60 * 60
}

/// A time as policies and futures hold it: a [`Duration`] of half the size, which a processor copies in one go. The longest is
/// of 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nanos(u64);

impl Nanos {
    pub(crate) const fn of(time: Duration) -> Self {
        let nanos = time.as_nanos();
        Self(if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 })
    }

    pub(crate) const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// A wait for an instant, which costs nothing before it is polled.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    place: Option<Place>,
}

impl Timer {
    pub(crate) const fn new() -> Self {
        Self { place: None }
    }

    /// Whether it was polled, and was not ready at once.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.place.is_some()
    }

    /// Is ready when this time has passed since the first poll.
    #[inline]
    pub(crate) fn poll_after(&mut self, time: Duration, cx: &Context<'_>) -> Poll<()> {
        match &self.place {
            Some(place) => place.poll(cx),
            None if time.is_zero() => Poll::Ready(()),
            None => self.begin(later(Instant::now(), time), cx),
        }
    }

    /// Is ready at this instant, which must not change between polls.
    pub(crate) fn poll_until(&mut self, instant: Instant, cx: &Context<'_>) -> Poll<()> {
        match &self.place {
            Some(place) => place.poll(cx),
            None => self.begin(instant, cx),
        }
    }

    fn begin(&mut self, instant: Instant, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let queue = Queue::here();
        let mut entries = queue.lock();
        let slot = entries.insert(instant, waker);
        let in_care = entries.alarm.as_ref().is_some_and(|alarm| alarm.rings_at <= instant);
        drop(entries);
        let place = self.place.insert(Place { queue, slot });
        if in_care {
            return Poll::Pending;
        }
        place.queue.ring(Alarm::new);
        place.poll(cx)
    }
}

/// A slot in a queue, given back on drop.
struct Place {
    queue: Arc<Queue>,
    slot: usize,
}

impl Place {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut entries = self.queue.lock();
        let is_set = entries.alarm.is_some() || entries.is_being_set;
        let Slot::Waiting { waker, .. } = &mut entries.slots[self.slot] else {
            return Poll::Ready(());
        };
        let old = if waker.will_wake(cx.waker()) { None } else { Some(mem::replace(waker, cx.waker().clone())) };
        drop(entries);
        // What a waker does when it is dropped is not known, so that is not done under the lock.
        drop(old);
        if !is_set {
            // The runtime that the timer belonged to is gone.
            self.queue.ring(Alarm::new);
        }
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let slot = self.queue.lock().remove(self.slot);
        drop(slot);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// The waits that began on one thread of one runtime.
///
/// Places know their queue, so a call may end on another thread than it began to wait on. A thread that turns to another runtime
/// turns to another queue, and the old one lives until its last wait ends.
#[derive(Default)]
struct Queue {
    entries: Mutex<Entries>,
}

thread_local! {
    static HERE: RefCell<Option<(runtime::Id, Arc<Queue>)>> = const { RefCell::new(None) };
}

impl Queue {
    fn here() -> Arc<Self> {
        let runtime = Handle::current().id();
        HERE.with_borrow_mut(|here| match here {
            Some((known, queue)) if *known == runtime => Arc::clone(queue),
            _ => Arc::clone(&here.insert((runtime, Arc::default())).1),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those that are due and sets the alarm to the next deadline, making it `or_else` if there is none.
    ///
    /// The alarm is set outside of the lock: a timer of tokio's may wake its waker, which comes back here, while it is set.
    fn ring(self: &Arc<Self>, or_else: impl Fn(Instant) -> Option<Alarm>) {
        let waker = Waker::from(Arc::clone(self));
        let mut due = Vec::new();
        while let Some((mut alarm, next)) = self.begin_setting(&or_else) {
            let setting = Setting { queue: self, is_over: false };
            let has_rung = alarm.has_rung_at(next, &waker);
            let goes_on = setting.end(alarm, has_rung.then(Instant::now), &mut due);
            due.drain(..).for_each(Waker::wake);
            if !goes_on {
                return;
            }
        }
    }

    /// Takes the alarm, to be set to this instant; `None` if there is nothing to set it to, or somebody else has it and will.
    fn begin_setting(&self, or_else: impl Fn(Instant) -> Option<Alarm>) -> Option<(Alarm, Instant)> {
        let mut entries = self.lock();
        if entries.is_being_set {
            entries.rang_meanwhile = true;
            return None;
        }
        let next = entries.earliest();
        let alarm = entries.alarm.take();
        let alarm = next.and_then(|next| alarm.or_else(|| or_else(next)).map(|alarm| (alarm, next)));
        entries.is_being_set = alarm.is_some();
        alarm
    }
}

/// Has the alarm of a queue, which nobody else sets meanwhile.
struct Setting<'a> {
    queue: &'a Queue,
    is_over: bool,
}

impl Setting<'_> {
    /// Gives the alarm back, and collects those that are due if it has rung by now. Returns whether it is to be set again.
    fn end(mut self, alarm: Alarm, has_rung: Option<Instant>, due: &mut Vec<Waker>) -> bool {
        let mut entries = self.queue.lock();
        self.is_over = true;
        entries.is_being_set = false;
        let rang_meanwhile = mem::take(&mut entries.rang_meanwhile);
        match has_rung {
            Some(now) if now < alarm.rings_at => {
                // A runtime that shuts down rings all its timers. Whoever goes on elsewhere sets another one.
                due.extend(entries.slots.iter().filter_map(Slot::waker));
                return false;
            }
            Some(now) => entries.take_due(now, due),
            None => {}
        }
        entries.alarm = Some(alarm);
        has_rung.is_some() || rang_meanwhile
    }
}

/// Setting an alarm panics if its runtime shuts down on another thread in this moment.
impl Drop for Setting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.queue.lock().is_being_set = false;
        }
    }
}

/// Called by the time driver of the runtime.
impl Wake for Queue {
    fn wake(self: Arc<Self>) {
        self.ring(|_| None);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring(|_| None);
    }
}

#[derive(Default)]
struct Entries {
    /// What was in it once and waits no more is skipped when it is met.
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    slots: Vec<Slot>,
    /// The first free slot; as many as there are if none is free.
    free: usize,
    taken: usize,
    /// Absent while it is being set.
    alarm: Option<Alarm>,
    is_being_set: bool,
    rang_meanwhile: bool,
}

enum Slot {
    Waiting { until: Instant, waker: Waker },
    Due,
    Free { next: usize },
}

impl Entries {
    /// How many slots or outdated entries are kept for the next to come.
    const SPARE: usize = 256;

    fn insert(&mut self, until: Instant, waker: Waker) -> usize {
        let slot = self.free;
        let taken = Slot::Waiting { until, waker };
        match self.slots.get_mut(slot) {
            Some(free) => {
                if let Slot::Free { next } = mem::replace(free, taken) {
                    self.free = next;
                }
            }
            None => {
                self.slots.push(taken);
                self.free = self.slots.len();
            }
        }
        self.taken += 1;
        self.heap.push(Reverse((until, slot)));
        slot
    }

    fn remove(&mut self, slot: usize) -> Slot {
        let removed = mem::replace(&mut self.slots[slot], Slot::Free { next: self.free });
        self.free = slot;
        self.taken -= 1;
        if self.taken == 0 {
            self.heap.clear();
            if self.slots.len() > Self::SPARE {
                (self.heap, self.slots, self.free) = (BinaryHeap::new(), Vec::new(), 0);
            }
        } else if self.heap.len() > 2 * self.taken + Self::SPARE {
            let slots = &self.slots;
            self.heap.retain(|Reverse((until, slot))| slots[*slot].is_waiting_until(*until));
        }
        removed
    }

    fn earliest(&mut self) -> Option<Instant> {
        while let Some(&Reverse((until, slot))) = self.heap.peek() {
            if self.slots[slot].is_waiting_until(until) {
                return Some(until);
            }
            self.heap.pop();
        }
        None
    }

    /// Moves on to what is due by now.
    fn take_due(&mut self, now: Instant, due: &mut Vec<Waker>) {
        while self.earliest().is_some_and(|until| until <= now) {
            if let Some(Reverse((_, slot))) = self.heap.pop()
                && let Slot::Waiting { waker, .. } = mem::replace(&mut self.slots[slot], Slot::Due)
            {
                due.push(waker);
            }
        }
    }
}

impl Slot {
    fn is_waiting_until(&self, instant: Instant) -> bool {
        matches!(self, Slot::Waiting { until, .. } if *until == instant)
    }

    fn waker(&self) -> Option<Waker> {
        match self {
            Slot::Waiting { waker, .. } => Some(waker.clone()),
            Slot::Due | Slot::Free { .. } => None,
        }
    }
}

/// The timer of a queue.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    rings_at: Instant,
}

impl Alarm {
    fn new(rings_at: Instant) -> Option<Self> {
        Some(Self { sleep: Box::pin(sleep_until(rings_at)), rings_at })
    }

    /// Sets the alarm to this instant, and returns whether that has come.
    fn has_rung_at(&mut self, instant: Instant, waker: &Waker) -> bool {
        if self.rings_at != instant {
            self.rings_at = instant;
            self.sleep.as_mut().reset(instant);
        }
        self.has_rung(waker)
    }

    /// Has this waker woken when it rings, and no other.
    fn has_rung(&mut self, waker: &Waker) -> bool {
        if self.sleep.is_elapsed() {
            return true;
        }
        // Outside the cooperative budget, or a task that always uses it up would never set the alarm.
        let mut sleep = coop::unconstrained(self.sleep.as_mut());
        Pin::new(&mut sleep).poll(&mut Context::from_waker(waker)).is_ready()
    }
}
