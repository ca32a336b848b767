//! The agents that come along, each called as an engine calls it.
#![cfg(all(feature = "template", feature = "example-agents"))]

mod support;

use std::{sync::Arc, time::Duration};

use orchestr8_agent_base::{
    AgentError, AgentRegistry, AgentService, CancellationToken, builtin, example_agents, service::AgentRequest,
};
use orchestr8_schema::ErrorKind;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

fn registry() -> AgentRegistry {
    let mut registry = AgentRegistry::new();
    builtin::register(&mut registry).expect("registered");
    example_agents::register(&mut registry).expect("registered");
    registry
}

/// Calls `@orchestr8/<name>` as an engine does, the check of its input included.
async fn call(name: &str, input: Value, attempt: u32) -> Result<Value, AgentError> {
    call_cancellable(name, input, attempt, CancellationToken::new()).await
}

async fn call_cancellable(
    name: &str,
    input: Value,
    attempt: u32,
    cancel: CancellationToken,
) -> Result<Value, AgentError> {
    let id = format!("@orchestr8/{name}").parse().expect("an id");
    let agent = Arc::clone(registry().latest(&id).expect("it is registered"));
    if let Some(schema) = agent.input_schema() {
        schema.validate(&input).map_err(|violations| AgentError::validation(format!("{violations:?}")))?;
    }
    let cx = support::context(&input, agent.configure(Some(&Map::new()))?).for_attempt(attempt, None);
    AgentService::new(Arc::clone(agent.callee())).oneshot(AgentRequest::new(Arc::new(input), cx, cancel)).await
}

#[tokio::test(start_paused = true)]
async fn values_are_passed_on_and_changed() {
    let people = json!([{ "name": "Ada", "age": 36 }, { "name": "Grace", "age": 85 }]);
    let cases = [
        ("echo", json!([1, { "a": null }]), json!([1, { "a": null }])),
        ("noop", json!({ "whatever": 1 }), json!({ "result": "ok" })),
        ("delay", json!({ "duration": "2s", "value": 7 }), json!(7)),
        ("delay", json!({ "duration": 0 }), Value::Null),
        ("flaky", json!({ "failTimes": 0, "value": [] }), json!([])),
        ("transform", json!({ "data": people, "expression": "[?age > `40`].name" }), json!(["Grace"])),
        ("transform", json!({ "data": null, "expression": "a.b" }), Value::Null),
        (
            "template",
            json!({
                "template": "{% for one in people %}{{ one.name | upper }}{% if not loop.last %}, {% endif %}{% endfor %} <{{ n }}>",
                "data": { "people": people, "n": 1.5 }
            }),
            json!({ "text": "ADA, GRACE <1.5>" }),
        ),
    ];
    for (name, input, expected) in cases {
        assert_eq!(call(name, input, 1).await.expect(name), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_have_the_kind_that_was_asked_for() {
    let error = call("fail", json!({ "code": "RATE_LIMITED", "message": "later", "retryAfter": "3s" }), 1).await;
    let error = error.expect_err("it fails");
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::RateLimited, "later"));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));

    let flaky = json!({ "failTimes": 2, "code": "NETWORK", "value": "there" });
    for attempt in [1, 2] {
        assert_eq!(call("flaky", flaky.clone(), attempt).await.expect_err("flaky").kind(), ErrorKind::Network);
    }
    assert_eq!(call("flaky", flaky, 3).await.expect("the third"), json!("there"));
    assert_eq!(call("flaky", json!({ "failTimes": 1 }), 1).await.expect_err("flaky").kind(), ErrorKind::Retryable);
}

#[tokio::test]
async fn bad_input_is_validation() {
    let doubled = r#"{% for _ in range(70000) %}{{ text }}{% endfor %}"#;
    let cases = [
        ("delay", json!({ "duration": "soon" })),
        ("fail", json!({ "code": "BROKEN" })),
        ("flaky", json!({ "failTimes": -1 })),
        ("transform", json!({ "data": 1 })),
        ("transform", json!({ "data": 1, "expression": "a[" })),
        ("transform", json!({ "data": 1, "expression": "length(@)" })),
        ("template", json!({ "template": "{{ name }}", "data": {} })),
        ("template", json!({ "template": "{{ name", "data": {} })),
        ("template", json!({ "template": "{% include 'other' %}", "data": {} })),
        ("template", json!({ "template": doubled, "data": { "text": "a" } })),
        ("template", json!({ "template": doubled, "data": { "text": "a".repeat(1000) } })),
        ("template", json!({ "template": "x", "data": [] })),
        ("greeting-agent", json!({})),
        ("personalization-agent", json!({ "baseMessage": 1, "userName": "Ada" })),
        ("academic-agent", json!({ "topic": "t", "yearRange": "recent" })),
        ("synthesis-agent", json!({ "topic": "t", "webResults": {}, "academicResults": [], "newsResults": [] })),
        ("ship-agent", json!({ "address": "" })),
    ];
    for (name, input) in cases {
        let error = call(name, input.clone(), 1).await.expect_err(&format!("{name} {input}"));
        assert_eq!(error.kind(), ErrorKind::Validation, "{name} {input}: {error}");
    }
}

#[tokio::test]
async fn a_greeting_is_in_the_language_that_was_asked_for() {
    for (language, message) in [("fr", "Bonjour, Ada !"), ("de", "Hallo, Ada!"), ("xx", "Hello, Ada!")] {
        let output =
            call("greeting-agent", json!({ "name": "Ada", "language": language }), 1).await.expect("a greeting");
        let expected = json!({ "message": message, "timestamp": "2025-01-17T12:00:00.000Z", "language": language });
        assert_eq!(output, expected);
    }
}

#[tokio::test]
async fn quality_falls_with_every_issue() {
    let content = json!({ "sourceCount": 1, "sections": { "summary": "s" } });
    let criteria = json!({ "minSources": 3, "requiredSections": ["summary", "findings", "a", "b", "c"] });
    let output = call("qa-agent", json!({ "content": content, "criteria": criteria }), 1).await.expect("a verdict");
    let issues =
        ["too few sources", "missing section findings", "missing section a", "missing section b", "missing section c"];
    assert_eq!(output, json!({ "passed": false, "issues": issues, "score": 0 }));
}

#[tokio::test(start_paused = true)]
async fn a_delay_ends_when_it_is_cancelled() {
    let cancel = CancellationToken::new();
    let began = Instant::now();
    let firing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(call_cancellable("delay", json!({ "duration": "1h" }), 1, cancel.clone()), firing);
    assert_eq!(result.expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}
