//! See `tests/defects.rs`.
