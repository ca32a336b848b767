//! `GET /v1/executions/{id}/events`: the journal as it grows, as server-sent events

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderName, StatusCode, Uri},
    response::{
        IntoResponse as _, Response,
        sse::{Event as Message, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt as _, stream};
use orchestr8_core::{execution::EventStream, journal::Renderer};
use orchestr8_schema::api::ExecutionStatus;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    Service,
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
    let last_seen = match headers.get(LAST_EVENT_ID) {
        None => None,
        Some(id) => {
            let sequence = id.to_str().ok().and_then(|id| id.parse::<u64>().ok());
            Some(sequence.ok_or_else(|| Rejection::bad_request("`Last-Event-ID` is no sequence"))?)
        }
    };
    let handle = service.engine().execution(id).await?;
    let after = last_seen.or(after).unwrap_or(0);
    let snapshot = service.engine().snapshot(id).await?;
    if last_seen.is_some() && snapshot.status().is_terminal() && after >= snapshot.events().len() as u64 {
        // It has everything; only this answer stops an `EventSource`.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = handle.events().map_err(|error| {
        Rejection::new(ProblemCode::ResourceExhausted, format!("{error}; close one or ask again later")).retry_after(5)
    })?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    // It ends with the execution, with the server, or when the client goes away and the channel closes.
    tokio::spawn(tell(service, events, after, sender));
    let messages = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let messages = messages.map(Ok::<_, Infallible>);
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

/// Tells a client of events, and of the end of the execution or of the server.
async fn tell(service: Service, mut events: EventStream, after: u64, to: mpsc::Sender<Message>) {
    let _open = service.opened_stream();
    let plan = Arc::clone(events.plan());
    let mut renderer = Renderer::new(&plan);
    if to.send(Message::default().retry(RETRY)).await.is_err() {
        return;
    }
    let last = loop {
        let next = tokio::select! {
            next = events.next() => next,
            () = service.drained() => break Message::default().event("shutdown").data("{}"),
            () = to.closed() => return,
        };
        let event = match next {
            Ok(Some((_, event))) => event,
            Ok(None) => break end(events.status()),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "following an execution");
                return;
            }
        };
        // Those that the client has are rendered as well: what comes later is told against them.
        let Some(entry) = renderer.entry(&event).filter(|entry| entry.sequence > after) else { continue };
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
