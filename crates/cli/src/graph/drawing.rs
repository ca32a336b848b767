//! A graph with a place for everything: each composite is arranged by itself and is one box outside.

use super::{
    EdgeKind, Graph, Node, Scope,
    layout::{Link, Point, Rect, Size, arrange},
    measure::text_width,
};

/// The size of the first line of a step, in pixels.
pub(super) const LABEL_SIZE: i32 = 13;
/// The size of everything else.
pub(super) const DETAIL_SIZE: i32 = 11;
/// The space between the frame of a step and its text.
pub(super) const PADDING: i32 = 12;
/// The space that the sign of a status takes.
pub(super) const SIGN: i32 = 20;
/// The height of the line at the top of an open composite.
pub(super) const HEADER: i32 = 32;
/// The height of the line above a case.
pub(super) const CASE_HEADER: i32 = 22;

const STEP_HEIGHT: i32 = 46;
const VISITS_HEIGHT: i32 = 18;
const MIN_WIDTH: i32 = 104;
const MAX_WIDTH: i32 = 264;
const INSET: i32 = 14;
const MARGIN: i32 = 16;
const NOTHING: Size = Size { width: 72, height: 24 };

/// Where everything of a graph stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// How much room it takes, a margin included.
    pub size: Size,
    /// The workflow's own steps.
    pub steps: ScopeDrawing,
}

/// Where the steps and edges of one list stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeDrawing {
    /// The frame around all of it, the name of a case included.
    pub area: Rect,
    /// The steps, as in the [`Scope`].
    pub nodes: Vec<NodeDrawing>,
    /// The corners of the edges, as in the [`Scope`].
    pub routes: Vec<Vec<Point>>,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDrawing {
    /// Its frame.
    pub area: Rect,
    /// The steps inside, if they are drawn.
    pub scopes: Vec<ScopeDrawing>,
}

impl Drawing {
    /// Lays out a graph.
    #[must_use]
    pub fn new(graph: &Graph) -> Self {
        let mut steps = scope(&graph.steps);
        steps.shift(MARGIN, MARGIN);
        let size = Size { width: steps.area.right() + MARGIN, height: steps.area.bottom() + MARGIN };
        Self { size, steps }
    }
}

impl ScopeDrawing {
    fn shift(&mut self, x: i32, y: i32) {
        self.area.shift(x, y);
        for node in &mut self.nodes {
            node.area.shift(x, y);
            for scope in &mut node.scopes {
                scope.shift(x, y);
            }
        }
        for corner in self.routes.iter_mut().flatten() {
            corner.x += x;
            corner.y += y;
        }
    }
}

fn scope(scope: &Scope) -> ScopeDrawing {
    let mut nodes: Vec<NodeDrawing> = scope.nodes.iter().map(node).collect();
    let sizes: Vec<Size> = nodes.iter().map(|node| Size { width: node.area.width, height: node.area.height }).collect();
    let links: Vec<Link> = scope
        .edges
        .iter()
        .map(|edge| {
            // Data and order look alike but for their colour; a fallback is quite another thing.
            let class = match edge.kind {
                EdgeKind::Data => 0,
                EdgeKind::Order => 1,
                EdgeKind::Soft => 2,
                EdgeKind::Fallback => 3,
            };
            Link { from: edge.from, to: edge.to, class }
        })
        .collect();
    let arrangement = arrange(&sizes, &links);
    for (node, place) in nodes.iter_mut().zip(&arrangement.boxes) {
        for inner in &mut node.scopes {
            inner.shift(place.x, place.y);
        }
        node.area = *place;
    }
    let size = if nodes.is_empty() { NOTHING } else { arrangement.size };
    let mut drawing = ScopeDrawing {
        area: Rect { x: 0, y: 0, width: size.width, height: size.height },
        nodes,
        routes: arrangement.routes,
    };
    if let Some(name) = &scope.name {
        // A case has a frame of its own with its name on top.
        let least = text_width(name, DETAIL_SIZE) + 2 * INSET;
        drawing.shift(INSET + (least - size.width - 2 * INSET).max(0) / 2, CASE_HEADER);
        let width = (size.width + 2 * INSET).max(least);
        drawing.area = Rect { x: 0, y: 0, width, height: CASE_HEADER + size.height + INSET };
    }
    drawing
}

fn node(node: &Node) -> NodeDrawing {
    if !node.is_group() {
        let visits = if node.visits.total() > 1 { VISITS_HEIGHT } else { 0 };
        let text = text_width(&node.id, LABEL_SIZE)
            .max(text_width(&lower_line(node), DETAIL_SIZE))
            .max(if visits > 0 { text_width(&node.progress(), DETAIL_SIZE) } else { 0 });
        let width = (text + 2 * PADDING + sign_width(node)).clamp(MIN_WIDTH, MAX_WIDTH);
        let area = Rect { x: 0, y: 0, width, height: STEP_HEIGHT + visits };
        return NodeDrawing { area, scopes: Vec::new() };
    }
    let mut scopes: Vec<ScopeDrawing> = node.scopes.iter().map(scope).collect();
    let mut x = INSET;
    let mut bottom = 0;
    for inner in &mut scopes {
        inner.shift(x, HEADER);
        x = inner.area.right() + INSET;
        bottom = bottom.max(inner.area.bottom());
    }
    let header = text_width(&node.id, LABEL_SIZE) + PADDING + text_width(&node.kind_and_detail(), DETAIL_SIZE);
    let width = x.max((header + 2 * PADDING + sign_width(node)).min(MAX_WIDTH));
    let extra = (width - x) / 2;
    for inner in &mut scopes {
        inner.shift(extra, 0);
    }
    NodeDrawing { area: Rect { x: 0, y: 0, width, height: bottom + INSET }, scopes }
}

/// Returns the second line of a step.
pub(super) fn lower_line(node: &Node) -> String {
    let text = node.kind_and_detail();
    match node.steps_inside() {
        0 => text,
        1 => format!("{text} · 1 step"),
        more => format!("{text} · {more} steps"),
    }
}

/// Returns the room that the sign of the status takes, where there is one.
pub(super) fn sign_width(node: &Node) -> i32 {
    if node.status.is_some() { SIGN } else { 0 }
}
