//! The research agent as a service, and as a part of this program. Run with: cargo run -p examples --example research -- "Why is the sky blue?"
//!
//! With `serve` in the place of the question it listens on 127.0.0.1:3001, and answers `POST /process`. With `ANTHROPIC_API_KEY` it asks Claude,
//! without it a model that knows one thing.

use std::{env, error::Error, sync::Arc};

use orchestr8_agent_base::{
    AgentRegistry,
    adapter::{Microservice, RequestContext, SubAgent},
    model::{Anthropic, ApiKey, ChatResponse, Fake, Models},
    prompt::PromptFiles,
    registry::RegisteredAgent,
    research::Research,
};
use orchestr8_core::clock::SystemClock;
use serde_json::json;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let models = match env::var_os(Anthropic::KEY) {
        Some(_) => {
            let claude = Anthropic::new(Anthropic::API_BASE, ApiKey::variable(Anthropic::KEY))?;
            Models::new().provider("claude", "anthropic", claude).default_model("worker")
        }
        None => knows_one_thing(),
    };
    let registry = registry(models)?;
    match env::args().nth(1).as_deref() {
        Some("serve") => {
            let listener = TcpListener::bind(("127.0.0.1", Microservice::PORT)).await?;
            println!("http://{}", listener.local_addr()?);
            axum::serve(listener, service(&registry)?).await?;
        }
        question => {
            let input =
                json!({ "query": question.unwrap_or("Why is the sky blue?"), "options": { "timeout": 30_000 } });
            let answer = part(&registry)?.handle_request(input, RequestContext::default()).await;
            println!("{}", answer.map_err(|failure| failure.message)?["result"].as_str().unwrap_or_default());
        }
    }
    Ok(())
}

fn knows_one_thing() -> Models {
    let scattering = || Ok(ChatResponse::text("Air scatters short waves of light more than long ones."));
    Models::new().provider("parrot", "fake", Fake::by(move |_| scattering())).default_model("parrot")
}

fn registry(models: Models) -> Result<AgentRegistry, Box<dyn Error>> {
    let mut registry = AgentRegistry::new();
    registry.register(Research::new(PromptFiles::default())?)?;
    registry.set_models(Some(models));
    Ok(registry)
}

fn agent(registry: &AgentRegistry) -> Result<Arc<RegisteredAgent>, Box<dyn Error>> {
    Ok(Arc::clone(registry.latest(&"@orchestr8/research".parse()?).ok_or("it was just registered")?))
}

/// The agent behind HTTP.
fn service(registry: &AgentRegistry) -> Result<axum::Router, Box<dyn Error>> {
    Ok(Microservice::new(agent(registry)?, Arc::new(SystemClock::new())).serve(registry).into_router())
}

/// The same agent for whoever calls functions.
fn part(registry: &AgentRegistry) -> Result<SubAgent, Box<dyn Error>> {
    Ok(SubAgent::new(agent(registry)?, Arc::new(SystemClock::new())).serve(registry))
}

#[cfg(test)]
mod tests {
    use orchestr8_agent_base::http::ServiceAgent;
    use orchestr8_core::Engine;
    use orchestr8_core::schema::ValidWorkflow;
    use tokio::net::TcpListener;

    use super::{RequestContext, json, knows_one_thing, part, registry, service};

    #[tokio::test]
    async fn a_workflow_asks_the_service_and_gets_what_the_part_answers() {
        let registry = registry(knows_one_thing()).expect("registered");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = service(&registry).expect("a router");
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });

        let remote =
            ServiceAgent::connect(&"@acme/research".parse().expect("an id"), &url, []).await.expect("it is there");
        let engine = Engine::builder().agent(remote).build().expect("an engine");
        let workflow = ValidWorkflow::from_value(&json!({
            "version": "1.0.0",
            "metadata": { "id": "ask", "name": "Ask" },
            "steps": [{ "id": "look", "agent": { "id": "@acme/research" }, "input": { "query": "${inputs.question}" } }]
        }));
        let input = json!({ "question": "Why is the sky blue?" });
        let execution = engine.start(&workflow.expect("valid"), input).await.expect("started");
        let outcome = execution.outcome().await.expect("it ends");
        serving.abort();
        let query = json!({ "query": "Why is the sky blue?" });
        let own = part(&registry).expect("a part").handle_request(query, RequestContext::default()).await;
        assert_eq!(outcome.output("look").expect("it has answered")["result"], own.expect("it answers")["result"]);
    }
}
