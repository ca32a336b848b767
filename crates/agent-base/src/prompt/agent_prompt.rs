//! JSON prompts, composed.

use std::fmt::Write as _;

use orchestr8_schema::{
    canonical,
    json_schema::{JsonValidator, Violations},
    prompt::{AgentPrompt, Enforcement, PromptOnError},
};
use serde_json::Value;

use super::{Composed, sanitize::clean};
use crate::{AgentError, model::SystemBlock};

pub(super) fn compose(prompt: &AgentPrompt, input: &Value) -> Result<Composed, AgentError> {
    if let Some(schema) = &prompt.input_schema {
        let validator = JsonValidator::compile(schema)
            .map_err(|error| AgentError::validation("the prompt's `inputSchema` is none").with_source(error))?;
        validator.validate(input).map_err(|violations| {
            AgentError::validation(format!("the input does not fit the prompt: {}", Violations(&violations)))
        })?;
    }
    let mut input = input.clone();
    clean(&mut input)?;
    Ok(Composed { system: vec![SystemBlock::new(system(prompt), true)], user: canonical::to_string(&input) })
}

/// Writes the system text: role, goals, constraints, tools, steps, guardrails, examples, output schema.
fn system(prompt: &AgentPrompt) -> String {
    let mut text = prompt.role.clone();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(text, "\n\n{title}\n{}", lines.join("\n"));
        }
    };
    let numbered = |(number, goal): (usize, &String)| format!("{}. {goal}", number + 1);
    section("Goals:", prompt.goals.iter().enumerate().map(numbered).collect());
    section("Constraints:", prompt.constraints.iter().map(|constraint| format!("- {constraint}")).collect());
    let tools = prompt.tools.iter().map(|tool| {
        let required = if tool.required { " (required)" } else { "" };
        let parameters = tool
            .parameters
            .as_ref()
            .map_or_else(String::new, |parameters| format!("\n  Parameters: {}", canonical::to_string(parameters)));
        format!("- {}{required}: {}{parameters}", tool.name, tool.description)
    });
    section("Tools:", tools.collect());
    let steps = prompt.steps.iter().map(|step| {
        let validation = step.validation.as_ref().map_or_else(String::new, |check| format!("\n   Check: {check}"));
        let on_error = match step.on_error {
            PromptOnError::Fail => "",
            PromptOnError::Continue => "\n   If it fails: go on with the next step.",
            PromptOnError::Retry => "\n   If it fails: try again.",
        };
        format!("{}. {}: {}{validation}{on_error}", step.number, step.description, step.action)
    });
    section("Steps:", steps.collect());
    let guardrails = prompt.guardrails.iter().map(|guardrail| {
        let strength = match guardrail.enforcement {
            Enforcement::Block => "must",
            Enforcement::Warn | Enforcement::Log => "should",
        };
        format!("- ({strength}) {}", guardrail.rule)
    });
    section("Guardrails:", guardrails.collect());
    let examples = prompt.examples.iter().map(|example| {
        let about = example.description.as_ref().map_or_else(String::new, |about| format!("{about}\n"));
        let (input, output) = (canonical::to_string(&example.input), canonical::to_string(&example.output));
        format!("{about}Input: {input}\nOutput: {output}")
    });
    section("Examples:", examples.collect());
    let schema = prompt.output_schema.as_ref().map(canonical::to_string);
    section("Answer with JSON of this schema:", schema.into_iter().collect());
    text
}
