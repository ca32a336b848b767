//! An attempt that waits for a permit, and then for the service to be ready.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// The part that the futures of layers with a queue have in common. The service is not asked whether it is ready before the
    /// permit is there: being ready may mean that it holds something for the caller.
    #[derive(Debug)]
    pub(crate) struct Turn<S, R>
    where
        S: Service<R>,
    {
        service: S,
        request: Option<R>,
        #[pin]
        attempt: Option<S::Future>,
    }
}

impl<S: Service<R>, R> Turn<S, R> {
    pub(crate) fn new(service: S, request: R) -> Self {
        Self { service, request: Some(request), attempt: None }
    }

    /// Polls the permit until it is there, then the service, whose call is told to the permit.
    pub(crate) fn poll<P: Permit<S::Error>>(
        self: Pin<&mut Self>,
        permit: &mut P,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let mut this = self.project();
        loop {
            if let Some(attempt) = this.attempt.as_mut().as_pin_mut() {
                return attempt.poll(cx);
            }
            ready!(permit.poll(cx))?;
            ready!(this.service.poll_ready(cx))?;
            let Some(request) = this.request.take() else {
                unreachable!("there is an attempt once the request is taken");
            };
            permit.called();
            this.attempt.set(Some(this.service.call(request)));
        }
    }
}

/// What a [`Turn`] waits for.
pub(crate) trait Permit<E> {
    /// Is ready once the permit was granted, or refused after a wait.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>>;

    /// Hears that the service is called now.
    fn called(&mut self) {}
}
