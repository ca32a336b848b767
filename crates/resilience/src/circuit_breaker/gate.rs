use std::borrow::Borrow;

use super::{Circuit, CircuitOpen};
use crate::{keyed::Select, observe::Observer};

/// Says whether an attempt may begin to wait: who knows that it will be rejected need not stand in a queue for that.
///
/// Sealed; its implementations are `()`, which lets everybody wait, and [`UnlessOpen`].
pub trait Gate<R, E>: sealed::Sealed {
    /// Returns the error with which the attempt fails instead of waiting.
    fn rejection<O: Observer<E>>(&mut self, request: &R, observer: &O) -> Option<E>;
}

/// Lets nobody wait whom an open circuit would reject.
#[derive(Clone, Copy, Debug)]
pub struct UnlessOpen<C = Circuit>(pub(crate) C);

mod sealed {
    pub trait Sealed {}

    impl Sealed for () {}
    impl<C> Sealed for super::UnlessOpen<C> {}
}

impl<R, E> Gate<R, E> for () {
    #[inline]
    fn rejection<O: Observer<E>>(&mut self, _request: &R, _observer: &O) -> Option<E> {
        None
    }
}

impl<R, E: From<CircuitOpen>, C: Select<R, Handle: Borrow<Circuit>>> Gate<R, E> for UnlessOpen<C> {
    fn rejection<O: Observer<E>>(&mut self, request: &R, observer: &O) -> Option<E> {
        let rejection = self.0.select(request).borrow().rejection()?;
        observer.rejected(&rejection);
        Some(rejection.into())
    }
}
