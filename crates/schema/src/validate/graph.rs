//! The graph of who waits for whom: order, cycles, and whether one step comes before another.
//!
//! A step with a fallback ends twice: it is *terminal* when it has failed, and *settled* when its fallback has ended too. Others
//! wait for the second, its fallback for the first. So each step has two nodes, `2i` (terminal) and `2i + 1` (settled).
//! No edge leaves a scope: what an inner step waits for outside, the composite that holds it waits for.
//!
//! Nothing here recurses over the graph, and every question is asked for many steps at once: a workflow may be one chain of
//! ten thousand steps.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use super::outline::{Outline, ScopeIndex, index};
use crate::StepIndex;

/// What each step waits for.
#[derive(Debug)]
pub(super) struct Graph {
    /// Dependencies that exist, in the author's order.
    pub(super) hard: Vec<Vec<StepIndex>>,
    /// Steps that are read without being dependencies.
    pub(super) soft: Vec<Vec<StepIndex>>,
    pub(super) fallback: Vec<Option<StepIndex>>,
    pub(super) serves: Vec<Option<StepIndex>>,
    /// The scope of each step.
    scopes: Vec<ScopeIndex>,
    /// The composite that opens each scope.
    parents: Vec<Option<StepIndex>>,
    /// For each step the number of its chain of fallbacks, and its place in it.
    chains: Vec<(u32, u32)>,
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
///
/// Those of one scope stand together.
pub(super) struct Order {
    nodes: Vec<u32>,
    rank: Vec<u32>,
    scopes: Vec<Range<usize>>,
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

    /// Returns the steps; each comes behind what it waits for.
    pub(super) fn steps(&self) -> impl Iterator<Item = StepIndex> {
        self.nodes.iter().filter(|node| **node % 2 == 0).map(|node| StepIndex(node / 2))
    }

    fn of_scope(&self, scope: ScopeIndex) -> impl Iterator<Item = usize> {
        self.nodes[self.scopes[scope.get()].clone()].iter().map(|node| *node as usize)
    }
}

impl Graph {
    /// Makes a graph without edges.
    pub(super) fn new(outline: &Outline<'_>) -> Self {
        let count = outline.steps.len();
        Self {
            hard: vec![Vec::new(); count],
            soft: vec![Vec::new(); count],
            fallback: vec![None; count],
            serves: vec![None; count],
            scopes: outline.steps.iter().map(|placed| placed.scope).collect(),
            parents: outline.scopes.iter().map(|scope| scope.parent).collect(),
            chains: Vec::new(),
        }
    }

    /// Numbers the chains of fallbacks, which are known and free of cycles from now on.
    pub(super) fn number_chains(&mut self) {
        self.chains = vec![(u32::MAX, 0); self.len()];
        for start in 0..self.len() {
            if self.serves[start].is_some() {
                continue;
            }
            let mut next = Some(StepIndex(index(start)));
            let mut place = 0;
            while let Some(step) = next {
                self.chains[step.get()] = (index(start), place);
                place += 1;
                next = self.fallback[step.get()];
            }
        }
    }

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
        let mut sorted = Vec::with_capacity(count);
        while let Some(node) = ready.pop_front() {
            sorted.push(node);
            for dependent in &dependents[starts[node]..starts[node + 1]] {
                waiting[*dependent] -= 1;
                if waiting[*dependent] == 0 {
                    ready.push_back(*dependent);
                }
            }
        }
        self.by_scope(&sorted, count)
    }

    /// Groups sorted nodes by scope, and keeps their order.
    fn by_scope(&self, sorted: &[usize], count: usize) -> Order {
        let mut sizes = vec![0_usize; self.parents.len()];
        for node in sorted {
            sizes[self.scopes[node / 2].get()] += 1;
        }
        let mut end = 0;
        let mut scopes: Vec<Range<usize>> = Vec::with_capacity(sizes.len());
        for size in sizes {
            scopes.push(end..end);
            end += size;
        }
        let mut order = Order { nodes: vec![0; sorted.len()], rank: vec![u32::MAX; count], scopes };
        for node in sorted {
            let range = &mut order.scopes[self.scopes[node / 2].get()];
            order.nodes[range.end] = index(*node);
            order.rank[*node] = index(range.end);
            range.end += 1;
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
            // What a node waits for stands before it in the same scope, so masks of earlier blocks are never read.
            let mut scopes: Vec<ScopeIndex> = targets.iter().map(|target| self.scopes[target.get()]).collect();
            scopes.sort_unstable();
            scopes.dedup();
            for node in scopes.iter().flat_map(|scope| order.of_scope(*scope)) {
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

    /// Returns, for the steps of a scope, the first of `targets` that comes before each by dependencies; for others nothing.
    pub(super) fn last_before(
        &self,
        targets: &[StepIndex],
        scope: ScopeIndex,
        order: &Order,
    ) -> HashMap<StepIndex, StepIndex> {
        let preference: HashMap<StepIndex, usize> =
            targets.iter().enumerate().map(|(place, target)| (*target, place)).collect();
        let mut best: HashMap<StepIndex, usize> = HashMap::new();
        for node in order.of_scope(scope).filter(|node| node % 2 == 0) {
            let step = StepIndex(index(node / 2));
            let before = self.hard[step.get()].iter().flat_map(|other| [best.get(other), preference.get(other)]);
            if let Some(place) = before.flatten().min().copied() {
                best.insert(step, place);
            }
        }
        best.into_iter().map(|(step, place)| (step, targets[place])).collect()
    }

    /// Whether a step stands in for another, directly or through other fallbacks.
    pub(super) fn is_fallback_of(&self, step: StepIndex, served: StepIndex) -> bool {
        let ((chain, place), (other, before)) = (self.chains[step.get()], self.chains[served.get()]);
        chain == other && chain != u32::MAX && place > before
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

    /// Returns how many steps the longest chain of steps has that wait for each other or stand in each other.
    pub(super) fn depth(&self, order: &Order) -> usize {
        let mut depths = vec![0_usize; 2 * self.len()];
        let mut inside = vec![0_usize; self.len()];
        // Inner scopes have greater numbers.
        for (scope, parent) in self.parents.iter().enumerate().rev() {
            let mut deepest = 0;
            for node in order.of_scope(ScopeIndex(index(scope))) {
                let mut depth = 0;
                self.waits_for(node, Edges::All, |other| depth = depth.max(depths[other]));
                depths[node] = depth + if node.is_multiple_of(2) { 1 + inside[node / 2] } else { 0 };
                deepest = deepest.max(depths[node]);
            }
            match parent {
                Some(parent) => inside[parent.get()] = inside[parent.get()].max(deepest),
                None => return deepest,
            }
        }
        0
    }
}
