//! Runnable examples of orchestr8; one file per concept.
