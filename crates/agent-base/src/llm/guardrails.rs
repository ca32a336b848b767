//! Checks of what prompts forbid.

use std::{fmt, sync::Arc};

use orchestr8_schema::prompt::{AgentPrompt, Enforcement, Guardrail, GuardrailKind};
use serde_json::{Value, json};

use crate::{AgentContext, AgentError, context::LogLevel, prompt::Prompt};

/// Checks that hold what is said and done against the guardrails of [JSON prompts](AgentPrompt).
///
/// A prompt tells its guardrails to the model, which may or may not keep to them. A check is registered for the text of a rule, and is asked
/// wherever a prompt has this rule: for one of the type `content` about the input and the output, for `behavior` about each call of a tool
/// before it is made, for `output` about the output. What it finds fails the attempt with DENIED if the enforcement is `block`, and else stands in
/// the journal, as a remark of the level warn or info.
///
/// ```
/// use orchestr8_agent_base::llm::{Guardrails, Subject};
///
/// let guardrails = Guardrails::new().check("Never write an e-mail address", |subject| match subject {
///     Subject::Output(output) if output.to_string().contains('@') => Some("there is an @ in it".to_owned()),
///     _ => None,
/// });
/// # drop(guardrails);
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Guardrails(Arc<Vec<Registered>>);

#[derive(Clone)]
struct Registered {
    rule: Arc<str>,
    check: Check,
}

type Check = Arc<dyn Fn(Subject<'_>) -> Option<String> + Send + Sync>;

/// What a check is asked about.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Subject<'a> {
    /// What the agent is given.
    Input(&'a Value),
    /// A tool that the model wants to be called.
    ToolCall {
        /// Its name.
        name: &'a str,
        /// With what.
        arguments: &'a Value,
    },
    /// What the agent answers.
    Output(&'a Value),
}

impl Guardrails {
    /// Makes a set without checks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check of a rule, which answers what breaks it, or nothing. There may be several of one rule. What it finds stands in the journal, so it
    /// should not quote what it has seen.
    pub fn check(mut self, rule: &str, check: impl Fn(Subject<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).push(Registered { rule: rule.trim().into(), check: Arc::new(check) });
        self
    }

    /// Asks the checks of a prompt's rules.
    pub(super) fn hold(&self, cx: &AgentContext, prompt: &Prompt, subject: Subject<'_>) -> Result<(), AgentError> {
        let Prompt::Agent(prompt) = prompt else { return Ok(()) };
        let AgentPrompt { guardrails, .. } = &**prompt;
        for (place, guardrail) in
            guardrails.iter().enumerate().filter(|(_, guardrail)| is_about(guardrail.kind, subject))
        {
            let checks = self.0.iter().filter(|registered| *registered.rule == *guardrail.rule.trim());
            for found in checks.filter_map(|registered| (registered.check)(subject)) {
                broken(cx, place, guardrail, subject, &found)?;
            }
        }
        Ok(())
    }
}

fn is_about(kind: GuardrailKind, subject: Subject<'_>) -> bool {
    matches!(
        (kind, subject),
        (GuardrailKind::Content, Subject::Input(_) | Subject::Output(_))
            | (GuardrailKind::Behavior, Subject::ToolCall { .. })
            | (GuardrailKind::Output, Subject::Output(_))
    )
}

/// Does what the prompt says about a rule that is broken.
fn broken(
    cx: &AgentContext,
    place: usize,
    guardrail: &Guardrail,
    subject: Subject<'_>,
    found: &str,
) -> Result<(), AgentError> {
    let what = match subject {
        Subject::Input(_) => "the input".to_owned(),
        Subject::ToolCall { name, .. } => format!("a call of `{name}`"),
        Subject::Output(_) => "the output".to_owned(),
    };
    let level = match guardrail.enforcement {
        Enforcement::Block => {
            // The rule is part of the prompt, which messages do not hold.
            let message = format!("guardrail {} of the prompt blocks {what}: {found}", place + 1);
            return Err(AgentError::denied(message).with_context(json!({ "guardrail": place, "type": guardrail.kind })));
        }
        Enforcement::Warn => LogLevel::Warn,
        Enforcement::Log => LogLevel::Info,
    };
    let data = json!({ "guardrail": place, "type": guardrail.kind, "rule": guardrail.rule, "found": found });
    cx.log(level, format!("guardrail {} of the prompt is broken by {what}", place + 1), data);
    Ok(())
}

impl fmt::Debug for Guardrails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|registered| &registered.rule)).finish()
    }
}
