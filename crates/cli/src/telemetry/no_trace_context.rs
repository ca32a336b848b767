//! Without export no trace goes on elsewhere.

/// Names no span.
pub(crate) fn traceparent() -> Option<String> {
    None
}
