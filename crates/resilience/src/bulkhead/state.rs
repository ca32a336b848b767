use std::{collections::VecDeque, task::Waker};

/// How a compartment answers who asks for a permit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted,
    /// Stands in the queue under this number.
    Queued {
        number: u64,
    },
    Full,
}

/// The state of one compartment and its rules.
#[derive(Debug)]
pub(super) struct Machine {
    max_concurrent: u32,
    running: u32,
    queue: VecDeque<(u64, Option<Waker>)>,
    next_number: u64,
}

impl Machine {
    pub(super) fn new(max_concurrent: u32) -> Self {
        Self { max_concurrent, running: 0, queue: VecDeque::new(), next_number: 0 }
    }

    pub(super) fn max_concurrent(&self) -> u32 {
        self.max_concurrent
    }

    pub(super) fn running(&self) -> u32 {
        self.running
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn ask(&mut self, longest_queue: usize) -> Answer {
        if self.running < self.max_concurrent {
            // Nobody waits as long as there is room.
            self.running += 1;
            return Answer::Granted;
        }
        if self.queue.len() >= longest_queue {
            return Answer::Full;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.queue.push_back((number, None));
        Answer::Queued { number }
    }

    /// Returns whether the one of this number has its permit; if not, it is woken when it has.
    pub(super) fn is_granted(&mut self, number: u64, waker: &Waker) -> bool {
        let place = self.place(number);
        if let Some(place) = place {
            self.queue[place].1 = Some(waker.clone());
        }
        place.is_none()
    }

    /// Takes the one of this number out of the queue, or its permit back.
    pub(super) fn leave(&mut self, number: u64, wake: &mut Vec<Waker>) {
        match self.place(number) {
            Some(place) => {
                self.queue.remove(place);
            }
            None => self.give_back(wake),
        }
    }

    pub(super) fn give_back(&mut self, wake: &mut Vec<Waker>) {
        self.running -= 1;
        self.serve(wake);
    }

    /// Has another limit from now on. Those who are too many go on.
    pub(super) fn set_max_concurrent(&mut self, max_concurrent: u32, wake: &mut Vec<Waker>) {
        self.max_concurrent = max_concurrent;
        self.serve(wake);
    }

    fn serve(&mut self, wake: &mut Vec<Waker>) {
        while self.running < self.max_concurrent {
            let Some((_, waker)) = self.queue.pop_front() else { return };
            self.running += 1;
            wake.extend(waker);
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&number, |(queued, _)| *queued).ok()
    }
}
