//! Tool steps: to a tool what agent steps are to an agent.

use std::time::Duration;

use orchestr8_agent_base::{AgentError, AgentRegistry, CancellationToken, ToolSpec, tool_fn};
use orchestr8_core::{Engine, Plan};
use orchestr8_schema::{Code, ErrorKind, ValidWorkflow, source::Options};
use orchestr8_testing::{Harness, assert_completed, assert_events, assert_failed};
use serde_json::{Value, json};

use crate::workflow;

fn spec(name: &str) -> ToolSpec {
    ToolSpec::new(name, "For a test").expect("well formed")
}

fn call(id: &str, tool: &str, arguments: &Value) -> Value {
    json!({ "id": id, "tool": { "name": tool, "arguments": arguments }, "policies": { "retry": { "baseDelayMs": 100, "jitter": false } } })
}

fn circuit_keys(engine: &Engine) -> Vec<String> {
    engine.circuits().iter().map(|(key, _)| key.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tool_is_called_through_the_layers_that_agents_are_called_through() {
    let tool = tool_fn(spec("http.get"), |arguments, cx, _| async move {
        if cx.attempt() == 1 {
            return Err(AgentError::network("the line is bad"));
        }
        Ok(json!({ "url": arguments["url"], "key": cx.idempotency_key() }))
    });
    let steps = json!([
        call("a", "http.get", &json!({ "url": "https://${inputs.host}/x" })),
        { "id": "b", "tool": { "name": "http.get", "arguments": { "url": "${steps.a.output.url}" } }, "dependencies": ["a"] },
    ]);
    let workflow = ValidWorkflow::from_value(&workflow(steps)).expect("valid");
    let engine = Harness::new().tool(tool).engine();
    let handle = engine.start(&workflow, json!({ "host": "example.org" })).await.expect("started");
    let run = orchestr8_testing::Run::of(&handle).await;

    assert_completed!(run);
    assert_events!(
        run,
        ["step.scheduled a", "attempt.finished a", "retry.scheduled a", "step.completed a", "step.completed b"]
    );
    assert_eq!(run.output("b")["url"], "https://example.org/x");
    assert_eq!(circuit_keys(&engine), ["cb:http.get", "cb:http.get:example.org"]);
    let body = run.outcome().to_body();
    assert_eq!((body.steps[0].kind.as_str(), body.steps[0].tool.as_deref()), ("tool", Some("http.get")));
    assert_eq!(body.steps[0].agent_id, None);
    // The journal's key is the one that the tool was given, and the name of the tool is part of the digest.
    let scheduled = run.journal().iter().find(|entry| entry.kind == "step.scheduled").expect("scheduled");
    assert_eq!(scheduled.data["idempotencyKey"], run.output("a")["key"]);
    assert_eq!(scheduled.data["tool"], "http.get");
    assert_ne!(scheduled.data["inputDigest"], orchestr8_schema::canonical::digest(&scheduled.data["input"]));
}

#[tokio::test(start_paused = true)]
async fn arguments_and_results_that_break_a_tools_schema_fail_the_step() {
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
    for (arguments, attempts) in [(json!({ "n": "one" }), 0), (json!({ "n": 1 }), 1)] {
        let spec = spec("pick").input_schema(schema.clone()).output_schema(json!({ "type": "string" }));
        let tool = tool_fn(spec, |arguments, _, _| async move { Ok(arguments) });
        let run = Harness::new().tool(tool).run(workflow(json!([call("a", "pick", &arguments)])), json!({})).await;
        assert_failed!(run, ErrorKind::Validation);
        assert_eq!(run.outcome().error().map(|error| error.attempts), Some(attempts));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tools_result_has_a_limit_and_its_own_timeout_holds() {
    let big = tool_fn(spec("big"), |_, _, _| async { Ok(json!("x".repeat(1024 * 1024))) });
    let run = Harness::new().tool(big).run(workflow(json!([call("a", "big", &json!({}))])), json!({})).await;
    assert_failed!(run, ErrorKind::Validation);

    let slow = tool_fn(spec("slow").timeout(Duration::from_secs(2)), |_, _, cancel: CancellationToken| async move {
        cancel.cancelled().await;
        Ok(Value::Null)
    });
    let mut step = call("a", "slow", &json!({}));
    step["policies"]["retry"]["maxAttempts"] = json!(1);
    let run = Harness::new().tool(slow).run(workflow(json!([step])), json!({})).await;
    assert_failed!(run, ErrorKind::Timeout);
}

#[test]
fn tools_that_are_not_there_are_named() {
    let document = workflow(json!([call("a", "github:create-isue", &json!({}))]));
    let mut agents = AgentRegistry::new();
    let tool = tool_fn(spec("create-issue"), |arguments, _, _| async { Ok(arguments) });
    agents.tools_mut().register_in("github", tool).expect("registered");

    let error = Plan::compile(&ValidWorkflow::from_value(&document).expect("valid"), &agents).expect_err("refused");
    assert_eq!(error.to_string(), "step `a` calls the tool `github:create-isue`, which is not registered");
    let problems = orchestr8_schema::load(document.to_string(), &Options::new().agents(&agents)).expect_err("invalid");
    let problem = &problems.diagnostics()[0];
    assert_eq!(problem.code, Code::UnknownAgent);
    assert_eq!(problem.help.as_deref(), Some("did you mean `github:create-issue`?"));
}
