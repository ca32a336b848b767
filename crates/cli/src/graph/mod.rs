//! The graph of a workflow, and drawings of it: Mermaid, DOT and SVG.
//!
//! [`Graph`] is what is drawn: steps, the edges between them, and the steps inside of composites, each of which can be open or
//! closed. A step may carry a status, for the graph of an execution. [`mermaid`](mermaid::draw) and [`dot`](dot::draw) leave the
//! layout to others; [`svg`](svg::draw) lays out itself, by [`Drawing`] and [`layout`].
//!
//! The same graph is always drawn with the same bytes.

pub mod dot;
mod drawing;
mod from_workflow;
pub mod layout;
mod measure;
pub mod mermaid;
mod model;
mod status;
pub mod svg;

pub use self::{
    drawing::{Drawing, NodeDrawing, ScopeDrawing},
    model::{Edge, EdgeKind, Graph, GraphBody, Node, Scope},
    status::Tally,
};
