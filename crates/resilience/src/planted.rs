//! A deliberate mistake, to find out whether simulations find it. Built with `--cfg planted` alone, which no feature and no release
//! switches on.

use std::sync::atomic::AtomicBool;

/// Whether probes of half-open circuits that are dropped keep their permits.
pub static PROBES_LEAK: AtomicBool = AtomicBool::new(false);
