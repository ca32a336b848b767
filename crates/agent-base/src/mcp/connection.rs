//! One connection to a server.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rmcp::{
    ClientHandler, RoleClient,
    model::{ClientCapabilities, Implementation, InitializeRequestParams, ProtocolVersion, SubscriptionFilter},
    service::{ClientLifecycleMode, ClientServiceExt, NotificationContext, Peer, RunningService},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::ChildStderr,
    sync::Mutex,
    task::JoinHandle,
};

use super::{
    endpoint::{Endpoint, Reached, Started},
    probe::Probed,
    tools::{self, Tools},
};
use crate::{AgentError, process::Group};

/// The longest line of standard error that is logged, in bytes.
const MAX_LINE: u64 = 8 * 1024;
/// How many lines of standard error are logged of one connection.
const MAX_LINES: usize = 1000;

/// A connection, and the process behind it if there is one; both end when this value goes.
pub(super) struct Connection {
    service: RunningService<RoleClient, Listener>,
    changed: Arc<AtomicBool>,
    tools: Mutex<Option<Arc<Tools>>>,
    _group: Option<Group>,
    _log: Option<AbortOnDrop>,
    _listening: Option<AbortOnDrop>,
}

impl Connection {
    pub(super) async fn open(server: &str, endpoint: &Endpoint) -> Result<Self, AgentError> {
        let changed = Arc::new(AtomicBool::new(false));
        let listener = Listener { changed: Arc::clone(&changed) };
        let lifecycle = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        };
        let unreachable = || AgentError::network(format!("connecting to the server `{server}` of tools"));
        let (service, group, log) = match endpoint.reach()? {
            Reached::Service(transport) => {
                let service = listener.serve_with_lifecycle(transport, lifecycle).await;
                (service.map_err(|error| unreachable().with_source(error))?, None, None)
            }
            Reached::Program(started) => {
                let Started { group, stdin, stdout, stderr } = *started;
                // Before the server can fill the pipe.
                let log = AbortOnDrop(tokio::spawn(log(server.to_owned(), stderr)));
                let service = listener.serve_with_lifecycle((Box::pin(Probed::new(stdout)), stdin), lifecycle).await;
                (service.map_err(|error| unreachable().with_source(error))?, Some(group), Some(log))
            }
        };
        let listening = tells_who_listens(&service)
            .then(|| AbortOnDrop(tokio::spawn(listen(service.peer().clone(), Arc::clone(&changed)))));
        Ok(Self { service, changed, tools: Mutex::default(), _group: group, _log: log, _listening: listening })
    }

    pub(super) fn peer(&self) -> &Peer<RoleClient> {
        self.service.peer()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    /// Returns the tools, read again if the server has said that they have changed.
    pub(super) async fn tools(&self, server: &str) -> Result<Arc<Tools>, AgentError> {
        let mut known = self.tools.lock().await;
        if self.changed.swap(false, Ordering::AcqRel) {
            *known = None;
        }
        if let Some(known) = &*known {
            return Ok(Arc::clone(known));
        }
        let tools = Arc::new(tools::list(server, self.peer()).await?);
        *known = Some(Arc::clone(&tools));
        Ok(tools)
    }
}

/// Whether a server tells of changes of its list, and only to who has asked for that.
fn tells_who_listens(service: &RunningService<RoleClient, Listener>) -> bool {
    service.peer().peer_info().is_some_and(|server| {
        let tools = server.capabilities.tools.as_ref();
        server.protocol_version >= ProtocolVersion::V_2026_07_28
            && tools.is_some_and(|tools| tools.list_changed == Some(true))
    })
}

/// Notes changes of the list as long as the server tells of them.
async fn listen(peer: Peer<RoleClient>, changed: Arc<AtomicBool>) {
    let Ok(mut told) = peer.listen(SubscriptionFilter::builder().tools_list_changed().build()).await else { return };
    while let Ok(Some(_)) = told.next().await {
        changed.store(true, Ordering::Release);
    }
}

/// What we are to a server.
struct Listener {
    changed: Arc<AtomicBool>,
}

impl ClientHandler for Listener {
    fn get_info(&self) -> InitializeRequestParams {
        let this = Implementation::new("orchestr8", env!("CARGO_PKG_VERSION"));
        InitializeRequestParams::new(ClientCapabilities::default(), this)
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.store(true, Ordering::Release);
    }
}

/// Logs what a program says on standard error, up to a bound, and reads the rest so that it is not held up.
async fn log(server: String, stderr: ChildStderr) {
    let mut reader = BufReader::new(stderr);
    let mut lines = 0;
    loop {
        let mut line = Vec::new();
        // A line without end is many.
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(1..) => {}
            _ => return,
        }
        lines += 1;
        if lines <= MAX_LINES {
            tracing::info!(server, "{}", String::from_utf8_lossy(&line).trim_end());
        } else if lines == MAX_LINES + 1 {
            tracing::warn!(server, "the server says more on standard error than is logged");
        }
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
