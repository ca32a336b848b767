//! Order: sweeps that put every vertex near the middle of its neighbours, and keep the best order met.

use super::layers::Layered;

/// Sweeps for graphs of up to so many vertices and edges; larger ones get fewer, so that the work stays linear.
const SWEEPS: [(usize, usize); 3] = [(2_000, 24), (20_000, 10), (usize::MAX, 4)];
/// Up to so many vertices and edges, neighbours are also exchanged where that helps.
const EXCHANGED: usize = 2_000;

/// Orders the rows so that few edges cross.
pub(super) fn reduce_crossings(layered: &mut Layered) {
    let size = layered.layer.len() + layered.below.iter().map(Vec::len).sum::<usize>();
    let sweeps = SWEEPS.iter().find(|(limit, _)| size <= *limit).map_or(1, |(_, sweeps)| *sweeps);
    let mut position = positions(layered);
    let mut best = layered.rows.clone();
    let mut least = crossings(layered, &position);
    for sweep in 0..sweeps {
        if least == 0 {
            break;
        }
        let downward = sweep % 2 == 0;
        let count = layered.rows.len();
        for step in 1..count {
            let row = if downward { step } else { count - 1 - step };
            sort_row(layered, row, downward, &mut position);
        }
        if size <= EXCHANGED {
            exchange_neighbours(layered, &mut position);
        }
        let now = crossings(layered, &position);
        if now < least {
            least = now;
            best.clone_from(&layered.rows);
        }
    }
    layered.rows = best;
}

/// Returns the place of each vertex in its row.
pub(super) fn positions(layered: &Layered) -> Vec<u32> {
    let mut position = vec![0; layered.layer.len()];
    for row in &layered.rows {
        for (place, vertex) in (0..).zip(row) {
            position[*vertex as usize] = place;
        }
    }
    position
}

/// Sorts a row by the middles of its neighbours in the row before; what has none keeps its place.
fn sort_row(layered: &mut Layered, row: usize, downward: bool, position: &mut [u32]) {
    let sides = if downward { &layered.above } else { &layered.below };
    let vertices = &mut layered.rows[row];
    let mut movable: Vec<(f64, u32)> = Vec::with_capacity(vertices.len());
    let mut places = Vec::with_capacity(vertices.len());
    for (place, &vertex) in vertices.iter().enumerate() {
        if let Some(middle) = middle(&sides[vertex as usize], position) {
            movable.push((middle, vertex));
            places.push(place);
        }
    }
    // Stable, so that equal ones keep their order.
    movable.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    for (place, (_, vertex)) in places.into_iter().zip(movable) {
        vertices[place] = vertex;
    }
    for (place, vertex) in (0..).zip(vertices.iter()) {
        position[*vertex as usize] = place;
    }
}

fn middle(neighbours: &[u32], position: &[u32]) -> Option<f64> {
    let sum: u64 = neighbours.iter().map(|neighbour| u64::from(position[*neighbour as usize])).sum();
    (!neighbours.is_empty()).then(|| sum as f64 / neighbours.len() as f64)
}

/// Exchanges neighbours in a row wherever that takes crossings away.
fn exchange_neighbours(layered: &mut Layered, position: &mut [u32]) {
    for row in 0..layered.rows.len() {
        for place in 1..layered.rows[row].len() {
            let (left, right) = (layered.rows[row][place - 1], layered.rows[row][place]);
            let gain: i64 = [&layered.above, &layered.below]
                .into_iter()
                .map(|sides| {
                    let (a, b) = (&sides[left as usize], &sides[right as usize]);
                    inversions(a, b, position) - inversions(b, a, position)
                })
                .sum();
            if gain > 0 {
                layered.rows[row].swap(place - 1, place);
                position.swap(left as usize, right as usize);
            }
        }
    }
}

/// Counts the pairs of edges that cross if the owner of `left` stands left of that of `right`.
fn inversions(left: &[u32], right: &[u32], position: &[u32]) -> i64 {
    let mut rights: Vec<u32> = right.iter().map(|vertex| position[*vertex as usize]).collect();
    rights.sort_unstable();
    left.iter().map(|vertex| rights.partition_point(|other| *other < position[*vertex as usize]) as i64).sum()
}

/// Counts all crossings, with one Fenwick tree per pair of rows.
fn crossings(layered: &Layered, position: &[u32]) -> u64 {
    let mut count = 0;
    let mut tree = Vec::new();
    let mut ends = Vec::new();
    for rows in layered.rows.windows(2) {
        let width = rows[1].len();
        tree.clear();
        tree.resize(width + 1, 0_u64);
        let mut seen = 0;
        for vertex in &rows[0] {
            ends.clear();
            ends.extend(layered.below[*vertex as usize].iter().map(|below| position[*below as usize] as usize));
            for &end in &ends {
                // Those before that end further right.
                count += seen - prefix(&tree, end + 1);
            }
            for &end in &ends {
                let mut index = end + 1;
                while index <= width {
                    tree[index] += 1;
                    index += index & index.wrapping_neg();
                }
                seen += 1;
            }
        }
    }
    count
}

fn prefix(tree: &[u64], end: usize) -> u64 {
    let mut sum = 0;
    let mut index = end;
    while index > 0 {
        sum += tree[index];
        index &= index - 1;
    }
    sum
}
