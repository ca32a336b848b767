//! What a server answers.

use orchestr8_schema::{ErrorKind, json_schema::JsonValidator, json_schema::Violations};
use rmcp::{
    model::{CallToolResponse, CallToolResult, ContentBlock, ErrorCode},
    service::ServiceError,
};
use serde_json::{Value, json};

use crate::AgentError;

/// How much of an error's text goes into a failure, in bytes.
const TOLD: usize = 2048;

/// Makes a value of the answer to a call: the structured content if there is one, else the joined text; content that is no text
/// is given as it is.
pub(super) fn value_of(
    tool: &str,
    response: CallToolResponse,
    output: Option<&JsonValidator>,
) -> Result<Value, AgentError> {
    let result = match response {
        CallToolResponse::Complete(result) => result,
        CallToolResponse::InputRequired(_) => {
            return Err(AgentError::denied(format!("tool `{tool}` asks for input, which is not given")));
        }
        _ => return Err(AgentError::validation(format!("tool `{tool}` gives an answer of an unknown sort"))),
    };
    if result.is_error == Some(true) {
        let mut text = text_of(&result).unwrap_or_else(|| "without a word".to_owned());
        text.truncate(text.floor_char_boundary(TOLD));
        return Err(AgentError::internal(format!("tool `{tool}` failed: {text}")));
    }
    let CallToolResult { structured_content, content, .. } = &result;
    let Some(structured) = structured_content else {
        if output.is_some() {
            return Err(AgentError::validation(format!("tool `{tool}` promises structured content and gives none")));
        }
        return Ok(match text_of(&result) {
            Some(text) => Value::String(text),
            None => json!({ "content": content }),
        });
    };
    if let Some(schema) = output
        && let Err(violations) = schema.validate(structured)
    {
        let message = format!("the result of tool `{tool}` does not fit its schema: {}", Violations(&violations));
        return Err(AgentError::validation(message));
    }
    Ok(structured.clone())
}

/// The text of a result that is nothing else.
fn text_of(result: &CallToolResult) -> Option<String> {
    let texts: Option<Vec<_>> = result
        .content
        .iter()
        .map(|block| match block {
            ContentBlock::Text(text) => Some(text.text.as_str()),
            _ => None,
        })
        .collect();
    Some(texts?.join("\n"))
}

/// Makes a failure of one of the protocol, by its type and code.
pub(super) fn of_error(server: &str, error: ServiceError) -> AgentError {
    let kind = match &error {
        ServiceError::McpError(error) => match error.code {
            ErrorCode::INVALID_PARAMS => ErrorKind::Validation,
            ErrorCode::METHOD_NOT_FOUND | ErrorCode::RESOURCE_NOT_FOUND => ErrorKind::NotFound,
            _ => ErrorKind::Internal,
        },
        ServiceError::TransportSend(_) | ServiceError::TransportClosed => ErrorKind::Network,
        ServiceError::Timeout { .. } => ErrorKind::Timeout,
        ServiceError::Cancelled { .. } => ErrorKind::Cancelled,
        _ => ErrorKind::Internal,
    };
    AgentError::new(kind, format!("asking the server `{server}` of tools")).with_source(error)
}
