//! Tools that are commands of a shell, as settings have them.

use std::fmt::Write as _;

use async_trait::async_trait;
use orchestr8_schema::{config, id::ToolName};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{ProgramCall, Programs};
use crate::{AgentContext, AgentError, Callee, Tool, ToolSpec};

/// A command of a shell as a tool: `{name}` in it stands for a parameter.
///
/// A value reaches the command as one word, whatever it holds and whether the place is quoted or not, and is never read as part of
/// the command. Texts stand for themselves, everything else for its JSON, and a parameter that is not given for nothing. Braces around
/// what is no parameter are the shell's.
///
/// The result is what the agent `@orchestr8/shell` gives. The policy must allow shells.
#[derive(Clone, Debug)]
pub struct ShellTool {
    programs: Programs,
    spec: ToolSpec,
    command: String,
    /// The parameters in the order of the shell's `$1`, `$2`….
    parameters: Vec<String>,
}

impl ShellTool {
    /// Makes it of what the settings say.
    #[must_use]
    pub fn new(programs: Programs, name: ToolName, tool: &config::ShellTool) -> Self {
        let mut spec = ToolSpec::named(name, &tool.description);
        spec.read_only = !tool.writes;
        spec.destructive = tool.writes;
        spec.timeout = Some(tool.timeout.unwrap_or(config::ShellTool::DEFAULT_TIMEOUT));
        spec.input_schema = Some(if tool.parameters.is_empty() {
            json!({ "type": "object", "additionalProperties": false })
        } else {
            Value::Object(tool.parameters.clone())
        });
        let properties = tool.parameters.get("properties").and_then(Value::as_object);
        let parameters: Vec<_> = properties.into_iter().flat_map(|properties| properties.keys().cloned()).collect();
        Self { programs, spec, command: with_words(&tool.command, &parameters), parameters }
    }
}

#[async_trait]
impl Tool for ShellTool {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    async fn call(&self, arguments: &Value, _: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let mut call = ProgramCall::new(&self.command);
        for name in &self.parameters {
            call.args.push(match arguments.get(name) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            });
        }
        let finished = self.programs.shell(&call, &cancel).await?;
        Ok(finished.accept(self.spec.name.as_str(), &[])?.into_value(Callee::MAX_TOOL_OUTPUT))
    }

    fn target(&self, _: &Value) -> Option<String> {
        None
    }
}

/// How the shell reads a place.
#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    None,
    Single,
    Double,
}

/// Puts the shell's words in the places of parameters: values never become part of the command's text.
fn with_words(command: &str, parameters: &[String]) -> String {
    let mut whole = String::with_capacity(command.len());
    let (mut quotes, mut rest) = (Quotes::None, command);
    while let Some(character) = rest.chars().next() {
        let is_variable = whole.ends_with('$');
        if character == '{'
            && !is_variable
            && let Some((name, after)) = rest[1..].split_once('}')
            && let Some(index) = parameters.iter().position(|parameter| parameter == name)
        {
            let word = index + 1;
            // A text takes everything.
            let _ = match quotes {
                Quotes::None => write!(whole, "\"${{{word}}}\""),
                Quotes::Double => write!(whole, "${{{word}}}"),
                Quotes::Single => write!(whole, "'\"${{{word}}}\"'"),
            };
            rest = after;
            continue;
        }
        quotes = match (quotes, character) {
            (Quotes::None, '\'') => Quotes::Single,
            (Quotes::None, '"') => Quotes::Double,
            (Quotes::Single, '\'') | (Quotes::Double, '"') => Quotes::None,
            (unchanged, _) => unchanged,
        };
        whole.push(character);
        rest = &rest[character.len_utf8()..];
        if character == '\\'
            && quotes != Quotes::Single
            && let Some(escaped) = rest.chars().next()
        {
            whole.push(escaped);
            rest = &rest[escaped.len_utf8()..];
        }
    }
    whole
}
