//! Models: one question, one answer, whoever the provider is.
//!
//! A [`ChatModel`] takes a [`ChatRequest`] and gives a [`ChatResponse`]; it knows one wire and nothing of budgets, prices or agents.
//! [`Models`] holds the providers of a program and finds the model that somebody means. What an agent gets from
//! [`AgentContext::model`](crate::AgentContext::model) is a [`Model`]: it checks the answer's JSON and asks once more if it does not fit,
//! knows what the answer costs, keeps to the budget, and tells journal and spans of the call.
//!
//! ```
//! use orchestr8_agent_base::{CancellationToken, model::{ChatModel, ChatRequest, ChatResponse, Fake, Message}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), orchestr8_agent_base::AgentError> {
//! let model = Fake::answers([ChatResponse::text("Paris")]);
//! let request = ChatRequest::new(Message::user("What is the capital of France?"));
//! let answer = model.chat(request, None, CancellationToken::new()).await?;
//! assert_eq!(answer.message.text(), "Paris");
//! # Ok(())
//! # }
//! ```
//!
//! | provider | |
//! |---|---|
//! | [`Fake`] | answers from a script |
//! | [`Replay`], [`Recording`] | answers from a cassette, and writes one |
//! | `Anthropic`, `OpenAi` | over HTTP; feature `http-models` |
//! | `ClaudeCode` | the program `claude`; feature `claude-code` |

#[cfg(feature = "claude-code")]
mod claude_code;
mod fake;
mod handle;
#[cfg(feature = "http-models")]
mod http;
#[cfg(any(feature = "http-models", feature = "claude-code"))]
mod key;
mod models;
mod prices;
mod replay;
mod request;
mod response;
pub mod structured;
mod wire_name;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "claude-code")]
pub use self::claude_code::ClaudeCode;
#[cfg(feature = "http-models")]
pub use self::http::{Anthropic, InvalidProvider, OpenAi};
#[cfg(any(feature = "http-models", feature = "claude-code"))]
pub use self::key::ApiKey;
pub use self::{
    fake::Fake,
    handle::Model,
    models::{Models, Provider, ResolveError, Resolved},
    prices::Rates,
    replay::{CassetteError, Recording, Replay},
    request::{ChatRequest, ChatTool, Message, Part, Role, SystemBlock, ToolChoice, ToolRequest},
    response::{ChatResponse, StopReason},
    wire_name::WireNames,
};
use crate::{AgentError, SecretString};

/// A model of a provider: answers one question at a time, of any number at once.
#[async_trait]
#[diagnostic::on_unimplemented(message = "`{Self}` is no model", note = "implement `ChatModel`")]
pub trait ChatModel: Send + Sync + 'static {
    /// Says what the model is and can do.
    fn info(&self) -> &ModelInfo;

    /// Returns the key that the next call sends, so that it can be hidden should it come back in an answer; none by default.
    fn key(&self) -> Option<SecretString> {
        None
    }

    /// Returns the same model, asked with another key than its provider's; absent, as by default, if it takes none.
    fn keyed(&self, key: SecretString) -> Option<Arc<dyn ChatModel>> {
        let _ = key;
        None
    }

    /// Asks the model.
    ///
    /// With `on_delta` the answer's text is handed over as it is written, as far as the model can do that; the result is the whole
    /// answer all the same, and text of an answer that breaks off is worth nothing. A schema in the request is for a model that takes
    /// schemas, and portable.
    ///
    /// # Errors
    ///
    /// By what happened: NETWORK, TIMEOUT, RATE_LIMITED with its delay, RETRYABLE for failures of the server, DENIED, NOT_FOUND, VALIDATION.
    /// CANCELLED if the token fires. Messages hold neither prompt nor key.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future closes the connection.
    async fn chat(
        &self,
        request: ChatRequest,
        on_delta: Option<DeltaSink>,
        cancel: CancellationToken,
    ) -> Result<ChatResponse, AgentError>;
}

#[cfg(test)]
fn _obj_safe(_: &dyn ChatModel) {}

/// Takes the text of an answer while it is written.
pub type DeltaSink = Arc<dyn Fn(&str) + Send + Sync>;

/// What a model is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The name of the provider, as configured.
    pub provider: String,
    /// The model's id, as the provider calls it.
    pub model: String,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// What a model can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing, and they are independent")]
pub struct Capabilities {
    /// It may ask for tools.
    pub tools: bool,
    /// It takes a JSON Schema of its answer.
    pub native_schema: bool,
    /// It can hand its text over while it writes.
    pub streaming: bool,
    /// It takes marks of what may be cached.
    pub cache_marks: bool,
}

impl ModelInfo {
    /// Says what a model is.
    #[must_use]
    pub fn new(provider: impl Into<String>, model: impl Into<String>, capabilities: Capabilities) -> Self {
        Self { provider: provider.into(), model: model.into(), capabilities }
    }
}

impl Capabilities {
    /// Everything.
    #[must_use]
    pub const fn all() -> Self {
        Self { tools: true, native_schema: true, streaming: true, cache_marks: true }
    }
}

impl fmt::Debug for dyn ChatModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChatModel").field(self.info()).finish()
    }
}
