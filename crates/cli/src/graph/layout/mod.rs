//! Layered layout: boxes in rows, edges downward, nothing on top of anything else.
//!
//! The method is that of Sugiyama, Tagawa and Toda: give every box a layer, order each layer so that few edges cross, place the
//! boxes of each layer so that long edges run straight, and bend edges only in the gaps between layers. Whatever spans several
//! layers occupies a column of its own in those between, so no edge runs through a box.
//!
//! Only sizes and edges go in, and the same ones always give the same places: nothing depends on the order of a hash table, on
//! time or on chance. All stages are linear in boxes, edges and the columns of long edges, up to a logarithm; the columns are
//! bounded, and edges too long for them run along the right margin.
//!
//! ```
//! use orchestr8_cli::graph::layout::{Link, Size, arrange};
//!
//! let sizes = [Size { width: 100, height: 40 }; 3];
//! let links = [Link::new(0, 1), Link::new(0, 2), Link::new(1, 2)];
//! let layout = arrange(&sizes, &links);
//! assert!(layout.boxes[0].bottom() < layout.boxes[1].y);
//! assert!(layout.boxes[1].bottom() < layout.boxes[2].y);
//! assert_eq!(layout.routes.len(), 3);
//! ```

mod layers;
mod order;
mod place;
mod route;

use self::layers::Layered;

/// The least space between two boxes of a row.
pub(crate) const BOX_GAP: i32 = 28;
/// The width that the column of a long edge occupies, its surroundings included.
pub(crate) const COLUMN_GAP: i32 = 16;
/// The least space between two rows, in which edges bend.
pub(crate) const ROW_GAP: i32 = 34;

/// How large a box is, in pixels. Odd widths are rounded up, so that every box has a middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// From left to right.
    pub width: i32,
    /// From top to bottom.
    pub height: i32,
}

/// An edge between two boxes, which are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The upper box.
    pub from: usize,
    /// The lower box.
    pub to: usize,
    /// Long edges that leave one box may share a column if they are of the same class.
    pub class: u8,
}

impl Link {
    /// Makes an edge of class 0.
    #[must_use]
    pub fn new(from: usize, to: usize) -> Self {
        Self { from, to, class: 0 }
    }
}

/// A box with its place; x grows to the right, y downward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// The left side.
    pub x: i32,
    /// The upper side.
    pub y: i32,
    /// From left to right.
    pub width: i32,
    /// From top to bottom.
    pub height: i32,
}

impl Rect {
    /// Returns the right side.
    #[must_use]
    pub fn right(&self) -> i32 {
        self.x + self.width
    }

    /// Returns the lower side.
    #[must_use]
    pub fn bottom(&self) -> i32 {
        self.y + self.height
    }

    /// Returns the middle between left and right.
    #[must_use]
    pub fn middle(&self) -> i32 {
        self.x + self.width / 2
    }

    /// Whether two boxes share any area.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }

    /// Whether another box lies inside.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.x <= other.x && self.y <= other.y && other.right() <= self.right() && other.bottom() <= self.bottom()
    }

    pub(crate) fn shift(&mut self, x: i32, y: i32) {
        self.x += x;
        self.y += y;
    }
}

/// A point of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// From the left.
    pub x: i32,
    /// From the top.
    pub y: i32,
}

/// Where everything stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrangement {
    /// The boxes, in the order in which they were given.
    pub boxes: Vec<Rect>,
    /// For each edge its corners, from the lower side of one box to the upper side of the other; between two corners of different x
    /// an edge is meant to be bent. An edge from a box to itself has none.
    pub routes: Vec<Vec<Point>>,
    /// How much room all of it takes.
    pub size: Size,
}

/// Arranges boxes so that edges lead downward. Of edges that form a cycle, one leads upward.
///
/// # Panics
///
/// When an edge names a box that is not there.
#[must_use]
pub fn arrange(sizes: &[Size], links: &[Link]) -> Arrangement {
    let sizes: Vec<Size> =
        sizes.iter().map(|size| Size { width: (size.width + 1) / 2 * 2, height: size.height }).collect();
    let mut layered = Layered::new(&sizes, links);
    order::reduce_crossings(&mut layered);
    let middles = place::middles(&layered);
    route::assemble(&layered, &sizes, links, &middles)
}
