//! A greeting that is made, made personal and delivered.

use orchestr8_schema::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Example;
use crate::{AgentContext, AgentRegistry, registry::RegisterError};

#[derive(Deserialize, JsonSchema)]
struct Greet {
    name: String,
    /// `en`, `fr` or `de`; any other counts as `en`.
    #[serde(default = "english")]
    language: String,
}

#[derive(Serialize, JsonSchema)]
struct Greeting {
    message: String,
    timestamp: Timestamp,
    language: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Personalize {
    base_message: String,
    user_name: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Personalized {
    personalized_message: String,
}

#[derive(Deserialize, JsonSchema)]
struct Deliver {
    message: String,
    timestamp: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Delivered {
    status: DeliveryStatus,
    message: String,
    delivered_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum DeliveryStatus {
    Delivered,
}

fn english() -> String {
    "en".to_owned()
}

pub(super) fn register(registry: &mut AgentRegistry) -> Result<(), RegisterError> {
    let greet = |Greet { name, language }: Greet, cx: &AgentContext| {
        let message = match language.as_str() {
            "fr" => format!("Bonjour, {name} !"),
            "de" => format!("Hallo, {name}!"),
            _ => format!("Hello, {name}!"),
        };
        Ok(Greeting { message, timestamp: cx.now(), language })
    };
    let personalize = |Personalize { base_message, user_name }: Personalize, _: &AgentContext| {
        Ok(Personalized { personalized_message: format!("{base_message} Welcome aboard, {user_name}.") })
    };
    let deliver = |Deliver { message, timestamp }: Deliver, _: &AgentContext| {
        Ok(Delivered { status: DeliveryStatus::Delivered, message, delivered_at: timestamp })
    };
    registry.register(Example::new("greeting-agent", "Greets a person in their language", greet).idempotent())?;
    registry.register(
        Example::new("personalization-agent", "Adds a personal welcome to a greeting", personalize).idempotent(),
    )?;
    registry.register(Example::new("delivery-agent", "Delivers a message", deliver))
}
