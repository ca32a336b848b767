//! The contract around agents, through the crate's public face.

mod support;

use std::sync::Arc;

use orchestr8_agent_base::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry, AgentService, CancellationToken, HelloWorld,
    TypedAgent, agent_fn, registry::RegisterError, service::AgentRequest,
};
use orchestr8_resilience::{Class, Classify};
use orchestr8_schema::{
    Code, ErrorKind,
    source::{Options, load_value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use support::context;

/// Calls an agent as an engine does, apart from the check of the input against its schema.
async fn call(agent: impl Agent, input: Value, config: Value) -> Result<Value, AgentError> {
    call_attempt(agent, input, config, 1).await
}

async fn call_attempt(agent: impl Agent, input: Value, config: Value, attempt: u32) -> Result<Value, AgentError> {
    let mut registry = AgentRegistry::new();
    registry.register(agent).expect("registered");
    let agent = Arc::clone(registry.list().next().expect("one"));
    let config = agent.configure(config.as_object())?;
    let cx = context(&input, config).for_attempt(attempt, None);
    AgentService::new(Arc::clone(agent.callee()))
        .oneshot(AgentRequest::new(Arc::new(input), cx, CancellationToken::new()))
        .await
}

fn manifest(id: &str) -> AgentManifest {
    AgentManifest::new(id, "1.0.0", "For a test").expect("well formed")
}

#[tokio::test]
async fn hello_world_greets_as_specified() {
    let cases = [
        (json!({ "message": "Hi" }), "Hello, Friend! Hi", json!("Hi")),
        (json!({ "name": "Ada" }), "Hello, Ada! Welcome to @orchestr8.", Value::Null),
        (json!({ "name": "Jörg Ä", "message": "  " }), "Hello, Jörg Ä! Welcome to @orchestr8.", Value::Null),
        (json!({ "unknown": 1 }), "Hello, Friend! Welcome to @orchestr8.", Value::Null),
    ];
    for (input, result, message) in cases {
        let output = call(HelloWorld, input, json!({})).await.expect("it greets");
        let expected = json!({
            "result": result,
            "message": message,
            "timestamp": "2025-01-17T12:00:00.000Z",
            "agentId": "@orchestr8/hello-world"
        });
        assert_eq!(output, expected);
    }
    for name in ["", "R2D2", &"a".repeat(51)] {
        let error = call(HelloWorld, json!({ "name": name }), json!({})).await.expect_err("no name");
        assert_eq!(error.kind(), ErrorKind::Validation, "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hello_world_fails_and_waits_when_told_to() {
    let config = json!({ "failTimes": 2, "failWith": "NETWORK", "delayMs": 100 });
    let began = tokio::time::Instant::now();
    for attempt in [1, 2] {
        let error = call_attempt(HelloWorld, json!({}), config.clone(), attempt).await.expect_err("told to fail");
        assert_eq!(error.kind(), ErrorKind::Network);
    }
    assert!(call_attempt(HelloWorld, json!({}), config, 3).await.is_ok());
    assert_eq!(began.elapsed().as_millis(), 300);
    let wrong = call(HelloWorld, json!({}), json!({ "delayMs": "soon" })).await.expect_err("no number");
    assert_eq!(wrong.kind(), ErrorKind::Validation);
}

#[tokio::test]
async fn a_call_that_is_cancelled_already_does_not_reach_the_agent() {
    let agent = agent_fn(manifest("@test/never"), |_, _, _| async { unreachable!("it must not be called") });
    let mut registry = AgentRegistry::new();
    registry.register(agent).expect("registered");
    let cancel = CancellationToken::new();
    cancel.cancel();
    let input = json!({});
    let request = AgentRequest::new(Arc::new(input.clone()), context(&input, Map::new()), cancel);
    let service = AgentService::new(Arc::clone(registry.list().next().expect("one").callee()));
    assert_eq!(service.oneshot(request).await.expect_err("cancelled").kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn panics_wrong_output_and_too_much_output_are_failures() {
    let panics = agent_fn(manifest("@test/panics"), |_, _, _| async { unreachable!("on purpose") });
    let error = call(panics, json!({}), json!({})).await.expect_err("it panics");
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("on purpose"), "{error}");

    let wrong =
        agent_fn(manifest("@test/wrong").output_schema(json!({ "type": "string" })), |_, _, _| async { Ok(json!(7)) });
    assert_eq!(call(wrong, json!({}), json!({})).await.expect_err("no string").kind(), ErrorKind::Validation);

    let large = agent_fn(manifest("@test/large"), |_, _, _| async { Ok(json!("x".repeat(10 * 1024 * 1024))) });
    assert_eq!(call(large, json!({}), json!({})).await.expect_err("too large").kind(), ErrorKind::Validation);
}

#[derive(Deserialize, JsonSchema)]
struct Numbers {
    numbers: Vec<i64>,
}

#[derive(Serialize, JsonSchema)]
struct Sum {
    sum: i64,
}

struct Adder;

impl TypedAgent for Adder {
    type Input = Numbers;
    type Output = Sum;

    fn describe(&self) -> AgentManifest {
        manifest("@test/adder")
    }

    async fn run(&self, input: Numbers, _: &AgentContext, _: CancellationToken) -> Result<Sum, AgentError> {
        Ok(Sum { sum: input.numbers.iter().sum() })
    }
}

#[tokio::test]
async fn a_typed_agent_has_the_schemas_of_its_types_and_refuses_what_does_not_decode() {
    assert_eq!(call(Adder, json!({ "numbers": [1, 2, 3] }), json!({})).await.expect("a sum"), json!({ "sum": 6 }));
    let error = call(Adder, json!({ "numbers": ["one"] }), json!({})).await.expect_err("no numbers");
    assert_eq!(error.kind(), ErrorKind::Validation);
    let schema = Adder.manifest().input_schema.expect("derived");
    assert_eq!(schema["required"], json!(["numbers"]));
}

#[test]
fn a_registry_finds_versions_by_the_rules_of_semantic_versioning() {
    let mut registry = AgentRegistry::new();
    for version in ["1.0.0", "1.2.0", "1.2.3", "2.0.0-beta.1", "0.2.1", "0.2.9", "0.3.0"] {
        let manifest = AgentManifest::new("@test/any", version, "For a test").expect("well formed");
        registry.register(agent_fn(manifest, |input, _, _| async { Ok(input) })).expect("registered");
    }
    let id = "@test/any".parse().expect("well formed");
    let found = |range: &str| {
        let range = range.parse().expect("a range");
        registry.get(&id, &range).map(|agent| agent.manifest().version.to_string())
    };
    let cases = [
        ("latest", Some("1.2.3")),
        ("1.0.0", Some("1.0.0")),
        ("^1.0.0", Some("1.2.3")),
        ("~1.0.0", Some("1.0.0")),
        ("~1.2.0", Some("1.2.3")),
        ("^0.2.1", Some("0.2.9")),
        ("^2.0.0", None),
        ("3.0.0", None),
    ];
    for (range, expected) in cases {
        assert_eq!(found(range).as_deref(), expected, "{range}");
    }
    let again = registry.register(agent_fn(manifest("@test/any"), |input, _, _| async { Ok(input) }));
    assert!(matches!(again, Err(RegisterError::Duplicate { .. })));
}

#[test]
fn a_registry_tells_the_verifier_what_cannot_be_undone() {
    let charge = |version: &str| {
        let manifest = AgentManifest::new("@test/charge", version, "Charges").expect("well formed");
        if version == "1.0.0" { manifest.irreversible() } else { manifest }
    };
    let mut registry = AgentRegistry::new();
    for version in ["1.0.0", "2.0.0"] {
        registry.register(agent_fn(charge(version), |_, _, _| async { Ok(json!({})) })).expect("it is valid");
    }
    let warns = |range: &str| {
        let agent = json!({ "id": "@test/charge", "version": range });
        let steps = json!([{ "id": "a", "agent": agent }]);
        let document = json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps });
        let workflow = load_value(&document, &Options::new().agents(&registry)).expect("it is valid");
        workflow.warnings().iter().any(|found| found.code == Code::Irreversible)
    };
    assert!(warns("1.0.0") && !warns("latest"));
}

#[test]
fn configuration_is_merged_deeply_and_checked() {
    let manifest = manifest("@test/any").config_schema(json!({
        "type": "object",
        "properties": {
            "retries": { "type": "integer", "default": 3 },
            "model": { "type": "object", "properties": { "name": { "type": "string" } } },
            "tags": { "type": "array" }
        }
    }));
    let registered = json!({ "model": { "name": "small", "size": 1 }, "tags": ["a", "b"] });
    let mut registry = AgentRegistry::new();
    let agent = agent_fn(manifest, |input, _, _| async { Ok(input) });
    registry.register_with_config(agent, registered.as_object().cloned().expect("an object")).expect("registered");
    let agent = registry.list().next().expect("one");
    let step = json!({ "model": { "name": "large" }, "tags": ["c"] });
    let merged = Value::Object(agent.configure(step.as_object()).expect("it fits"));
    assert_eq!(merged, json!({ "model": { "name": "large", "size": 1 }, "tags": ["c"], "retries": 3 }));
    let wrong = json!({ "retries": "many" });
    assert_eq!(agent.configure(wrong.as_object()).expect_err("no integer").kind(), ErrorKind::Validation);
}

#[test]
fn configuration_comes_from_the_environment_below_registration_and_step() {
    let variables = [
        ("ORCHESTR8_AGENT_HELLO_WORLD_DELAY_MS", "5"),
        ("ORCHESTR8_AGENT_HELLO_WORLD_FAIL_WITH", "NETWORK"),
        ("ORCHESTR8_AGENT_HELLO_WORLD_UNKNOWN", "1"),
        ("HOME", "/root"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut registry = AgentRegistry::with_environment(variables);
    registry.register(HelloWorld).expect("registered");
    let agent = registry.list().next().expect("one");
    let step = json!({ "delayMs": 7 });
    let merged = Value::Object(agent.configure(step.as_object()).expect("it fits"));
    assert_eq!(merged, json!({ "delayMs": 7, "failWith": "NETWORK", "failTimes": 0 }));
}

#[test]
fn every_kind_of_failure_has_its_class() {
    let class = |kind| AgentError::new(kind, "x").classify();
    let cases = [
        (ErrorKind::Timeout, Class::Timeout),
        (ErrorKind::Network, Class::Network),
        (ErrorKind::Retryable, Class::Retryable),
        (ErrorKind::RateLimited, Class::RateLimited),
        (ErrorKind::CircuitOpen, Class::CircuitOpen),
        (ErrorKind::Cancelled, Class::Cancelled),
        (ErrorKind::Internal, Class::Internal),
        (ErrorKind::Validation, Class::Permanent),
        (ErrorKind::Denied, Class::Permanent),
        (ErrorKind::NotFound, Class::Permanent),
    ];
    for (kind, expected) in cases {
        assert_eq!(class(kind), expected, "{kind}");
    }
    let server = AgentError::retryable("busy").with_context(json!({ "status": 503 }));
    assert_eq!(server.classify(), Class::ServerError);
}

#[test]
fn the_idempotency_key_depends_on_the_step_and_its_input_alone() {
    let key =
        |input: Value, attempt| context(&input, Map::new()).for_attempt(attempt, None).idempotency_key().to_owned();
    let one = key(json!({ "a": 1, "b": 2 }), 1);
    assert_eq!(one.len(), 64);
    assert_eq!(one, key(json!({ "b": 2, "a": 1 }), 3), "attempts and the order of keys do not matter");
    assert_ne!(one, key(json!({ "a": 1 }), 1));
}

#[test]
fn a_failure_keeps_its_kind_and_its_causes() {
    let source = "x".parse::<u8>().expect_err("no number");
    let inner = AgentError::network("connecting").with_source(source);
    let failure = AgentError::rate_limited("asking")
        .with_source(inner)
        .with_retry_after(std::time::Duration::from_millis(1500))
        .to_failure();
    assert_eq!((failure.code, failure.retry_after_ms), (ErrorKind::RateLimited, Some(1500)));
    let cause = failure.cause.expect("the inner error");
    assert_eq!(cause.code, ErrorKind::Network);
    assert_eq!(cause.cause.as_ref().map(|cause| cause.code), Some(ErrorKind::Internal));
}
