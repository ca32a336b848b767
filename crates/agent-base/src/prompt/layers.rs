//! Prompts in layers: role, persona, personality, task.

use minijinja::{Environment, ErrorKind, UndefinedBehavior, value::Serde};
use serde_json::{Value, json};

use super::{Composed, MAX_VALUE, sanitize};
use crate::{AgentError, model::SystemBlock};

/// The most bytes of what a task's template gives.
const MAX_OUTPUT: usize = 64 * 1024;
/// What rendering may cost, in instructions of the template engine.
const FUEL: u64 = 100_000;

/// A prompt in layers. Role, persona and personality are system text, literally and in this order; the task is a template, and becomes the
/// user message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layers {
    /// Who answers.
    pub role: Option<String>,
    /// As whom.
    pub persona: Option<String>,
    /// In which manner.
    pub personality: Option<String>,
    /// What is to be done, as a template in which `input` (and its `variables`, `visits` and `vars`, where it has them) stand.
    pub task: Option<String>,
    pub(super) model: Option<String>,
}

impl Layers {
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    pub(super) fn check(&self) -> Result<(), AgentError> {
        let Some(task) = &self.task else { return Ok(()) };
        check(task).map_err(|TaskProblem { line, message }| {
            let line = line.map_or_else(String::new, |line| format!(" in line {line}"));
            AgentError::validation(format!("the task of the prompt{line}: {message}"))
        })
    }

    pub(super) fn compose(&self, input: &Value) -> Result<Composed, AgentError> {
        let layers = [&self.role, &self.persona, &self.personality].into_iter().flatten();
        let text: Vec<_> = layers.map(|layer| layer.trim()).collect();
        let system = if text.is_empty() { Vec::new() } else { vec![SystemBlock::new(text.join("\n\n"), true)] };
        let mut input = input.clone();
        sanitize(&mut input, MAX_VALUE)?;
        let user = match &self.task {
            Some(task) => render(task, &input)?,
            None => orchestr8_schema::canonical::to_string(&input),
        };
        Ok(Composed { system, user })
    }
}

/// The names that a task's template may use.
const NAMES: [&str; 4] = ["input", "variables", "visits", "vars"];

/// What is wrong with a task's template.
pub(super) struct TaskProblem {
    /// The line of the template, from 1.
    pub(super) line: Option<usize>,
    pub(super) message: String,
}

/// Looks whether a task's template is one, and names only what there is.
pub(super) fn check(task: &str) -> Result<(), TaskProblem> {
    let environment = environment();
    let template = environment.template_from_str(task).map_err(|error| TaskProblem {
        line: error.line(),
        message: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
    })?;
    let is_known = |name: &str| NAMES.contains(&name) || environment.globals().any(|(known, _)| known == name);
    let unknown = template.undeclared_variables(false).into_iter().filter(|name| !is_known(name));
    let lines = unknown.map(|name| {
        let is_named = |line: &str| {
            let mut words = line.split(|character: char| !character.is_alphanumeric() && character != '_');
            line.contains('{') && words.any(|word| word == name)
        };
        (task.lines().position(is_named).map(|index| index + 1), name)
    });
    match lines.min() {
        None => Ok(()),
        Some((line, name)) => {
            let message = format!("there is no `{name}`: a task may use {}", NAMES.join(", "));
            Err(TaskProblem { line, message })
        }
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

fn render(task: &str, input: &Value) -> Result<String, AgentError> {
    let environment = environment();
    let part = |key: &str| input.get(key).cloned().unwrap_or_else(|| json!({}));
    let names =
        json!({ "input": input, "variables": part("variables"), "visits": part("visits"), "vars": part("vars") });
    let mut rendered = Bounded(Vec::new());
    let failed = |error: minijinja::Error| {
        let line = error.line().map_or_else(String::new, |line| format!(" in line {line}"));
        let why = match error.kind() {
            ErrorKind::UndefinedError => "it names something that is not there",
            ErrorKind::OutOfFuel => "it takes too long",
            ErrorKind::WriteFailure => "it gives more than 64 KB",
            _ => "it cannot be rendered",
        };
        AgentError::validation(format!("the task of the prompt{line}: {why}")).with_source(error)
    };
    let template = environment.template_from_str(task).map_err(failed)?;
    template.render_captured_to(Serde(names), &mut rendered).map_err(failed)?;
    String::from_utf8(rendered.0).map_err(|error| AgentError::internal("a template gave no text").with_source(error))
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
