//! YAML, twice: fast and without positions, or whole and with them.

mod block;
mod located;
mod scalar;

use super::{Document, Limits, position::Tree};
use crate::Diagnostic;

/// Parses YAML 1.2, core schema.
pub(super) fn parse<'t>(text: &'t str, limits: &Limits) -> Result<Document<'t>, Diagnostic> {
    match block::parse(text, limits) {
        Some(value) => Ok(Document { text, value, duplicates: Vec::new(), tree: None }),
        None => located::parse(text, limits),
    }
}

/// Returns where everything stands in a document that has been accepted, be it JSON or YAML.
pub(super) fn locate(text: &str) -> Option<Tree> {
    let limits = Limits { text: usize::MAX, depth: Limits::MAX_DEPTH, nodes: usize::MAX, steps: usize::MAX };
    located::parse(text, &limits).ok()?.tree
}
