//! SVG: a drawing that needs no other program, in light and dark.
//!
//! Every step is a group of class `step` with `data-path`, `data-kind` and, where it has one, `data-status`, and with a title that
//! says all of that in words; every edge is a group of class `edge` with `data-from` and `data-to`. What it looks like is said by
//! [`STYLE`], in custom properties (`--o8-…`) that a page may set. No attribute holds a style, so that a page's policy may forbid
//! those.

use std::fmt::Write as _;

use orchestr8_schema::api::StepStatus;

use super::{
    Drawing, Graph, Node, NodeDrawing, Scope, ScopeDrawing,
    drawing::{CASE_HEADER, DETAIL_SIZE, HEADER, LABEL_SIZE, PADDING, SIGN, lower_line, sign_width},
    layout::{Point, Rect},
    measure::{fit, text_width},
};
use crate::xml::escaped;

/// The style sheet of a drawing.
pub const STYLE: &str = include_str!("graph.css");

/// Where the style of a drawing comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// The drawing brings [`STYLE`] along and paints its own ground, as a file must.
    #[default]
    Embedded,
    /// The page around it has it.
    FromPage,
}

/// Draws a graph.
#[must_use]
pub fn draw(graph: &Graph, style: Style) -> String {
    let drawing = Drawing::new(graph);
    let (width, height) = (drawing.size.width, drawing.size.height);
    let title = escaped(&graph.title);
    let mut out = String::with_capacity(1024 + 600 * graph.drawn());
    push(
        &mut out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"o8-graph\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"graphics-document\" aria-label=\"{title}\">\n<title>{title}</title>\n"
        ),
    );
    if style == Style::Embedded {
        push(&mut out, format_args!("<style>\n{STYLE}</style>\n"));
        push(&mut out, format_args!("<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n"));
    }
    scope(&mut out, &graph.steps, &drawing.steps);
    out.push_str("</svg>\n");
    out
}

/// Draws the edges first, so that steps lie above them.
fn scope(out: &mut String, scope: &Scope, drawing: &ScopeDrawing) {
    for (edge, route) in scope.edges.iter().zip(&drawing.routes) {
        let (from, to) = (&scope.nodes[edge.from], &scope.nodes[edge.to]);
        let Some(arrow) = arrow(route) else { continue };
        push(
            out,
            format_args!(
                "<g class=\"edge {}\" data-from=\"{}\" data-to=\"{}\"><path d=\"{}\"/><path class=\"head\" d=\"{arrow}\"/></g>\n",
                edge.kind.as_str(),
                escaped(&from.path),
                escaped(&to.path),
                curve(route),
            ),
        );
    }
    for (node, drawing) in scope.nodes.iter().zip(&drawing.nodes) {
        self::node(out, node, drawing);
    }
}

fn node(out: &mut String, node: &Node, drawing: &NodeDrawing) {
    let area = drawing.area;
    let status = node.status.map_or_else(String::new, |status| format!(" data-status=\"{}\"", status.as_str()));
    let classes = match (node.is_group(), node.scopes.is_empty()) {
        (true, _) => "step group",
        (false, false) => "step closed",
        (false, true) => "step",
    };
    push(
        out,
        format_args!(
            "<g class=\"{classes}\" data-path=\"{}\" data-kind=\"{}\"{status} role=\"graphics-symbol\">\
             <title>{}</title>\n",
            escaped(&node.path),
            node.kind,
            escaped(&node.describe()),
        ),
    );
    // Something lies beneath what is closed.
    if !node.scopes.is_empty() && !node.is_group() {
        frame(out, "beneath", &Rect { x: area.x + 4, y: area.y + 4, ..area }, 7);
    }
    frame(out, "frame", &area, 7);
    if let Some(status) = node.status {
        let bar = Rect { x: area.x, y: area.y + 6, width: 3, height: area.height - 12 };
        frame(out, "bar", &bar, 1);
        sign(out, status, area.right() - PADDING - SIGN / 2 + 4, area.y + HEADER / 2);
    }
    if node.is_group() {
        header(out, node, &area);
        for (inner, place) in node.scopes.iter().zip(&drawing.scopes) {
            if let Some(name) = &inner.name {
                frame(out, "case", &place.area, 5);
                let name = fit(name, DETAIL_SIZE, place.area.width - 2 * PADDING);
                text(out, "detail", place.area.x + PADDING, place.area.y + CASE_HEADER - 7, &name);
            }
            if inner.nodes.is_empty() {
                text(out, "detail", place.area.x + PADDING, place.area.bottom() - 12, "nothing");
            }
            scope(out, inner, place);
        }
    } else {
        let room = area.width - 2 * PADDING;
        text(out, "label", area.x + PADDING, area.y + 20, &fit(&node.id, LABEL_SIZE, room - sign_width(node)));
        text(out, "detail", area.x + PADDING, area.y + 36, &fit(&lower_line(node), DETAIL_SIZE, room));
        if node.visits.total() > 1 {
            text(out, "detail", area.x + PADDING, area.y + 52, &fit(&node.progress(), DETAIL_SIZE, room));
            strip(out, node, &area);
        }
    }
    out.push_str("</g>\n");
}

fn header(out: &mut String, node: &Node, area: &Rect) {
    let room = area.width - 2 * PADDING - sign_width(node);
    let label = fit(&node.id, LABEL_SIZE, room);
    let used = text_width(&label, LABEL_SIZE) + PADDING / 2;
    text(out, "label", area.x + PADDING, area.y + 20, &label);
    if room > used + 3 * DETAIL_SIZE {
        let detail = fit(&node.kind_and_detail(), DETAIL_SIZE, room - used);
        text(out, "detail", area.x + PADDING + used, area.y + 20, &detail);
    }
}

/// Draws how the visits of a step divide into statuses.
fn strip(out: &mut String, node: &Node, area: &Rect) {
    let (left, room) = (area.x + 8, i64::from(area.width - 16));
    let total = i64::from(node.visits.total());
    let mut before = 0;
    for (status, count) in node.visits.iter() {
        let count = i64::from(count);
        let start = before * room / total;
        let end = (before + count) * room / total;
        before += count;
        push(
            out,
            format_args!(
                "<rect class=\"share\" data-status=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"4\"/>",
                status.as_str(),
                i64::from(left) + start,
                area.bottom() - 7,
                // Even one of thousands shows.
                (end - start).max(2),
            ),
        );
    }
}

/// Draws a status as a sign, so that colour is never all that tells.
fn sign(out: &mut String, status: StepStatus, x: i32, y: i32) {
    let shape = match status {
        StepStatus::Pending => "<circle class=\"hollow\" r=\"5\"/>".to_owned(),
        StepStatus::Running => {
            "<circle class=\"hollow\" r=\"5.5\"/><path class=\"solid\" d=\"M-2-3.2 3.4 0-2 3.2Z\"/>".to_owned()
        }
        StepStatus::Waiting => {
            "<circle class=\"hollow\" r=\"5.5\"/><path class=\"line\" d=\"M0-3.2V0L2.4 1.6\"/>".to_owned()
        }
        StepStatus::Completed => {
            "<circle class=\"solid\" r=\"6.5\"/><path class=\"mark\" d=\"M-3 .2-.8 2.4 3.2-2.2\"/>".to_owned()
        }
        StepStatus::Failed => {
            "<circle class=\"solid\" r=\"6.5\"/><path class=\"mark\" d=\"M-2.5-2.5 2.5 2.5M2.5-2.5-2.5 2.5\"/>"
                .to_owned()
        }
        StepStatus::Skipped => {
            "<circle class=\"hollow\" r=\"5\"/><path class=\"line\" d=\"M-3.5 3.5 3.5-3.5\"/>".to_owned()
        }
        StepStatus::Cancelled => "<circle class=\"solid\" r=\"6.5\"/><path class=\"mark\" d=\"M-3 0H3\"/>".to_owned(),
    };
    push(out, format_args!("<g class=\"sign\" transform=\"translate({x} {y})\">{shape}</g>\n"));
}

fn frame(out: &mut String, class: &str, area: &Rect, radius: i32) {
    let Rect { x, y, width, height } = area;
    push(
        out,
        format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\"/>\n"
        ),
    );
}

fn text(out: &mut String, class: &str, x: i32, y: i32, text: &str) {
    push(out, format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>\n", escaped(text)));
}

/// The tip of an edge, which ends where the step begins.
fn arrow(route: &[Point]) -> Option<String> {
    let [.., before, end] = route else { return None };
    // Of cycles one edge leads upward.
    let side = if before.y <= end.y { -1 } else { 1 };
    let Point { x, y } = end;
    Some(format!("M{x} {y}l-4 {}h8z", 7 * side))
}

/// A line through the corners of an edge: straight where two stand above each other, an S between all others.
fn curve(route: &[Point]) -> String {
    let mut path = String::new();
    let count = route.len();
    let mut from = Point { x: 0, y: 0 };
    for (place, corner) in route.iter().enumerate() {
        let mut to = *corner;
        if place + 1 == count {
            // The tip covers the rest.
            to.y += if from.y <= to.y { -6 } else { 6 };
        }
        let Point { x, y } = to;
        if place == 0 {
            push(&mut path, format_args!("M{x} {y}"));
        } else if from.x == x {
            push(&mut path, format_args!("V{y}"));
        } else {
            let middle = from.y + (y - from.y) / 2;
            push(&mut path, format_args!("C{} {middle} {x} {middle} {x} {y}", from.x));
        }
        from = to;
    }
    path
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "a string takes everything");
}
