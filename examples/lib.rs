//! Runnable examples of orchestr8; one file per concept.

/// What the README shows, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// What the book says of embedding, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/src/embedding.md")]
pub struct Embedding;
