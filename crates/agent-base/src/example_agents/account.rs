//! Accounts, and who may have one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Example;
use crate::{AgentRegistry, registry::RegisterError};

#[derive(Deserialize, JsonSchema)]
struct Person {
    name: String,
    email: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Account {
    user_id: String,
    name: String,
}

#[derive(Deserialize, JsonSchema)]
struct Domain {
    email: String,
    domain: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(tag = "decision", rename_all = "kebab-case")]
enum Decision {
    Allow,
    Deny { reason: String },
}

pub(super) fn register(registry: &mut AgentRegistry) -> Result<(), RegisterError> {
    registry.register(Example::new("account-agent", "Creates an account", |Person { name, email }, _| {
        Ok(Account { user_id: format!("usr-{email}"), name })
    }))?;
    registry.register(
        Example::new("domain-guard", "Lets only addresses of one domain pass", |Domain { email, domain }, _| {
            Ok(if email.ends_with(&format!("@{domain}")) {
                Decision::Allow
            } else {
                Decision::Deny { reason: "domain not allowed".to_owned() }
            })
        })
        .idempotent(),
    )
}
