//! One reader for all who listen to all executions: an event is read and rendered once, however many they are.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use orchestr8_core::{bus::Bus, chronicle::Told};
use orchestr8_schema::api::Entry;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio_util::task::AbortOnDropHandle;

use super::{Service, stats};

/// How often those who listen are told what was counted.
const UPDATES: Duration = Duration::from_secs(5);
/// How long it lets events gather before it reads again, so that a busy server is read in a hundred goes a second at most.
const GATHERING: Duration = Duration::from_millis(10);
/// How long it waits when the store cannot be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads while anybody listens, and ends with the last of them.
#[derive(Debug)]
pub(super) struct Feed {
    told: broadcast::Sender<Message>,
    _reader: AbortOnDropHandle<()>,
}

/// What everybody is told.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// An event was stored.
    Stored(Arc<Line>),
    /// What was counted, as JSON.
    Counted(Arc<str>),
}

/// An event as it is sent.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) position: u64,
    pub(super) workflow_id: String,
    pub(super) kind: String,
    /// Its entry, as JSON.
    pub(super) data: String,
}

/// An entry with its place among all of them.
#[derive(Serialize)]
struct Placed<'a> {
    position: u64,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl Line {
    pub(super) fn new(told: Told) -> serde_json::Result<Self> {
        let Told { position, entry, .. } = told;
        let data = serde_json::to_string(&Placed { position, entry: &entry })?;
        Ok(Self { position, workflow_id: entry.workflow_id, kind: entry.kind, data })
    }
}

impl Feed {
    /// Joins those who listen, or is the first of them. All behind this position will be told, or is stored already.
    pub(super) fn join(running: &Mutex<Weak<Self>>, service: &Service, position: u64) -> Arc<Self> {
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = running.upgrade() {
            return feed;
        }
        let (told, _) = broadcast::channel(Bus::QUEUE);
        let reading = read(service.clone(), position, told.clone());
        let feed = Arc::new(Self { told, _reader: AbortOnDropHandle::new(tokio::spawn(reading)) });
        *running = Arc::downgrade(&feed);
        feed
    }

    /// Listens. Whoever is [`Bus::QUEUE`] messages or somewhat more behind loses the oldest.
    pub(super) fn listen(&self) -> broadcast::Receiver<Message> {
        self.told.subscribe()
    }
}

async fn read(service: Service, position: u64, to: broadcast::Sender<Message>) {
    tokio::join!(tell_events(&service, position, &to), tell_counts(&service, &to));
}

async fn tell_events(service: &Service, position: u64, to: &broadcast::Sender<Message>) {
    let mut chronicle = service.engine().chronicle(position);
    loop {
        match chronicle.read().await {
            Ok(told) if told.is_empty() => chronicle.changed().await,
            Ok(told) => {
                for line in told.into_iter().filter_map(|told| Line::new(told).ok()) {
                    // Nobody may listen at this moment.
                    let _ = to.send(Message::Stored(Arc::new(line)));
                }
                tokio::time::sleep(GATHERING).await;
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "following all executions");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn tell_counts(service: &Service, to: &broadcast::Sender<Message>) {
    loop {
        tokio::time::sleep(UPDATES).await;
        if let Ok(stats) = serde_json::to_string(&stats::stats(service)) {
            let _ = to.send(Message::Counted(stats.into()));
        }
    }
}
