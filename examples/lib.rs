//! Runnable examples of orchestr8; one file per concept.

/// What the book says of embedding, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/src/embedding.md")]
pub struct Embedding;
