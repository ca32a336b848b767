//! Places in a workflow: step paths without items and iterations.

use orchestr8_schema::{StepPath, test_file::StepPattern};

/// Returns the place of a step instance: `reviews[3].score` is at `reviews.score`.
pub(crate) fn static_path(path: &StepPath) -> String {
    let text = path.as_str();
    if !text.contains(['[', '#']) {
        return text.to_owned();
    }
    // A step path is a pattern that fits nothing but itself.
    text.parse().map_or_else(|_| text.to_owned(), |pattern: StepPattern| place_of(&pattern))
}

/// Returns the place that a pattern is about.
pub(crate) fn place_of(pattern: &StepPattern) -> String {
    pattern.steps().collect::<Vec<_>>().join(".")
}
