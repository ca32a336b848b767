//! What is asked of the calls of a step: its own policies over the workflow's, field by field.

use std::time::Duration;

use orchestr8_core::plan::{LeafPolicy, SharedKey};
use serde_json::{Value, json};

use crate::plan;

fn policy(of_workflow: &Value, of_step: &Value) -> LeafPolicy {
    let step = json!({ "id": "a", "tool": { "name": "any" }, "policies": of_step });
    let document = json!({
        "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": [step],
        "policies": { "resilience": of_workflow }
    });
    let plan = plan(&document).expect("valid");
    LeafPolicy::clone(&plan.steps()[0].leaf.as_ref().expect("a tool is called").policy)
}

#[test]
fn a_step_overrides_single_fields_of_the_workflows_policies() {
    let of_workflow = json!({
        "retry": { "maxAttempts": 5, "jitter": false },
        "circuitBreaker": {
            "failureThreshold": 2,
            "keyStrategy": { "includeTarget": false },
            "errorClassification": { "countNetworkErrors": false, "count5xxErrors": false }
        },
        "rateLimit": { "requestsPerMinute": 60, "maxWait": 1000, "key": "shared" },
        "bulkhead": { "maxConcurrent": 2, "queueTimeout": 1000 }
    });
    let of_step = json!({
        "retry": { "maxAttempts": 2 },
        "circuitBreaker": {
            "keyStrategy": { "agentId": false },
            "errorClassification": { "countTimeouts": false, "count5xxErrors": true }
        },
        "rateLimit": { "tokensPerMinute": 100, "maxWait": 5000 },
        "bulkhead": { "maxQueue": 3 }
    });
    let policy = policy(&of_workflow, &of_step);
    assert_eq!((policy.max_attempts, policy.jitter), (2, false));
    assert_eq!(policy.key, SharedKey::Fixed("cb:".to_owned()), "neither the callee nor the target");
    let breaker = policy.circuit_breaker.expect("on by default");
    let counted = breaker.counted;
    let counts = [counted.count_timeouts, counted.count_network_errors, counted.count_5xx_errors];
    assert_eq!((breaker.failure_threshold, counts), (2, [false, false, true]));
    assert!(counted.count_retryable_errors, "nobody says otherwise");
    let limit = policy.rate_limit.expect("it is limited");
    assert_eq!((limit.requests_per_minute, limit.tokens_per_minute), (Some(60), Some(100)));
    assert_eq!((limit.max_wait, limit.key), (Duration::from_secs(5), SharedKey::Fixed("shared".to_owned())));
    let bulkhead = policy.bulkhead.expect("it is limited");
    assert_eq!((bulkhead.max_concurrent, bulkhead.max_queue), (2, 3));
    assert_eq!(bulkhead.queue_timeout, Duration::from_secs(1));
}
