//! Rows become heights, and links become corners.

use super::{
    Arrangement, COLUMN_GAP, Link, Point, ROW_GAP, Rect, Size,
    layers::{Layered, Track},
};

/// How much of the widest bend of a gap its height grows by, and how far.
const BEND_SHARE: i32 = 10;
const MAX_ROW_GAP: i32 = 90;
/// How many links run side by side along the margin before they share a lane.
const MAX_LANES: usize = 64;

/// Puts boxes and links to their places.
pub(super) fn assemble(layered: &Layered, sizes: &[Size], links: &[Link], middles: &[i32]) -> Arrangement {
    let rows = row_bands(layered, sizes, middles);
    let boxes: Vec<Rect> = sizes
        .iter()
        .zip(middles)
        .zip(&layered.layer)
        .map(|((size, middle), layer)| Rect {
            x: middle - size.width / 2,
            y: rows[*layer as usize].0,
            width: size.width,
            height: size.height,
        })
        .collect();
    let mut width = boxes.iter().map(Rect::right).max().unwrap_or(0);
    width = width.max(middles[layered.boxes..].iter().map(|middle| middle + COLUMN_GAP / 2).max().unwrap_or(0));
    let height = rows.last().map_or(0, |(_, bottom)| *bottom);
    let mut margin = Margin { left: width, lanes: Vec::new() };
    let mut routes = Vec::with_capacity(links.len());
    for (link, track) in links.iter().zip(&layered.tracks) {
        let (Track::Column { reversed, .. } | Track::Margin { reversed }) = track else {
            routes.push(Vec::new());
            continue;
        };
        let (upper, lower) = if *reversed { (link.to, link.from) } else { (link.from, link.to) };
        let (from, to) = (layered.layer[upper] as usize, layered.layer[lower] as usize);
        let mut corners = vec![
            Point { x: boxes[upper].middle(), y: boxes[upper].bottom() },
            Point { x: boxes[upper].middle(), y: rows[from].1 },
        ];
        match track {
            Track::Column { first, length, .. } => {
                for step in 0..*length {
                    let x = middles[(first + step) as usize];
                    let (top, bottom) = rows[from + 1 + step as usize];
                    corners.extend([Point { x, y: top }, Point { x, y: bottom }]);
                }
            }
            _ => {
                let x = margin.lane(link.from, from, to);
                corners.extend([Point { x, y: rows[from + 1].0 }, Point { x, y: rows[to - 1].1 }]);
            }
        }
        corners.push(Point { x: boxes[lower].middle(), y: rows[to].0 });
        straighten(&mut corners);
        if *reversed {
            corners.reverse();
        }
        routes.push(corners);
    }
    let width = width + i32::try_from(margin.lanes.len()).unwrap_or(0) * COLUMN_GAP;
    Arrangement { boxes, routes, size: Size { width, height } }
}

/// Returns the upper and the lower side of each row.
fn row_bands(layered: &Layered, sizes: &[Size], middles: &[i32]) -> Vec<(i32, i32)> {
    let mut bands = Vec::with_capacity(layered.rows.len());
    let mut top = 0;
    for row in &layered.rows {
        let height = row.iter().filter_map(|vertex| sizes.get(*vertex as usize)).map(|size| size.height).max();
        let bottom = top + height.unwrap_or(0);
        bands.push((top, bottom));
        let bends = row.iter().flat_map(|vertex| {
            let below = &layered.below[*vertex as usize];
            below.iter().map(|lower| (middles[*lower as usize] - middles[*vertex as usize]).abs())
        });
        top = bottom + (ROW_GAP + bends.max().unwrap_or(0) / BEND_SHARE).min(MAX_ROW_GAP);
    }
    bands
}

/// Removes corners at which nothing turns.
fn straighten(corners: &mut Vec<Point>) {
    corners.dedup();
    let mut kept: Vec<Point> = Vec::with_capacity(corners.len());
    for corner in corners.drain(..) {
        if let [.., before, last] = &*kept
            && before.x == last.x
            && last.x == corner.x
        {
            kept.pop();
        }
        kept.push(corner);
    }
    *corners = kept;
}

/// The lanes beside all boxes.
struct Margin {
    left: i32,
    /// For each lane, who runs in it and the row that it is free from.
    lanes: Vec<(usize, usize)>,
}

impl Margin {
    /// Finds a lane between two rows and returns its place. Links that leave one box share one.
    fn lane(&mut self, owner: usize, from: usize, to: usize) -> i32 {
        let free = self.lanes.iter().position(|(other, end)| *other == owner || *end <= from);
        let lane = match free {
            Some(lane) => lane,
            None if self.lanes.len() < MAX_LANES => {
                self.lanes.push((owner, 0));
                self.lanes.len() - 1
            }
            None => owner % MAX_LANES,
        };
        let end = self.lanes[lane].1.max(to);
        self.lanes[lane] = (owner, end);
        self.left + COLUMN_GAP / 2 + i32::try_from(lane).unwrap_or(0) * COLUMN_GAP
    }
}
