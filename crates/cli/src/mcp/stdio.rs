//! The offer over standard input and output: one JSON-RPC message a line.

use std::io;

use rmcp::{
    ServiceExt as _,
    model::ProtocolVersion,
    service::{ClientLifecycleMode, ClientServiceExt as _, QuitReason, ServerInitializeError},
    transport::async_rw::AsyncRwTransport,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{Handler, Offer, tools::PREFIX};

/// The longest line, in bytes; a longer one is thrown away, as the longest body of the REST interface is refused.
const MAX_LINE: usize = 10_000_000;

/// What an offer amounts to, as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) tools: usize,
    pub(crate) workflows: usize,
}

/// Serves one client until it closes its end, or until it is cancelled.
///
/// # Errors
///
/// When the client does not begin as the protocol wants it, or goes away while it is answered.
pub(crate) async fn serve(
    offer: Offer,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
    cancel: CancellationToken,
) -> io::Result<()> {
    let transport = AsyncRwTransport::new_server(input, output).with_max_line_length(MAX_LINE);
    let served = match Handler::connected(offer).serve_with_ct(transport, cancel).await {
        Ok(served) => served,
        // Nobody has asked for anything.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => return Ok(()),
        Err(error) => return Err(io::Error::other(error)),
    };
    match served.waiting().await {
        Ok(QuitReason::JoinError(error)) | Err(error) => Err(io::Error::other(error)),
        Ok(_) => Ok(()),
    }
}

/// Asks the offer what it has, as a client does.
///
/// # Errors
///
/// When it does not answer as the protocol wants it.
pub(crate) async fn check(offer: &Offer) -> io::Result<Checked> {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let cancel = CancellationToken::new();
    let (input, output) = tokio::io::split(server);
    let serving = tokio::spawn(serve(offer.clone(), input, output, cancel.clone()));
    let asked = async {
        let lifecycle = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        };
        let client = ().serve_with_lifecycle(client, lifecycle).await.map_err(io::Error::other)?;
        let tools = client.list_all_tools().await.map_err(io::Error::other)?;
        let resources = client.list_resources(None).await.map_err(io::Error::other)?;
        let workflows = resources.resources.iter().filter(|resource| resource.uri.starts_with("workflow://")).count();
        // A workflow's own tool counts as the workflow.
        let tools = tools.iter().filter(|tool| !tool.name.starts_with(PREFIX)).count();
        Ok(Checked { tools, workflows })
    };
    let checked = asked.await;
    cancel.cancel();
    serving.await.map_err(io::Error::other)??;
    checked
}
