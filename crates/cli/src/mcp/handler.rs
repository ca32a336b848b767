//! What a client asks for, handed to whoever knows it.

use std::sync::Arc;

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse, Implementation,
        InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
        ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
        ServerConfig, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
    },
    service::{RequestContext, SubscriptionContext},
};

use super::{Offer, prompts, updates::Updates};

const INSTRUCTIONS: &str = "Each tool whose name begins with `workflow_` starts an execution of one workflow, run_workflow one of any. \
    An execution goes on by itself: ask get_status for it by its executionId, with waitForMs to be answered when it has ended. What \
    waits for an approval waits for a person; it cannot be answered here.";

/// One client's view of an [`Offer`].
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    offer: Offer,
    /// What the client wants to be told of; absent where it cannot be told outside of a request.
    updates: Option<Arc<Updates>>,
}

impl Handler {
    /// Makes the view of a client that stays connected.
    pub(crate) fn connected(offer: Offer) -> Self {
        let updates = Some(Arc::new(Updates::new(offer.clone())));
        Self { offer, updates }
    }

    /// Makes the view of a client of which every request stands for itself.
    pub(crate) fn stateless(offer: Offer) -> Self {
        Self { offer, updates: None }
    }
}

fn cursor(request: Option<PaginatedRequestParams>) -> Option<String> {
    request.and_then(|request| request.cursor)
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_prompts()
            .build();
        let this = Implementation::new("orchestr8", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(this).with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let mut result = self.negotiate_initialize(&request)?;
        // After a handshake changes are told on a connection, or not at all.
        if let (None, Some(resources)) = (&self.updates, &mut result.capabilities.resources) {
            resources.subscribe = None;
        }
        Ok(result)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.offer.list_tools(cursor(request).as_deref()).await
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        Ok(self.offer.call(request, &context).await?.into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        self.offer.list_resources(cursor(request).as_deref()).await
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(super::resources::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(self.offer.read_resource(&request.uri).await?.into())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        match &self.updates {
            Some(updates) => updates.subscribe(request.uri, context.peer).await,
            None => Err(ErrorData::invalid_request("there are no subscriptions without a connection", None)),
        }
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if let Some(updates) = &self.updates {
            updates.unsubscribe(&request.uri);
        }
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(super::updates::accepted(requested))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        super::updates::listen(&self.offer, &context).await
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::all()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        Ok(self.offer.prompt(&request.name, &request.arguments.unwrap_or_default()).await?.into())
    }
}
