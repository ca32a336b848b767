//! Tools that only the one who offers them knows.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use orchestr8_schema::id::ToolName;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{RegisteredTool, Tool, ToolSpec};
use crate::{AgentContext, AgentError};

/// The tools of one namespace, of which it is not known in advance which there are: those of a server elsewhere, which is asked when
/// somebody needs one of them.
#[async_trait]
pub trait ToolNamespace: Send + Sync + 'static {
    /// Lists the tools, under their names with the namespace.
    ///
    /// # Errors
    ///
    /// When nobody can be asked; usually NETWORK.
    async fn list(&self) -> Result<Vec<ToolSpec>, AgentError>;

    /// Calls a tool by its name with the namespace.
    ///
    /// # Errors
    ///
    /// NOT_FOUND if there is none of this name, VALIDATION if the arguments do not fit, and as of [`Tool::call`].
    async fn call(
        &self,
        name: &ToolName,
        arguments: &Value,
        cx: &AgentContext,
        cancel: CancellationToken,
    ) -> Result<Value, AgentError>;
}

#[cfg(test)]
fn _obj_safe(_: &dyn ToolNamespace) {}

/// Makes a tool that is looked for when it is called.
pub(super) fn deferred(namespace: &Arc<dyn ToolNamespace>, name: &ToolName) -> RegisteredTool {
    let spec = ToolSpec::named(name.clone(), "A tool that is known when it is called");
    let tool = Deferred { namespace: Arc::clone(namespace), name: name.clone() };
    RegisteredTool::new(Arc::new(tool), spec).expect("there are no schemas that could be wrong")
}

struct Deferred {
    namespace: Arc<dyn ToolNamespace>,
    name: ToolName,
}

#[async_trait]
impl Tool for Deferred {
    fn spec(&self) -> ToolSpec {
        ToolSpec::named(self.name.clone(), "A tool that is known when it is called")
    }

    async fn call(&self, arguments: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        self.namespace.call(&self.name, arguments, cx, cancel).await
    }

    fn target(&self, _: &Value) -> Option<String> {
        None
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("name", &self.name).finish_non_exhaustive()
    }
}
