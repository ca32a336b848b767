//! Layers: every box one below all that lead to it, and a column of dummies for every edge that skips a layer.

use std::collections::BTreeMap;

use super::{COLUMN_GAP, Link, Size};

/// How many dummies there are at most, for each box and in any case.
const DUMMIES_PER_BOX: usize = 4;
const MIN_DUMMIES: usize = 20_000;

/// A graph whose every edge leads from one layer to the next.
///
/// Its vertices are the boxes, by index, and behind them the dummies.
pub(super) struct Layered {
    pub(super) boxes: usize,
    /// The layer of each vertex.
    pub(super) layer: Vec<u32>,
    /// The width of each vertex.
    pub(super) width: Vec<i32>,
    /// The vertices of each layer, from left to right.
    pub(super) rows: Vec<Vec<u32>>,
    /// The neighbours of each vertex in the next layer.
    pub(super) below: Vec<Vec<u32>>,
    /// The neighbours of each vertex in the layer before.
    pub(super) above: Vec<Vec<u32>>,
    /// How each link runs.
    pub(super) tracks: Vec<Track>,
}

/// How a link runs.
#[derive(Debug)]
pub(super) enum Track {
    /// It leads from a box to itself, and is not drawn.
    Loop,
    /// Down the dummies of a column; the last field says how many of them.
    Column { reversed: bool, first: u32, length: u32 },
    /// Along the margin.
    Margin { reversed: bool },
}

impl Layered {
    pub(super) fn new(sizes: &[Size], links: &[Link]) -> Self {
        let boxes = sizes.len();
        let reversed = back_edges(boxes, links);
        // From upper to lower box, whichever way the link leads.
        let ends: Vec<(usize, usize)> = links
            .iter()
            .zip(&reversed)
            .map(|(link, reversed)| if *reversed { (link.to, link.from) } else { (link.from, link.to) })
            .collect();
        let layer = longest_paths(boxes, &ends);
        let mut layered = Self {
            boxes,
            width: sizes.iter().map(|size| size.width).collect(),
            rows: vec![Vec::new(); layer.iter().max().map_or(0, |last| *last as usize + 1)],
            below: vec![Vec::new(); boxes],
            above: vec![Vec::new(); boxes],
            layer,
            tracks: Vec::with_capacity(links.len()),
        };
        layered.lay_tracks(links, &ends, &reversed);
        for neighbours in layered.below.iter_mut().chain(&mut layered.above) {
            neighbours.sort_unstable();
            neighbours.dedup();
        }
        layered.fill_rows();
        layered
    }

    pub(super) fn is_dummy(&self, vertex: u32) -> bool {
        vertex as usize >= self.boxes
    }

    /// Gives every link its column; the shortest columns first, as long as there is room.
    fn lay_tracks(&mut self, links: &[Link], ends: &[(usize, usize)], reversed: &[bool]) {
        let mut columns: BTreeMap<(usize, u8, bool), u32> = BTreeMap::new();
        let key = |index: usize| (ends[index].0, links[index].class, reversed[index]);
        for (index, &(from, to)) in ends.iter().enumerate() {
            if from != to {
                let length = self.layer[to] - self.layer[from] - 1;
                let longest = columns.entry(key(index)).or_default();
                *longest = length.max(*longest);
            }
        }
        let mut by_length: Vec<_> = columns.into_iter().map(|(key, length)| (length, key)).collect();
        by_length.sort_unstable();
        let mut room = MIN_DUMMIES.max(DUMMIES_PER_BOX * self.boxes);
        let mut first_of = BTreeMap::new();
        for (length, key) in by_length {
            let Some(left) = room.checked_sub(length as usize) else { break };
            room = left;
            first_of.insert(key, self.column(key.0, length));
        }
        for (index, &(from, to)) in ends.iter().enumerate() {
            let reversed = reversed[index];
            if from == to {
                self.tracks.push(Track::Loop);
                continue;
            }
            let track = match (self.layer[to] - self.layer[from] - 1, first_of.get(&key(index))) {
                (0, _) => {
                    self.connect(number(from), number(to));
                    Track::Column { reversed, first: 0, length: 0 }
                }
                (length, Some(first)) => {
                    self.connect(first + length - 1, number(to));
                    Track::Column { reversed, first: *first, length }
                }
                (_, None) => Track::Margin { reversed },
            };
            self.tracks.push(track);
        }
    }

    /// Makes a column of dummies below a box and returns the first of them.
    fn column(&mut self, from: usize, length: u32) -> u32 {
        let first = number(self.layer.len());
        for step in 0..length {
            let dummy = number(self.layer.len());
            self.layer.push(self.layer[from] + 1 + step);
            self.width.push(COLUMN_GAP);
            self.below.push(Vec::new());
            self.above.push(Vec::new());
            self.connect(if step == 0 { number(from) } else { dummy - 1 }, dummy);
        }
        first
    }

    fn connect(&mut self, upper: u32, lower: u32) {
        self.below[upper as usize].push(lower);
        self.above[lower as usize].push(upper);
    }

    /// Puts the vertices into their rows as a walk from the first boxes downward meets them, so that what belongs together begins
    /// together.
    fn fill_rows(&mut self) {
        let mut seen = vec![false; self.layer.len()];
        let mut stack = Vec::new();
        for start in 0..self.boxes {
            if !self.above[start].is_empty() {
                continue;
            }
            stack.push(number(start));
            while let Some(vertex) = stack.pop() {
                if std::mem::replace(&mut seen[vertex as usize], true) {
                    continue;
                }
                self.rows[self.layer[vertex as usize] as usize].push(vertex);
                stack.extend(self.below[vertex as usize].iter().rev().filter(|next| !seen[**next as usize]));
            }
        }
    }
}

/// Vertices are numbered by `u32`: there are fewer than four thousand million.
pub(super) fn number(vertex: usize) -> u32 {
    u32::try_from(vertex).unwrap_or(u32::MAX)
}

/// Says for each link whether it closes a cycle, in the order in which a walk in depth meets them.
fn back_edges(boxes: usize, links: &[Link]) -> Vec<bool> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut outgoing = vec![Vec::new(); boxes];
    for (index, link) in links.iter().enumerate() {
        outgoing[link.from].push(index);
    }
    let mut reversed = vec![false; links.len()];
    let mut marks = vec![Mark::New; boxes];
    for start in 0..boxes {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        let mut stack = vec![(start, 0)];
        while let Some((vertex, next)) = stack.last_mut() {
            let Some(&index) = outgoing[*vertex].get(*next) else {
                marks[*vertex] = Mark::Done;
                stack.pop();
                continue;
            };
            *next += 1;
            let to = links[index].to;
            match marks[to] {
                Mark::Open => reversed[index] = true,
                Mark::New => {
                    marks[to] = Mark::Open;
                    stack.push((to, 0));
                }
                Mark::Done => {}
            }
        }
    }
    reversed
}

/// Returns for each box how many boxes the longest chain above it has.
fn longest_paths(boxes: usize, ends: &[(usize, usize)]) -> Vec<u32> {
    let mut below = vec![Vec::new(); boxes];
    let mut waits_for = vec![0_u32; boxes];
    for &(from, to) in ends {
        if from != to {
            below[from].push(to);
            waits_for[to] += 1;
        }
    }
    let mut layer = vec![0_u32; boxes];
    let mut ready: Vec<usize> = (0..boxes).filter(|vertex| waits_for[*vertex] == 0).collect();
    while let Some(vertex) = ready.pop() {
        for &next in &below[vertex] {
            layer[next] = layer[next].max(layer[vertex] + 1);
            waits_for[next] -= 1;
            if waits_for[next] == 0 {
                ready.push(next);
            }
        }
    }
    layer
}
