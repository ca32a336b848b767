//! One reader for all who listen to all executions: an event is read and rendered once, however many they are.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use orchestr8_core::{
    bus::Bus,
    chronicle::{Chronicle, Told},
};
use orchestr8_schema::api::{Entry, StepProgress};
use serde::Serialize;
use tokio::{sync::broadcast, time::Instant};
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
    /// How far a call has come, or what a model has written; at no position, and told to those who listen at the moment.
    Progress(Arc<Passing>),
    /// What was counted, as JSON.
    Counted(Arc<str>),
}

/// Progress as it is sent.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) workflow_id: String,
    pub(super) kind: String,
    /// As JSON.
    pub(super) data: String,
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

impl Passing {
    fn new(progress: StepProgress) -> serde_json::Result<Self> {
        let data = serde_json::to_string(&progress)?;
        Ok(Self { workflow_id: progress.workflow_id, kind: progress.kind, data })
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

    /// Tells how many messages wait for the slowest of those who listen.
    pub(super) fn depth(&self) -> usize {
        self.told.len()
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
    // So many feeds at once there are not; without a place for it, progress is left out.
    let chronicle = service.engine().chronicle(position).with_progress();
    let mut chronicle = chronicle.unwrap_or_else(|_| service.engine().chronicle(position));
    loop {
        let next_look = match chronicle.read().await {
            Ok(told) if told.is_empty() => None,
            Ok(told) => {
                let count = told.len() as u64;
                for line in told.into_iter().filter_map(|told| Line::new(told).ok()) {
                    // Nobody may listen at this moment.
                    let _ = to.send(Message::Stored(Arc::new(line)));
                }
                service.feed_told(count * to.receiver_count() as u64, to.len());
                Some(Instant::now() + GATHERING)
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "following all executions");
                Some(Instant::now() + PATIENCE)
            }
        };
        tell_progress(&mut chronicle, next_look, to).await;
    }
}

/// Tells of progress until there may be more to read, and not before this time.
async fn tell_progress(chronicle: &mut Chronicle, not_before: Option<Instant>, to: &broadcast::Sender<Message>) {
    if let Some(time) = not_before {
        let mut pause = std::pin::pin!(tokio::time::sleep_until(time));
        loop {
            tokio::select! {
                biased;
                progress = chronicle.progress() => pass_on(progress, to),
                () = &mut pause => return,
            }
        }
    }
    while let Some(progress) = chronicle.changed_or_progress().await {
        pass_on(progress, to);
    }
}

fn pass_on(progress: StepProgress, to: &broadcast::Sender<Message>) {
    if let Ok(passing) = Passing::new(progress) {
        // Nobody may listen at this moment.
        let _ = to.send(Message::Progress(Arc::new(passing)));
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
