//! What threads share the state of a circuit by: the standard library's, or with `--cfg shuttle` those whose every turn shuttle's
//! scheduler decides on. See `interleavings/`.

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicU64};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU64};
