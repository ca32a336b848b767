//! Server-sent events: `GET /v1/executions/{id}/events`, the journal of one execution as it grows, and `GET /v1/events`, those of all

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event as Message, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt as _, stream};
use orchestr8_core::{
    execution::{EventStream, News},
    journal::Renderer,
    store::StoreError,
};
use orchestr8_schema::api::ExecutionStatus;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{
    broadcast::{Receiver, error::RecvError},
    mpsc,
};

use super::{
    Service,
    feed::{self, Feed, Line},
    problem::{ProblemCode, Rejection},
    query::{execution_id, query},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long a client waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);
/// How often a silent stream says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Messages that are made before the client has taken those ahead of them.
const AHEAD: usize = 64;

#[derive(Deserialize)]
struct Parameters {
    after: Option<u64>,
}

/// Streams events behind a sequence: those that are stored, then those that come, to the end.
pub(super) async fn stream_one(
    State(service): State<Service>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let Parameters { after } = query(&uri)?;
    let id = execution_id(&id)?;
    let last_seen = last_seen(&headers)?;
    let handle = service.engine().execution(id).await?;
    let after = last_seen.or(after).unwrap_or(0);
    let (status, sequence) = {
        let reading = service.engine().read(id).await?;
        (reading.status(), reading.sequence())
    };
    if last_seen.is_some() && status.is_terminal() && after >= sequence {
        // It has everything; only this answer stops an `EventSource`.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let open = service.open_stream()?;
    let events = handle.events().map_err(|error| {
        Rejection::new(ProblemCode::ResourceExhausted, format!("{error}; close one or ask again later")).retry_after(5)
    })?;
    Ok(stream(async move |to| {
        let _open = open;
        tell_one(service, events.with_progress(), after, to).await;
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    after: Option<u64>,
    types: Option<String>,
    workflow_id: Option<String>,
}

impl Wanted {
    fn has_type(&self, kind: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.split(',').any(|wanted| wanted.trim() == kind))
    }

    fn admits(&self, kind: &str, workflow_id: &str) -> bool {
        self.has_type(kind) && self.workflow_id.as_ref().is_none_or(|id| id == workflow_id)
    }
}

/// Streams events of all executions: behind `Last-Event-ID` those that are stored, then those that come.
pub(super) async fn stream_all(
    State(service): State<Service>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let wanted: Wanted = query(&uri)?;
    let after = last_seen(&headers)?.or(wanted.after);
    let open = service.open_stream()?;
    let newest = service.engine().position().await?;
    let feed = service.feed(newest);
    Ok(stream(async move |to| {
        let _open = open;
        let listener = Listener { position: after.unwrap_or(newest), wanted, to };
        if let Some(last) = listener.listen(&service, &feed, newest).await {
            // The client may have gone.
            let _ = last.0.send(last.1).await;
        }
    }))
}

/// Refuses to tell of a stream without opening it.
pub(super) async fn no_head() -> Rejection {
    let rejection = Rejection::new(ProblemCode::MethodNotAllowed, "a stream has no head of its own");
    rejection.header(header::ALLOW, HeaderValue::from_static("GET"))
}

fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, Rejection> {
    let id = headers.get(LAST_EVENT_ID).map(|id| id.to_str().ok().and_then(|id| id.parse().ok()));
    match id {
        None => Ok(None),
        Some(Some(number)) => Ok(Some(number)),
        Some(None) => Err(Rejection::bad_request("`Last-Event-ID` is no number")),
    }
}

/// Streams what is told, until that ends, or the client goes away and the channel closes.
fn stream<F: Future<Output = ()> + Send + 'static>(
    tell: impl FnOnce(mpsc::Sender<Message>) -> F + Send + 'static,
) -> Response {
    let (sender, receiver) = mpsc::channel(AHEAD);
    // There is room for it.
    let _ = sender.try_send(Message::default().retry(RETRY));
    tokio::spawn(tell(sender));
    let messages = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let messages = messages.map(Ok::<_, Infallible>);
    Sse::new(messages).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response()
}

/// Tells a client of events, and of the end of the execution or of the server.
async fn tell_one(service: Service, mut events: EventStream, after: u64, to: mpsc::Sender<Message>) {
    let plan = Arc::clone(events.plan());
    let mut renderer = Renderer::new(&plan);
    let last = loop {
        let next = tokio::select! {
            next = events.news() => next,
            () = service.drained() => break shutdown(),
            () = to.closed() => return,
        };
        let event = match next {
            Ok(Some(News::Event(_, event))) => event,
            Ok(Some(News::Progress(progress))) => {
                let progress = renderer.progress(events.identity(), &progress, service.now());
                let Ok(data) = serde_json::to_string(&progress) else { continue };
                if to.send(Message::default().event(&progress.kind).data(data)).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(None) => break end(events.status()),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "following an execution");
                return;
            }
        };
        // Those that the client has are taken in as well: what comes later is told against them.
        if renderer.sequence() < after {
            renderer.pass(&event);
            continue;
        }
        let Some(entry) = renderer.entry(&event) else { continue };
        let Ok(data) = serde_json::to_string(&entry) else { continue };
        let message = Message::default().id(entry.sequence.to_string()).event(&entry.kind).data(data);
        if to.send(message).await.is_err() {
            return;
        }
    };
    // The client may have gone.
    let _ = to.send(last).await;
}

fn end(status: ExecutionStatus) -> Message {
    Message::default().event("end").data(json!({ "status": status }).to_string())
}

fn shutdown() -> Message {
    Message::default().event("shutdown").data("{}")
}

/// A client that listens to all executions.
struct Listener {
    /// Of the last event that it was told of, or did not want to hear of.
    position: u64,
    wanted: Wanted,
    to: mpsc::Sender<Message>,
}

/// The client has gone.
struct Gone;

impl Listener {
    /// Tells of what is stored, then of what comes. Returns the last message, unless the client has gone.
    async fn listen(mut self, service: &Service, feed: &Feed, newest: u64) -> Option<(mpsc::Sender<Message>, Message)> {
        let told = async {
            if self.position > newest {
                // What it knows is of another store.
                self.position = 0;
                self.missed(newest).await?;
            }
            let live = self.catch_up(service, feed).await?;
            self.follow(service, live).await
        };
        tokio::select! {
            Err(Gone) = told => None,
            () = service.drained() => Some((self.to, shutdown())),
        }
    }

    /// Tells of what is stored. Returns what is told from then on, nothing of it lost yet.
    async fn catch_up(&mut self, service: &Service, feed: &Feed) -> Result<Receiver<feed::Message>, Gone> {
        let mut chronicle = service.engine().chronicle(self.position);
        loop {
            let live = feed.listen();
            loop {
                let told = match chronicle.read().await {
                    Ok(told) => told,
                    Err(error) => return Err(unreadable(&error)),
                };
                let Some(first) = told.first() else { break };
                // Of what is not stored in order any more.
                self.missed(first.position - 1).await?;
                for line in told.into_iter().filter_map(|told| Line::new(told).ok()) {
                    self.tell(&line).await?;
                }
                self.position = chronicle.position();
            }
            if live.len() < orchestr8_core::bus::Bus::QUEUE {
                return Ok(live);
            }
        }
    }

    async fn follow(
        &mut self,
        service: &Service,
        mut live: Receiver<feed::Message>,
    ) -> Result<std::convert::Infallible, Gone> {
        let mut has_lost = false;
        loop {
            let message = tokio::select! {
                message = live.recv() => message,
                () = self.to.closed() => return Err(Gone),
            };
            match message {
                Ok(feed::Message::Stored(line)) => {
                    if std::mem::take(&mut has_lost) {
                        service.feed_lost((line.position - 1).saturating_sub(self.position));
                        self.missed(line.position - 1).await?;
                    }
                    self.tell(&line).await?;
                }
                Ok(feed::Message::Counted(stats)) if self.wanted.has_type("metrics.update") => {
                    self.send(Message::default().event("metrics.update").data(&*stats)).await?;
                }
                Ok(feed::Message::Counted(_)) => {}
                Ok(feed::Message::Progress(line)) if self.wanted.admits(&line.kind, &line.workflow_id) => {
                    self.send(Message::default().event(&line.kind).data(&line.data)).await?;
                }
                Ok(feed::Message::Progress(_)) => {}
                Err(RecvError::Lagged(_)) => has_lost = true,
                Err(RecvError::Closed) => return Err(Gone),
            }
        }
    }

    /// Tells of an event, if it is news and wanted.
    async fn tell(&mut self, line: &Line) -> Result<(), Gone> {
        if line.position <= self.position {
            return Ok(());
        }
        self.position = line.position;
        if !self.wanted.admits(&line.kind, &line.workflow_id) {
            return Ok(());
        }
        self.send(Message::default().id(line.position.to_string()).event(&line.kind).data(&line.data)).await
    }

    /// Tells that nothing is told of the events up to a position, which stand in the journals.
    async fn missed(&mut self, to: u64) -> Result<(), Gone> {
        if to <= self.position {
            return Ok(());
        }
        let (from, count) = (self.position + 1, to - self.position);
        self.position = to;
        let data = json!({ "count": count, "fromPosition": from, "toPosition": to });
        self.send(Message::default().event("events.dropped").data(data.to_string())).await
    }

    async fn send(&self, message: Message) -> Result<(), Gone> {
        self.to.send(message).await.map_err(|_| Gone)
    }
}

fn unreadable(error: &StoreError) -> Gone {
    tracing::error!(error = error as &dyn std::error::Error, "following all executions");
    Gone
}
