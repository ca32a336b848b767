//! Values of settings that stand elsewhere: `${VAR}` in the environment, `secret://path` among the secrets.

use std::env;

use orchestr8_agent_base::{AgentError, Secrets};

/// Puts in what a text names. A text that is a reference to a secret is that secret whole.
///
/// # Errors
///
/// VALIDATION naming the variable that is not set, and as of [`Secrets::find`].
pub(crate) fn expanded(secrets: &Secrets, text: &str) -> Result<String, AgentError> {
    if text.starts_with("secret://") {
        return Ok(secrets.find(text)?.expose().to_owned());
    }
    let (mut whole, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else { break };
        let value = env::var(name).map_err(|source| {
            AgentError::validation(format!("the variable `{name}`, which the settings name, is not set"))
                .with_source(source)
        })?;
        whole.push_str(before);
        whole.push_str(&value);
        rest = after;
    }
    whole.push_str(rest);
    Ok(whole)
}
