use std::{
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// A layer that is there or not, which is known only when the program runs. Unlike a box it costs one branch.
#[derive(Clone, Copy, Debug)]
pub struct Optional<L>(Option<L>);

impl<L> From<L> for Optional<L> {
    fn from(layer: L) -> Self {
        Self(Some(layer))
    }
}

impl<L> From<Option<L>> for Optional<L> {
    fn from(layer: Option<L>) -> Self {
        Self(layer)
    }
}

impl<S, L: Layer<S>> Layer<S> for Optional<L> {
    type Service = OptionalService<L::Service, S>;

    fn layer(&self, inner: S) -> Self::Service {
        match &self.0 {
            Some(layer) => OptionalService::Layered(layer.layer(inner)),
            None => OptionalService::Bare(inner),
        }
    }
}

/// The service of [`Optional`].
#[derive(Clone, Copy, Debug)]
pub enum OptionalService<A, B> {
    /// The service with the layer around it.
    Layered(A),
    /// The service as it was.
    Bare(B),
}

impl<R, A, B> Service<R> for OptionalService<A, B>
where
    A: Service<R>,
    B: Service<R, Response = A::Response, Error = A::Error>,
{
    type Response = A::Response;
    type Error = A::Error;
    type Future = OptionalFuture<A::Future, B::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            OptionalService::Layered(service) => service.poll_ready(cx),
            OptionalService::Bare(service) => service.poll_ready(cx),
        }
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        match self {
            OptionalService::Layered(service) => {
                OptionalFuture { either: Either::Layered { future: service.call(request) } }
            }
            OptionalService::Bare(service) => OptionalFuture { either: Either::Bare { future: service.call(request) } },
        }
    }
}

pin_project! {
    /// The future of [`OptionalService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct OptionalFuture<A, B> {
        #[pin]
        either: Either<A, B>,
    }
}

pin_project! {
    #[project = EitherProjection]
    #[derive(Debug)]
    enum Either<A, B> {
        Layered {
            #[pin]
            future: A,
        },
        Bare {
            #[pin]
            future: B,
        },
    }
}

impl<A, B> Future for OptionalFuture<A, B>
where
    A: Future,
    B: Future<Output = A::Output>,
{
    type Output = A::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().either.project() {
            EitherProjection::Layered { future } => future.poll(cx),
            EitherProjection::Bare { future } => future.poll(cx),
        }
    }
}
