//! What reaches a driver from outside its task: requests, and slots that it waited for.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use orchestr8_schema::{
    ExecutionId,
    event::{ApprovalAnswer, Signal},
};
use tokio::sync::oneshot;

use crate::machine::Refusal;

/// The mailbox of one driver. It holds at most one request per caller that waits for the answer, and a counter.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Absent once the driver is gone.
    requests: Mutex<Option<VecDeque<Request>>>,
    /// Whether there may be requests, so that looking for one takes no lock.
    has_requests: AtomicBool,
    slots: AtomicU32,
    waker: AtomicWaker,
}

/// A request to a driver.
#[derive(Debug)]
pub(crate) enum Request {
    /// Bring the execution to its end.
    Cancel {
        reason: String,
        /// Absent means as the workflow says.
        grace_period: Option<Duration>,
        requested_by: Option<String>,
        superseded_by: Option<ExecutionId>,
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Leave the execution as it is for whoever takes it up.
    Stop,
    /// Start nothing until it is resumed.
    Pause { reason: Option<Arc<str>>, answer: oneshot::Sender<Result<(), Refusal>> },
    /// Go on after a pause.
    Resume { reason: Option<Arc<str>>, answer: oneshot::Sender<Result<(), Refusal>> },
    /// Tell the execution something.
    Signal { signal: Signal, answer: oneshot::Sender<Result<(), Refusal>> },
    /// Answer the approval of the step at this path.
    Approval { step_path: String, approval: ApprovalAnswer, answer: oneshot::Sender<Result<(), Refusal>> },
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            requests: Mutex::new(Some(VecDeque::new())),
            has_requests: AtomicBool::new(false),
            slots: AtomicU32::new(0),
            waker: AtomicWaker::new(),
        }
    }
}

impl Mailbox {
    /// Leaves a request. It is dropped, and with it the sender of its answer, if the driver is gone.
    pub(crate) fn send(&self, request: Request) {
        if let Some(requests) = &mut *self.requests() {
            requests.push_back(request);
        }
        self.has_requests.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Takes no more requests and drops those that nobody has answered.
    pub(crate) fn close(&self) {
        self.requests().take();
    }

    /// Has the driver look for what came by another way.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    pub(crate) fn grant_slot(&self) {
        self.slots.fetch_add(1, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Takes all slots that were granted.
    pub(crate) fn take_slots(&self) -> u32 {
        match self.slots.load(Ordering::Acquire) {
            0 => 0,
            _ => self.slots.swap(0, Ordering::AcqRel),
        }
    }

    pub(crate) fn take_request(&self) -> Option<Request> {
        if !self.has_requests.load(Ordering::Acquire) {
            return None;
        }
        let mut requests = self.requests();
        let request = requests.as_mut().and_then(VecDeque::pop_front);
        if request.is_none() {
            self.has_requests.store(false, Ordering::Release);
        }
        request
    }

    /// Wakes this task when something arrives from now on.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    fn requests(&self) -> MutexGuard<'_, Option<VecDeque<Request>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
