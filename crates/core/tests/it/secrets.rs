//! Secrets: who is given one, and where it shows.

use std::time::Duration;

use orchestr8_agent_base::{
    Agent, AgentContext, AgentError, AgentManifest, Secrets, Tool, ToolSpec, agent_fn,
    context::LogLevel,
    tool::{ToolPlace, tool_fn},
};
use orchestr8_schema::{ErrorKind, config::ToolPolicy};
use orchestr8_testing::{Harness, Run, assert_completed, assert_failed};
use serde_json::{Value, json};

use crate::{step, workflow};

const CANARY: &str = "ca\"nary-5e1f\\00c0ffee";

/// Says its secret wherever it can.
fn blabbing(manifest: AgentManifest) -> impl Agent {
    agent_fn(manifest, |input: Value, cx: AgentContext, _| async move {
        let secret = cx.secrets().get("secret://vault/canary")?;
        assert_eq!((format!("{secret} {secret:?}").as_str(), secret.expose()), ("*** ***", CANARY));
        let text = secret.expose().to_owned();
        cx.log(LogLevel::Info, format!("it is {text}"), json!({ &text: [&text] }));
        cx.progress(None, text.clone());
        let kept = cx.durable("ask", &json!({}), async { Ok(json!({ "answer": format!("<{text}>") })) }).await?;
        assert_eq!(kept, json!({ "answer": "<[REDACTED]>" }), "the agent goes on with what a replay will see");
        if input["fails"] == true {
            let source = AgentError::network(text.clone()).with_context(json!({ "header": text }));
            return Err(AgentError::validation(format!("{text} was refused")).with_source(source));
        }
        Ok(json!({ "said": text, "quoted": json!({ "inner": text }).to_string() }))
    })
}

fn manifest() -> AgentManifest {
    AgentManifest::new("@test/blab", "1.0.0", "Blabs").expect("well formed")
}

async fn run(agent: impl Agent, input: Value, refs: Value, secrets: Secrets) -> Run {
    let mut call = step("a", "blab", &[]);
    call["input"] = input;
    let mut document = workflow(json!([call]));
    document["context"] = json!({ "secretRefs": refs });
    let harness = Harness::new().agent(agent).secrets(secrets);
    harness.run(document, json!({})).await
}

fn vault() -> Secrets {
    Secrets::none().with("vault/canary", CANARY)
}

fn assert_hidden(run: &Run) {
    let stored = format!("{:?}", run.snapshot().events());
    let shown = serde_json::to_string(run.journal()).expect("JSON") + &run.outcome().to_body().steps.len().to_string();
    for text in [stored, shown, format!("{:?}", run.outcome().to_body())] {
        assert!(text.contains("[REDACTED]"), "{text}");
        assert!(!text.contains("5e1f"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_given_out_is_in_no_event_and_no_view() {
    let run_one = |input| run(blabbing(manifest()), input, json!(["secret://vault/canary"]), vault());
    let completed = run_one(json!({})).await;
    assert_completed!(completed);
    assert_eq!(completed.output("a")["said"], "[REDACTED]");
    assert_hidden(&completed);
    let failed = run_one(json!({ "fails": true })).await;
    assert_failed!(failed, ErrorKind::Validation);
    assert_hidden(&failed);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_listed_is_denied_and_what_is_not_there_is_not_found() {
    let listed = json!(["secret://vault/canary"]);
    let agent = || blabbing(manifest());
    let denied = run(agent(), json!({}), json!([]), vault()).await;
    assert_failed!(denied, ErrorKind::Denied);
    let other = blabbing(manifest().secret("secret://vault/other"));
    assert_failed!(run(other, json!({}), listed.clone(), vault()).await, ErrorKind::Denied);
    let policy = serde_json::from_value::<Vec<String>>(json!(["mail/*"])).expect("a list");
    let mut access = orchestr8_schema::config::AccessPolicy::default();
    access.allow = Some(policy);
    assert_failed!(run(agent(), json!({}), listed.clone(), vault().policy(&access)).await, ErrorKind::Denied);
    assert_failed!(run(agent(), json!({}), listed, Secrets::none()).await, ErrorKind::NotFound);
}

fn lookup() -> impl Tool {
    let schema = json!({ "type": "object", "required": ["key"], "properties": { "key": { "type": "string" } } });
    let spec = ToolSpec::new("vault.lookup", "Looks up").expect("well formed").input_schema(schema);
    tool_fn(spec, |arguments: Value, cx: AgentContext, _| async move {
        if arguments["key"] == "slow" {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Ok(json!({ "sent": arguments["key"], "key": cx.idempotency_key() }))
    })
}

#[tokio::test(start_paused = true)]
async fn tools_of_agents_are_let_through_checked_timed_and_given_secrets_that_models_never_see() {
    let manifest = AgentManifest::new("@test/blab", "1.0.0", "Calls tools").expect("well formed");
    let agent = agent_fn(manifest, |_, cx: AgentContext, cancel: orchestr8_agent_base::CancellationToken| async move {
        let tools = cx.tools().only(["vault.lookup".to_owned(), "shell.run".to_owned()]);
        let place = |index| ToolPlace { turn: 1, index };
        let call = async |name: &str, arguments: Value, index| {
            let called = tools.call(name, &arguments, place(index), cancel.clone()).await;
            called.unwrap_or_else(|error| json!(error.kind().code()))
        };
        Ok(json!({
            "listed": tools.list().await?.iter().map(|spec| spec.name.to_string()).collect::<Vec<_>>(),
            "good": call("vault.lookup", json!({ "key": "<SECRET:vault/canary>!" }), 0).await["sent"],
            "same": call("vault.lookup", json!({ "key": "" }), 1).await["key"] == call("vault.lookup", json!({ "key": "" }), 1).await["key"],
            "other": call("vault.lookup", json!({ "key": "" }), 1).await["key"] == call("vault.lookup", json!({ "key": "" }), 2).await["key"],
            "wrong": call("vault.lookup", json!({}), 3).await,
            "slow": call("vault.lookup", json!({ "key": "slow" }), 4).await,
            "denied": call("shell.run", json!({}), 5).await,
            "unknown": call("no.such", json!({}), 6).await,
        }))
    });
    let shell = tool_fn(ToolSpec::new("shell.run", "Runs").expect("well formed"), |_, _, _| async {
        panic!("it must not be called")
    });
    let mut policy = ToolPolicy::default();
    policy.deny = vec!["shell.*".to_owned()];
    let mut document = workflow(json!([step("a", "blab", &[])]));
    document["context"] = json!({ "secretRefs": ["secret://vault/canary"] });
    document["steps"][0]["policies"] = json!({ "timeout": 120_000 });
    let harness = Harness::new().agent(agent).tool(lookup()).tool(shell);
    let run = harness.secrets(vault()).tool_policy(policy).run(document, json!({})).await;
    assert_completed!(run);
    let expected = json!({
        "listed": ["vault.lookup"], "good": "[REDACTED]!", "same": true, "other": false,
        "wrong": "VALIDATION", "slow": "TIMEOUT", "denied": "DENIED", "unknown": "DENIED",
    });
    assert_eq!(run.output("a"), &expected);
    assert_hidden(&run);
    let denied: Vec<_> = run.journal().iter().filter(|entry| entry.kind == "tool.denied").collect();
    assert_eq!(denied.iter().map(|entry| &entry.data["tool"]).collect::<Vec<_>>(), ["shell.run", "no.such"]);
    let called = run.journal().iter().filter(|entry| entry.kind == "tool.called");
    assert_eq!(called.filter(|entry| entry.data.get("error").is_some()).count(), 2);
}
