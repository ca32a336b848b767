//! Places: the method of Brandes and Köpf.
//!
//! Vertices are aligned with the middle of their neighbours into vertical blocks, the columns of long edges before all else, and
//! the blocks are pushed together. That is done four times, from each corner; every vertex stands between the two middle
//! results. Each result keeps the distances, hence so does what is between them.

use super::{
    BOX_GAP, COLUMN_GAP,
    layers::{Layered, number},
    order::positions,
};

/// Returns the middle of every vertex, from left to right; the leftmost side of all is at 0.
pub(super) fn middles(layered: &Layered) -> Vec<i32> {
    let count = layered.layer.len();
    let position = positions(layered);
    let conflicts = conflicts(layered, &position);
    let mut results = Vec::with_capacity(4);
    for downward in [true, false] {
        for leftward in [true, false] {
            let view = View { layered, position: &position, conflicts: &conflicts, downward, leftward };
            let root = view.align();
            let middles = view.compact(&root);
            results.push((leftward, middles));
        }
    }
    let bounds = |middles: &[i32]| {
        let left = (0..count).map(|vertex| middles[vertex] - layered.width[vertex] / 2).min().unwrap_or(0);
        let right = (0..count).map(|vertex| middles[vertex] + layered.width[vertex] / 2).max().unwrap_or(0);
        (left, right)
    };
    // All are moved to where the narrowest one ends on the side that they were pushed to.
    let (left, right) =
        results.iter().map(|(_, middles)| bounds(middles)).min_by_key(|(left, right)| right - left).unwrap_or((0, 0));
    for (leftward, middles) in &mut results {
        let own = bounds(middles);
        let shift = if *leftward { left - own.0 } else { right - own.1 };
        for middle in middles {
            *middle += shift;
        }
    }
    let mut middles: Vec<i32> = (0..count)
        .map(|vertex| {
            let mut four = [0; 4];
            for (place, (_, middles)) in four.iter_mut().zip(&results) {
                *place = middles[vertex];
            }
            four.sort_unstable();
            (four[1] + four[2]).div_euclid(2)
        })
        .collect();
    let (left, _) = bounds(&middles);
    for middle in &mut middles {
        *middle -= left;
    }
    middles
}

/// The edges that give way: those that cross a column of a long edge. Each is named by its lower end and which of its upper
/// neighbours it leads to.
fn conflicts(layered: &Layered, position: &[u32]) -> Vec<Vec<bool>> {
    let mut marked: Vec<Vec<bool>> = layered.above.iter().map(|above| vec![false; above.len()]).collect();
    let column = |vertex: u32| {
        let above = layered.above[vertex as usize].iter().find(|above| layered.is_dummy(**above));
        above.copied().filter(|_| layered.is_dummy(vertex))
    };
    for rows in layered.rows.windows(2) {
        let upper_width = number(rows[0].len());
        let lower = &rows[1];
        let mut from = 0;
        let mut left = 0;
        for place in 0..lower.len() {
            let above = column(lower[place]);
            if above.is_none() && place + 1 < lower.len() {
                continue;
            }
            let right = above.map_or(upper_width, |above| position[above as usize]);
            for &vertex in &lower[from..=place] {
                for (index, upper) in layered.above[vertex as usize].iter().enumerate() {
                    let at = position[*upper as usize];
                    let inner = layered.is_dummy(vertex) && layered.is_dummy(*upper);
                    if (at < left || at > right) && !inner {
                        marked[vertex as usize][index] = true;
                    }
                }
            }
            from = place + 1;
            left = right;
        }
    }
    marked
}

/// The graph as seen from one of its corners.
struct View<'a> {
    layered: &'a Layered,
    position: &'a [u32],
    conflicts: &'a [Vec<bool>],
    /// Whether rows are gone through from the top.
    downward: bool,
    /// Whether everything is pushed to the left.
    leftward: bool,
}

impl View<'_> {
    /// Returns for each vertex the first one of its block.
    fn align(&self) -> Vec<u32> {
        let count = self.layered.layer.len();
        let mut root: Vec<u32> = (0..number(count)).collect();
        let rows = self.layered.rows.len();
        for step in 1..rows {
            let row = &self.layered.rows[if self.downward { step } else { rows - 1 - step }];
            // The place of the last neighbour that was aligned with, from the side that is pushed to.
            let mut last: Option<u32> = None;
            for place in 0..row.len() {
                let vertex = row[if self.leftward { place } else { row.len() - 1 - place }];
                for neighbour in self.medians(vertex) {
                    let at = self.position[neighbour as usize];
                    let is_free = last.is_none_or(|last| if self.leftward { at > last } else { at < last });
                    if is_free && !self.gives_way(vertex, neighbour) {
                        root[vertex as usize] = root[neighbour as usize];
                        last = Some(at);
                        break;
                    }
                }
            }
        }
        root
    }

    /// Returns the one or two middle neighbours in the row before, the one on the side that is pushed to first.
    fn medians(&self, vertex: u32) -> impl Iterator<Item = u32> {
        let sides = if self.downward { &self.layered.above } else { &self.layered.below };
        let mut neighbours = sides[vertex as usize].clone();
        neighbours.sort_unstable_by_key(|neighbour| self.position[*neighbour as usize]);
        if !self.leftward {
            neighbours.reverse();
        }
        let (first, last) = (neighbours.len().saturating_sub(1) / 2, neighbours.len() / 2);
        let second = if first == last { None } else { neighbours.get(last).copied() };
        neighbours.get(first).copied().into_iter().chain(second)
    }

    fn gives_way(&self, vertex: u32, neighbour: u32) -> bool {
        let (lower, upper) = if self.downward { (vertex, neighbour) } else { (neighbour, vertex) };
        let above = &self.layered.above[lower as usize];
        above.binary_search(&upper).is_ok_and(|index| self.conflicts[lower as usize][index])
    }

    /// Pushes the blocks together and returns the middle of every vertex.
    fn compact(&self, root: &[u32]) -> Vec<i32> {
        let count = root.len();
        // From each block to those beside it on the far side, and how far away they must be.
        let mut beyond: Vec<Vec<(u32, i32)>> = vec![Vec::new(); count];
        let mut waits_for = vec![0_u32; count];
        for row in &self.layered.rows {
            for pair in row.windows(2) {
                let (near, far) = if self.leftward { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
                let (near_root, far_root) = (root[near as usize], root[far as usize]);
                beyond[near_root as usize].push((far_root, self.distance(near, far)));
                waits_for[far_root as usize] += 1;
            }
        }
        let mut order: Vec<u32> =
            (0..number(count)).filter(|v| root[*v as usize] == *v && waits_for[*v as usize] == 0).collect();
        let mut place = vec![0_i32; count];
        let mut next = 0;
        while let Some(&block) = order.get(next) {
            next += 1;
            for &(far, distance) in &beyond[block as usize] {
                place[far as usize] = place[far as usize].max(place[block as usize] + distance);
                waits_for[far as usize] -= 1;
                if waits_for[far as usize] == 0 {
                    order.push(far);
                }
            }
        }
        // Blocks that could stand nearer to what is beyond them do.
        for &block in order.iter().rev() {
            let room = beyond[block as usize].iter().map(|(far, distance)| place[*far as usize] - distance).min();
            if let Some(room) = room {
                place[block as usize] = place[block as usize].max(room);
            }
        }
        let sign = if self.leftward { 1 } else { -1 };
        root.iter().map(|root| sign * place[*root as usize]).collect()
    }

    /// The least distance between the middles of two neighbours.
    fn distance(&self, left: u32, right: u32) -> i32 {
        let dummies = i32::from(self.layered.is_dummy(left)) + i32::from(self.layered.is_dummy(right));
        let gap = [BOX_GAP, COLUMN_GAP / 2, 0][dummies as usize];
        self.layered.width[left as usize] / 2 + gap + self.layered.width[right as usize] / 2
    }
}
