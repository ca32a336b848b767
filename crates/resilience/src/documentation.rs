//! Pages that belong to no type: [which layer for which problem](which_layer), and a [`comparison`] with others.

#[doc = include_str!("docs/comparison.md")]
pub mod comparison {}

#[doc = include_str!("docs/which_layer.md")]
pub mod which_layer {}
