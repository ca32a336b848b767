//! Keys of providers: read when a model is asked, and never kept or shown.

use std::fmt;

use crate::{AgentError, SecretString, Secrets};

/// Where the key of a provider comes from.
#[derive(Clone)]
pub struct ApiKey(Source);

#[derive(Clone)]
enum Source {
    None,
    Variable(String),
    Secret(String, Secrets),
    Given(SecretString),
}

impl ApiKey {
    /// No key, for providers that ask for none.
    #[must_use]
    pub fn none() -> Self {
        Self(Source::None)
    }

    /// Takes the key from a variable of the process.
    #[must_use]
    pub fn variable(name: impl Into<String>) -> Self {
        Self(Source::Variable(name.into()))
    }

    /// Takes the key from a secret, whatever workflows may ask for.
    #[must_use]
    pub fn secret(reference: impl Into<String>, secrets: Secrets) -> Self {
        Self(Source::Secret(reference.into(), secrets))
    }

    /// Takes this key.
    #[must_use]
    pub fn given(key: SecretString) -> Self {
        Self(Source::Given(key))
    }

    /// Reads the key; absent if none is asked for.
    pub(super) fn read(&self) -> Result<Option<SecretString>, AgentError> {
        match &self.0 {
            Source::None => Ok(None),
            Source::Given(key) => Ok(Some(key.clone())),
            Source::Secret(reference, secrets) => secrets.find(reference).map(Some),
            Source::Variable(name) => match std::env::var(name) {
                Ok(key) if !key.trim().is_empty() => Ok(Some(SecretString::new(key.trim()))),
                _ => Err(AgentError::not_found(format!("{name} is not set, and the provider needs a key"))),
            },
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::None => f.write_str("ApiKey(none)"),
            Source::Variable(name) => write!(f, "ApiKey(env:{name})"),
            Source::Secret(reference, _) => write!(f, "ApiKey({reference})"),
            Source::Given(_) => f.write_str("ApiKey(***)"),
        }
    }
}
