//! See `tests/half_open.rs`.
