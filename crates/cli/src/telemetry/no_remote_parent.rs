//! Stands in for traces in a program built without them.

/// Does nothing: without export no span has an identity in a trace.
pub(crate) fn continue_trace(_: &tracing::Span, _: Option<&str>, _: Option<&str>) {}
