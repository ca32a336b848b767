//! The agents that come along and need no network. All are version 1.0.0 and in the scope `@orchestr8`.
//!
//! | agent | input → output |
//! |---|---|
//! | [`Echo`] | anything → the same |
//! | [`Noop`] | anything → `{"result": "ok"}` |
//! | [`Delay`] | `{duration, value?}` → the value, after that time |
//! | [`Fail`] | `{code, message?, retryAfter?}` → fails so |
//! | [`Flaky`] | `{failTimes, code?, value?}` → the value, once that many attempts have failed |
//! | [`Transform`] | `{data, expression}` → what the JMESPath expression makes of the data |
//! | `Template` | `{template, data}` → `{text}`; with feature `template` |
//!
//! [`register`] adds all of them and [`HelloWorld`] to a registry:
//!
//! ```
//! use orchestr8_agent_base::{AgentRegistry, builtin};
//!
//! let mut registry = AgentRegistry::new();
//! builtin::register(&mut registry)?;
//! assert!(registry.latest(&"@orchestr8/echo".parse()?).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod delay;
mod echo;
mod fail;
mod noop;
#[cfg(feature = "template")]
mod template;
mod transform;

use serde::de::DeserializeOwned;
use serde_json::Value;

#[cfg(feature = "template")]
pub use self::template::Template;
pub use self::{
    delay::Delay,
    echo::Echo,
    fail::{Fail, Flaky},
    noop::Noop,
    transform::Transform,
};
use crate::{AgentError, AgentManifest, AgentRegistry, HelloWorld, registry::RegisterError};

/// Adds all of these agents, and [`HelloWorld`], to a registry.
///
/// # Errors
///
/// [`RegisterError`] if one of them is there already, or the registry's environment configures one in a way that breaks its schema.
pub fn register(registry: &mut AgentRegistry) -> Result<(), RegisterError> {
    registry.register(HelloWorld)?;
    registry.register(Echo)?;
    registry.register(Noop)?;
    registry.register(Delay)?;
    registry.register(Fail)?;
    registry.register(Flaky)?;
    registry.register(Transform)?;
    #[cfg(feature = "template")]
    registry.register(Template::default())?;
    Ok(())
}

fn manifest(id: &str, description: &str) -> AgentManifest {
    AgentManifest::new(id, "1.0.0", description).expect("id, version and description are well formed").idempotent()
}

fn decode<T: DeserializeOwned>(input: &Value) -> Result<T, AgentError> {
    T::deserialize(input).map_err(|source| AgentError::validation("the input does not decode").with_source(source))
}
