//! A chat agent behind a microservice, and a workflow that calls it. Run with: cargo run -p examples --example chat_service
//!
//! With `ANTHROPIC_API_KEY` it asks Claude, without it a model that only repeats what it is told.

use std::{error::Error, sync::Arc};

use orchestr8_agent_base::{
    AgentRegistry,
    adapter::Microservice,
    http::ServiceAgent,
    llm::Llm,
    model::{Anthropic, ApiKey, ChatRequest, ChatResponse, Fake, Models},
    prompt::PromptFiles,
};
use orchestr8_core::{Engine, clock::SystemClock, schema::ValidWorkflow};
use serde_json::json;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let models = match std::env::var_os(Anthropic::KEY) {
        Some(_) => {
            let claude = Anthropic::new(Anthropic::API_BASE, ApiKey::variable(Anthropic::KEY))?;
            Models::new().provider("claude", "anthropic", claude).default_model("cheap")
        }
        None => Models::new().provider("parrot", "fake", parrot()).default_model("parrot"),
    };
    println!("{}", chat(models, "Hello, who are you?").await?);
    Ok(())
}

/// Says what it was told.
fn parrot() -> Fake {
    Fake::by(|request: &ChatRequest| {
        let told = request.messages.last().map(|message| message.text()).unwrap_or_default();
        Ok(ChatResponse::text(format!("You said: {told}")))
    })
}

/// Serves the agent, and has a workflow ask it.
async fn chat(models: Models, message: &str) -> Result<String, Box<dyn Error>> {
    // The service: any agent can be put behind it, with the models that it may ask.
    let prompt = json!({ "role": "You are a friendly assistant.", "task": "{{ input.message }}" });
    let config = [("prompt".to_owned(), prompt)].into_iter().collect();
    let mut registry = AgentRegistry::new();
    registry.register_with_config(Llm::new(PromptFiles::default()), config)?;
    registry.set_models(Some(models));
    let agent = registry.latest(&"@orchestr8/llm".parse()?).ok_or("it was just registered")?;
    let router = Microservice::new(Arc::clone(agent), Arc::new(SystemClock::new())).serve(&registry).into_router();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });

    // The workflow knows only where the service is; in settings: `agents: { "@acme/chat": { "url": … } }`.
    let chat = ServiceAgent::connect(&"@acme/chat".parse()?, &url, []).await?;
    let engine = Engine::builder().agent(chat).build()?;
    let workflow = ValidWorkflow::from_value(&json!({
        "version": "1.0.0",
        "metadata": { "id": "chat", "name": "Chat" },
        "steps": [{ "id": "answer", "agent": { "id": "@acme/chat" }, "input": { "message": "${inputs.message}" } }]
    }))?;
    let execution = engine.start(&workflow, json!({ "message": message })).await?;
    let outcome = execution.outcome().await?;
    serving.abort();
    let answer = outcome.output("answer").ok_or("it has not answered")?;
    Ok(answer["text"].as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Models, chat, parrot};

    #[tokio::test]
    async fn the_agent_answers_through_its_service() {
        let models = Models::new().provider("parrot", "fake", parrot()).default_model("parrot");
        let said = chat(models, "Good morning").await.expect("it answers");
        assert_eq!(said, "You said: Good morning");
    }
}
