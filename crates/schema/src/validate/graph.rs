//! The graph of who waits for whom: order, cycles, and whether one step comes before another.
//!
//! A step with a fallback ends twice: it is *terminal* when it has failed, and *settled* when its fallback has ended too. Others
//! wait for the second, its fallback for the first. So each step has two nodes, `2i` (terminal) and `2i + 1` (settled).
//!
//! Nothing here recurses over the graph, and every question is asked for many steps at once: a workflow may be one chain of
//! ten thousand steps.

use std::collections::VecDeque;

use crate::StepIndex;

/// What each step waits for.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Dependencies that exist, in the author's order.
    pub(super) hard: Vec<Vec<StepIndex>>,
    /// Steps that are read without being dependencies.
    pub(super) soft: Vec<Vec<StepIndex>>,
    pub(super) fallback: Vec<Option<StepIndex>>,
    pub(super) serves: Vec<Option<StepIndex>>,
}

/// Which edges count.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Edges {
    /// Dependencies only.
    Hard,
    /// Everything that makes a step wait.
    All,
}

/// An order in which every node comes behind all that it waits for; nodes on cycles and behind them are not in it.
pub(super) struct Order {
    nodes: Vec<u32>,
    rank: Vec<u32>,
}

impl Order {
    /// Whether all nodes are in it, so that there is no cycle.
    pub(super) fn is_complete(&self) -> bool {
        self.nodes.len() == self.rank.len()
    }

    /// Returns the place of a step; greater than that of everything it waits for.
    pub(super) fn rank(&self, step: StepIndex) -> u32 {
        self.rank[2 * step.get()]
    }
}

impl Graph {
    pub(super) fn len(&self) -> usize {
        self.hard.len()
    }

    /// Calls `visit` with each node that a node waits for directly.
    fn waits_for(&self, node: usize, edges: Edges, mut visit: impl FnMut(usize)) {
        let step = node / 2;
        if node % 2 == 1 {
            visit(2 * step);
            if edges == Edges::All
                && let Some(fallback) = self.fallback[step]
            {
                visit(2 * fallback.get() + 1);
            }
            return;
        }
        for dependency in &self.hard[step] {
            visit(2 * dependency.get() + 1);
        }
        if edges == Edges::All {
            for read in &self.soft[step] {
                visit(2 * read.get() + 1);
            }
            if let Some(served) = self.serves[step] {
                visit(2 * served.get());
            }
        }
    }

    pub(super) fn order(&self, edges: Edges) -> Order {
        let count = 2 * self.len();
        let mut waiting = vec![0_u32; count];
        // Compressed lists of who waits for a node.
        let mut starts = vec![0_usize; count + 1];
        for (node, waiting) in waiting.iter_mut().enumerate() {
            self.waits_for(node, edges, |other| {
                *waiting += 1;
                starts[other + 1] += 1;
            });
        }
        for node in 0..count {
            starts[node + 1] += starts[node];
        }
        let mut fill = starts.clone();
        let mut dependents = vec![0_usize; starts[count]];
        for node in 0..count {
            self.waits_for(node, edges, |other| {
                dependents[fill[other]] = node;
                fill[other] += 1;
            });
        }
        let mut ready: VecDeque<usize> = (0..count).filter(|node| waiting[*node] == 0).collect();
        let mut order = Order { nodes: Vec::with_capacity(count), rank: vec![u32::MAX; count] };
        while let Some(node) = ready.pop_front() {
            order.rank[node] = index(order.nodes.len());
            order.nodes.push(index(node));
            for dependent in &dependents[starts[node]..starts[node + 1]] {
                waiting[*dependent] -= 1;
                if waiting[*dependent] == 0 {
                    ready.push_back(*dependent);
                }
            }
        }
        order
    }

    /// Answers, for pairs of a reader and a target, whether the target comes before the reader.
    ///
    /// Sixty-four targets share one pass over the graph. For readers on cycles and behind them the answer is yes, since the
    /// cycle is what must be mended first.
    pub(super) fn come_before(&self, pairs: &[(StepIndex, StepIndex)], order: &Order, edges: Edges) -> Vec<bool> {
        let mut answers = vec![true; pairs.len()];
        let mut by_target: Vec<usize> = (0..pairs.len()).collect();
        by_target.sort_unstable_by_key(|pair| pairs[*pair].1);
        let mut masks = vec![0_u64; 2 * self.len()];
        let mut rest = &by_target[..];
        while !rest.is_empty() {
            let mut targets: Vec<StepIndex> = Vec::with_capacity(64);
            let taken = rest
                .iter()
                .take_while(|pair| {
                    let target = pairs[**pair].1;
                    if targets.last() != Some(&target) {
                        if targets.len() == 64 {
                            return false;
                        }
                        targets.push(target);
                    }
                    true
                })
                .count();
            let (block, others) = rest.split_at(taken);
            rest = others;
            masks.fill(0);
            for node in &order.nodes {
                let node = *node as usize;
                let mut mask = 0;
                self.waits_for(node, edges, |other| mask |= masks[other]);
                if node % 2 == 1
                    && let Ok(bit) = targets.binary_search(&StepIndex(index(node / 2)))
                {
                    mask |= 1 << bit;
                }
                masks[node] = mask;
            }
            for pair in block {
                let (reader, target) = pairs[*pair];
                let node = 2 * reader.get();
                if order.rank[node] != u32::MAX {
                    let bit = targets.binary_search(&target).unwrap_or_default();
                    answers[*pair] = masks[node] & (1 << bit) != 0;
                }
            }
        }
        answers
    }

    /// Returns, for each step, the first of `targets` that comes before it by dependencies.
    pub(super) fn last_before(&self, targets: &[StepIndex], order: &Order) -> Vec<Option<StepIndex>> {
        let mut preference = vec![usize::MAX; self.len()];
        for (place, target) in targets.iter().enumerate() {
            preference[target.get()] = place;
        }
        let mut best = vec![usize::MAX; self.len()];
        for node in order.nodes.iter().map(|node| *node as usize).filter(|node| node % 2 == 0) {
            let step = node / 2;
            let before = self.hard[step].iter().map(|other| best[other.get()].min(preference[other.get()]));
            best[step] = before.min().unwrap_or(usize::MAX);
        }
        best.into_iter().map(|place| targets.get(place).copied()).collect()
    }

    /// Whether a step stands in for another, directly or through other fallbacks.
    pub(super) fn is_fallback_of(&self, step: StepIndex, served: StepIndex) -> bool {
        let mut next = self.serves[step.get()];
        for _ in 0..self.len() {
            match next {
                Some(other) if other == served => return true,
                Some(other) => next = self.serves[other.get()],
                None => return false,
            }
        }
        false
    }

    /// Returns a cycle of each knot of steps that wait for each other, as the steps on it in the order of waiting, beginning
    /// with the one that is declared first.
    pub(super) fn cycles(&self, order: &Order) -> Vec<Vec<StepIndex>> {
        let knot_of = self.knots(order);
        let mut from = vec![usize::MAX; 2 * self.len()];
        let mut seen = vec![false; 2 * self.len()];
        let mut cycles = Vec::new();
        for start in 0..2 * self.len() {
            let knot = knot_of[start];
            if knot == usize::MAX || std::mem::replace(&mut seen[knot], true) {
                continue;
            }
            // The shortest way back to where it began, which never leaves the knot.
            let mut queue = VecDeque::from([start]);
            let mut closing = None;
            while let (Some(node), None) = (queue.pop_front(), closing) {
                self.waits_for(node, Edges::All, |other| {
                    if other == start {
                        closing = closing.or(Some(node));
                    } else if knot_of[other] == knot && from[other] == usize::MAX {
                        from[other] = node;
                        queue.push_back(other);
                    }
                });
            }
            let Some(mut node) = closing else { continue };
            let mut cycle = vec![start];
            while node != start {
                cycle.push(node);
                node = from[node];
            }
            cycle[1..].reverse();
            let mut steps: Vec<StepIndex> = cycle.into_iter().map(|node| StepIndex(index(node / 2))).collect();
            steps.dedup();
            if steps.len() > 1 && steps.first() == steps.last() {
                steps.pop();
            }
            if let Some((first, _)) = steps.iter().enumerate().min_by_key(|(_, step)| **step) {
                steps.rotate_left(first);
            }
            cycles.push(steps);
        }
        cycles
    }

    /// Numbers the strongly connected components that hold a cycle, by one of their nodes; `usize::MAX` elsewhere.
    ///
    /// Tarjan's algorithm with a stack of its own.
    fn knots(&self, order: &Order) -> Vec<usize> {
        let count = 2 * self.len();
        let mut knot_of = vec![usize::MAX; count];
        let mut number = vec![usize::MAX; count];
        let mut low = vec![0_usize; count];
        let mut open = Vec::new();
        let mut is_open = vec![false; count];
        let mut next_number = 0;
        let neighbours = |node: usize| {
            let mut list = Vec::new();
            self.waits_for(node, Edges::All, |other| {
                if order.rank[other] == u32::MAX {
                    list.push(other);
                }
            });
            list
        };
        for start in 0..count {
            if order.rank[start] != u32::MAX || number[start] != usize::MAX {
                continue;
            }
            let mut calls = vec![(start, neighbours(start), false)];
            while let Some((node, mut rest, entered)) = calls.pop() {
                if !entered {
                    number[node] = next_number;
                    low[node] = next_number;
                    next_number += 1;
                    open.push(node);
                    is_open[node] = true;
                }
                let Some(other) = rest.pop() else {
                    if low[node] == number[node] {
                        let at = open.iter().rposition(|other| *other == node).unwrap_or_default();
                        let members = open.split_off(at);
                        let has_cycle = members.len() > 1 || neighbours(node).contains(&node);
                        for member in members {
                            is_open[member] = false;
                            if has_cycle {
                                knot_of[member] = node;
                            }
                        }
                    }
                    if let Some((caller, _, _)) = calls.last() {
                        low[*caller] = low[*caller].min(low[node]);
                    }
                    continue;
                };
                calls.push((node, rest, true));
                if number[other] == usize::MAX {
                    calls.push((other, neighbours(other), false));
                } else if is_open[other] {
                    low[node] = low[node].min(number[other]);
                }
            }
        }
        knot_of
    }

    /// Returns how many steps the longest chain of waiting steps has.
    pub(super) fn depth(&self, order: &Order) -> usize {
        let mut depths = vec![0_usize; 2 * self.len()];
        for node in &order.nodes {
            let node = *node as usize;
            let mut depth = 0;
            self.waits_for(node, Edges::All, |other| depth = depth.max(depths[other]));
            depths[node] = depth + usize::from(node.is_multiple_of(2));
        }
        depths.into_iter().max().unwrap_or(0)
    }
}

/// Workflows have far fewer than four thousand million steps.
fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
