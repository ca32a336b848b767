use std::{io, sync::Arc};

use async_trait::async_trait;
use minijinja::{AutoEscape, Environment, ErrorKind as JinjaErrorKind, UndefinedBehavior, value::Serde};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::manifest;
use crate::{Agent, AgentContext, AgentError, AgentManifest};

/// `@orchestr8/template`: renders a text in the syntax of Jinja; `data` holds its variables.
///
/// A variable that is not there is VALIDATION, as is a text over [`MAX_TEXT`](Self::MAX_TEXT) and a template that takes over
/// [`FUEL`](Self::FUEL) instructions. A template cannot include another, and nothing is escaped.
#[derive(Clone, Debug)]
pub struct Template {
    environment: Arc<Environment<'static>>,
}

impl Template {
    /// The longest text, in bytes.
    pub const MAX_TEXT: usize = 64 * 1024;
    /// The most instructions that one rendering takes.
    pub const FUEL: u64 = 100_000;
}

impl Default for Template {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(Self::FUEL));
        // They would make much of little before the text's limit could say so.
        for filter in ["replace", "indent"] {
            environment.remove_filter(filter);
        }
        Self { environment: Arc::new(environment) }
    }
}

#[async_trait]
impl Agent for Template {
    fn manifest(&self) -> AgentManifest {
        manifest("@orchestr8/template", "Renders a text from a template and data")
            .input_schema(json!({
                "type": "object",
                "properties": {
                    "template": { "description": "The text, in the syntax of Jinja.", "type": "string", "maxLength": Self::MAX_TEXT },
                    "data": { "description": "Its variables.", "type": "object" }
                },
                "required": ["template", "data"]
            }))
            .output_schema(json!({
                "type": "object",
                "properties": { "text": { "type": "string" } },
                "required": ["text"]
            }))
    }

    async fn execute(&self, input: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        let source = input["template"].as_str().unwrap_or_default();
        let mut text = Bounded(Vec::new());
        self.environment
            .template_from_str(source)
            .and_then(|template| template.render_captured_to(Serde(&input["data"]), &mut text).map(drop))
            .map_err(refused)?;
        // Whole characters are written, so this loses none.
        Ok(json!({ "text": String::from_utf8_lossy(&text.0) }))
    }
}

fn refused(error: minijinja::Error) -> AgentError {
    let message = match error.kind() {
        JinjaErrorKind::OutOfFuel => format!("the template takes over {} instructions", Template::FUEL),
        JinjaErrorKind::WriteFailure => format!("the text is over {} bytes", Template::MAX_TEXT),
        _ => "the template cannot be rendered".to_owned(),
    };
    let error_at = error.line().map(|line| json!({ "pointer": "/template", "line": line }));
    AgentError::validation(message)
        .with_context(error_at.unwrap_or_else(|| json!({ "pointer": "/template" })))
        .with_source(error)
}

/// Refuses what would make the text too long.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > Template::MAX_TEXT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
