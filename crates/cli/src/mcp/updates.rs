//! Telling clients that an execution has changed.
//!
//! In the revisions with a handshake a client subscribes to one resource after the other and is told on its connection; since 2026-07-28 it
//! sends one request that stays open.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use orchestr8_core::bus::Subscription;
use orchestr8_schema::ExecutionId;
use rmcp::{
    ErrorData, RoleServer,
    model::{ResourceUpdatedNotificationParam, SubscriptionFilter},
    service::{Peer, SubscriptionContext},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Offer, resources::Named};

/// Resources that one client is told of at most.
const MOST: usize = 50;
/// What happens within this time is told together.
const TOGETHER: Duration = Duration::from_millis(100);

/// What a connected client wants to be told of.
#[derive(Debug)]
pub(super) struct Updates {
    offer: Offer,
    telling: Mutex<HashMap<String, Option<AbortOnDropHandle<()>>>>,
}

impl Updates {
    pub(super) fn new(offer: Offer) -> Self {
        Self { offer, telling: Mutex::default() }
    }

    /// Tells the client of each change of a resource from now on.
    pub(super) async fn subscribe(&self, uri: String, peer: Peer<RoleServer>) -> Result<(), ErrorData> {
        // Whether there is such a thing is said now.
        self.offer.read_resource(&uri).await?;
        let watched = match Named::parse(&uri) {
            Some(Named::Execution(id)) => Some(self.offer.watch(id)?),
            // It changes when somebody edits its file; then a client that asks again sees it.
            Some(Named::Workflow(_)) | None => None,
        };
        let mut telling = self.telling();
        if telling.len() >= MOST && !telling.contains_key(&uri) {
            return Err(ErrorData::invalid_request(format!("there are {MOST} subscriptions already"), None));
        }
        let handle = watched.map(|changes| {
            let uri = uri.clone();
            AbortOnDropHandle::new(tokio::spawn(tell(changes, move || {
                let (peer, told) = (peer.clone(), ResourceUpdatedNotificationParam::new(uri.clone()));
                async move { peer.notify_resource_updated(told).await.is_ok() }
            })))
        });
        telling.insert(uri, handle);
        Ok(())
    }

    pub(super) fn unsubscribe(&self, uri: &str) {
        self.telling().remove(uri);
    }

    fn telling(&self) -> MutexGuard<'_, HashMap<String, Option<AbortOnDropHandle<()>>>> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offer {
    fn watch(&self, id: ExecutionId) -> Result<Subscription, ErrorData> {
        let subscribed = self.engine().bus().subscribe(Some(id));
        subscribed.map_err(|error| ErrorData::invalid_request(error.to_string(), None))
    }
}

/// Says which of the wishes of a client are met: changes of executions, as many as there may be.
pub(super) fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let uris = requested.resource_subscriptions.iter().flatten();
    let known = uris.filter(|uri| matches!(Named::parse(uri), Some(Named::Execution(_)))).take(MOST);
    SubscriptionFilter::builder().resource_subscriptions(known).build()
}

/// Tells of changes as long as the request stays open.
pub(super) async fn listen(offer: &Offer, cx: &SubscriptionContext) -> Result<(), ErrorData> {
    let mut telling = FuturesUnordered::new();
    for uri in cx.accepted().resource_subscriptions.iter().flatten() {
        let Some(Named::Execution(id)) = Named::parse(uri) else { continue };
        let changes = offer.watch(id)?;
        telling.push(tell(changes, move || async move { cx.sink().notify_resource_updated(uri).await.is_ok() }));
    }
    tokio::select! {
        () = cx.cancelled() => {}
        () = async {
            while telling.next().await.is_some() {}
            std::future::pending::<()>().await;
        } => {}
    }
    Ok(())
}

/// Tells of changes until nobody listens.
async fn tell<F: Future<Output = bool>>(mut changes: Subscription, notify: impl Fn() -> F) {
    loop {
        changes.next().await;
        tokio::time::sleep(TOGETHER).await;
        while changes.next().now_or_never().is_some() {}
        if !notify().await {
            return;
        }
    }
}
