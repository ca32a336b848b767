//! The listener: connections in, with limits on headers and time, and a good end for all of them.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Service;

/// Connections at the same time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// A connection that has not sent all headers of a request by then is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Larger headers are answered 431.
const MAX_HEADERS: usize = 32 * 1024;
/// How long open connections may take to end once nothing runs any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that ran has ended.
    Idle,
    /// Some executions were still running when time was up.
    Unfinished,
}

/// Serves until `shutdown` is ready. Then no more executions are taken, those that run have `grace` to end, and the listener
/// answers until they have.
///
/// # Errors
///
/// When the listener fails for good.
///
/// # Cancellation safety
///
/// Dropping the future closes the listener and leaves connections to end by themselves.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> io::Result<Ended> {
    let connections = TaskTracker::new();
    let closing = CancellationToken::new();
    // When this future ends or is dropped, so do the connections.
    let _closes_at_the_end = closing.clone().drop_guard();
    let mut accepting = pin!(accept(&listener, service.router(), &connections, &closing));
    tokio::select! {
        result = &mut accepting => return result.map(|never| match never {}),
        () = shutdown => {}
    }
    service.drain();
    let ended = tokio::select! {
        result = &mut accepting => return result.map(|never| match never {}),
        ended = service.engine().shutdown(grace) => ended,
    };
    closing.cancel();
    connections.close();
    // A client that keeps its connection busy has had its time.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, connections.wait()).await;
    Ok(if ended { Ended::Idle } else { Ended::Unfinished })
}

async fn accept(
    listener: &TcpListener,
    router: Router,
    connections: &TaskTracker,
    closing: &CancellationToken,
) -> io::Result<std::convert::Infallible> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let router = TowerToHyperService::new(router);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            unreachable!("the semaphore is never closed")
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                // Out of file descriptors, most likely: others have to end first.
                tracing::error!(%error, "accepting a connection");
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
        };
        let (router, closing) = (router.clone(), closing.clone());
        connections.spawn(async move {
            converse(stream, router, closing).await;
            drop(place);
        });
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

async fn converse(stream: TcpStream, router: TowerToHyperService<Router>, closing: CancellationToken) {
    // Answers are small and wanted at once; a socket that refuses is still usable.
    let _ = stream.set_nodelay(true);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_header_size(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), router)
    );
    let result = tokio::select! {
        result = &mut connection => result,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke off");
    }
}
