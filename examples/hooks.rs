//! Hooks of the engine: a guard that prevents a step, and an observer of all that ends. Run with: cargo run -p examples --example hooks

use orchestr8_agent_base::HelloWorld;
use orchestr8_core::{
    Engine,
    hook::{Decision, HookSpec, hook_fn},
    schema::{ValidWorkflow, workflow::HookPoint},
};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guard = hook_fn(HookSpec::guard("manners", [HookPoint::BeforeStep]), |event, _cx, _cancel| async move {
        Ok(match event.input()["name"].as_str() {
            Some("Voldemort") => Decision::deny("he must not be named"),
            // Whatever a guard puts in the place of the input is checked as the first one was.
            None => Decision::AllowWith(json!({ "name": "Stranger" })),
            Some(_) => Decision::Allow,
        })
    });
    let points = [HookPoint::AfterStep, HookPoint::OnStepError, HookPoint::AfterExecution];
    let observer = hook_fn(HookSpec::observer("printer", points), |event, _cx, _cancel| async move {
        println!("{} {}", event.step_path().unwrap_or("the execution"), event.status().unwrap_or("goes on"));
        Ok(Decision::Allow)
    });

    let engine = Engine::builder().agent(HelloWorld).hook(guard).hook(observer).build()?;
    let workflow = ValidWorkflow::from_json(
        r#"{
            "version": "1.0.0",
            "metadata": { "id": "greet", "name": "Greet" },
            "steps": [{
                "id": "hello",
                "agent": { "id": "@orchestr8/hello-world" },
                "input": { "name": "${inputs.name ?? null}" }
            }]
        }"#,
    )?;
    for input in [json!({ "name": "Ada" }), json!({ "name": null }), json!({ "name": "Voldemort" })] {
        let outcome = engine.start(&workflow, input).await?.outcome().await?;
        match (outcome.output("hello"), outcome.error()) {
            (Some(output), _) => println!("  {}", output["result"]),
            (None, Some(error)) => println!("  {error}"),
            (None, None) => {}
        }
    }
    Ok(())
}
