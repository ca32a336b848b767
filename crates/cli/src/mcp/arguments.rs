//! What the tools take: their schemas, and what becomes of arguments that fit.

use std::{sync::LazyLock, time::Duration};

use orchestr8_schema::{
    CorrelationId, ExecutionId, IdempotencyKey,
    api::{EnvelopeCode, EnvelopeError},
    json_schema::{JsonValidator, Violation},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// How long an answer may be held, in milliseconds.
pub(super) const MAX_WAIT_MS: u64 = 10_000;
/// What is told of arguments that do not fit, at most.
const MAX_ISSUES: usize = 50;

/// A tool that is there whatever the catalogue holds.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: Value,
    validator: Option<JsonValidator>,
}

/// Arguments of `run_workflow`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    pub(super) workflow_id: String,
    #[serde(default)]
    pub(super) inputs: Map<String, Value>,
    #[serde(default)]
    pub(super) options: RunOptions,
    #[serde(default)]
    pub(super) wait_for_ms: u64,
    pub(super) correlation_id: Option<CorrelationId>,
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RunOptions {
    pub(super) timeout_ms: u64,
    pub(super) concurrency: Option<u32>,
}

/// Arguments of `get_status`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) execution_id: ExecutionId,
    #[serde(default)]
    pub(super) wait_for_ms: u64,
    pub(super) correlation_id: Option<CorrelationId>,
}

/// Arguments of `cancel_workflow`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cancel {
    pub(super) execution_id: ExecutionId,
    pub(super) reason: Option<String>,
    pub(super) correlation_id: Option<CorrelationId>,
}

pub(super) static RUN_WORKFLOW: LazyLock<Form> = LazyLock::new(|| {
    let properties = json!({
        "workflowId": { "type": "string", "minLength": 1, "maxLength": 256, "description": "The id of a workflow of the catalogue" },
        "inputs": { "type": "object", "default": {}, "description": "The execution's input, as the workflow's `inputs` wants it" },
        "options": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "timeoutMs": { "type": "integer", "minimum": 0, "maximum": 300_000, "default": 0, "description": "Limits the whole execution; 0 leaves it to the workflow" },
                "concurrency": { "type": "integer", "minimum": 1, "maximum": 100, "description": "Steps that run at the same time, at most" },
            },
        },
        "waitForMs": wait(),
        "correlationId": correlation(),
        "idempotencyKey": { "type": "string", "pattern": IdempotencyKey::PATTERN, "description": "The same call under the same key within ten minutes starts nothing again" },
    });
    Form::new(
        "run_workflow",
        "Starts an execution of a workflow of the catalogue. It goes on by itself; get_status tells how it stands.",
        &properties,
        &["workflowId"],
    )
});

pub(super) static GET_STATUS: LazyLock<Form> = LazyLock::new(|| {
    let properties = json!({ "executionId": execution(), "waitForMs": wait(), "correlationId": correlation() });
    Form::new("get_status", "Tells how it stands with an execution, and what it gave.", &properties, &["executionId"])
});

pub(super) static CANCEL_WORKFLOW: LazyLock<Form> = LazyLock::new(|| {
    let reason = json!({ "type": "string", "maxLength": 1024, "description": "Why, for its journal" });
    let properties = json!({ "executionId": execution(), "reason": reason, "correlationId": correlation() });
    let description =
        "Asks for the end of an execution. Steps that run have a grace to end, and what is to be undone is undone.";
    Form::new("cancel_workflow", description, &properties, &["executionId"])
});

/// The schema of `waitForMs`.
pub(super) fn wait() -> Value {
    json!({
        "type": "integer", "minimum": 0, "maximum": MAX_WAIT_MS, "default": 0,
        "description": "How long to wait for the end of the execution, in milliseconds",
    })
}

fn correlation() -> Value {
    json!({ "type": "string", "pattern": CorrelationId::PATTERN, "description": "What ties the call to its cause; made if absent" })
}

fn execution() -> Value {
    json!({ "type": "string", "format": "uuid", "description": "The id of an execution" })
}

impl Form {
    fn new(name: &'static str, description: &'static str, properties: &Value, required: &[&str]) -> Self {
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        let validator = JsonValidator::compile(&schema).ok();
        Self { name, description, schema, validator }
    }

    /// Understands arguments.
    ///
    /// # Errors
    ///
    /// INVALID_INPUT with everything that does not fit.
    pub(super) fn read<T: DeserializeOwned>(&self, arguments: Map<String, Value>) -> Result<T, EnvelopeError> {
        let arguments = Value::Object(arguments);
        if let Some(validator) = &self.validator {
            validator.validate(&arguments).map_err(|violations| unfit("the arguments do not fit", &violations))?;
        }
        serde_json::from_value(arguments).map_err(|error| {
            EnvelopeError::new(EnvelopeCode::InvalidInput, format!("the arguments do not fit: {error}"))
        })
    }
}

/// Refuses values that break a schema.
pub(super) fn unfit(message: &str, violations: &[Violation]) -> EnvelopeError {
    let issue = |violation: &Violation| json!({ "path": violation.path(), "message": violation.message() });
    let issues: Vec<_> = violations.iter().take(MAX_ISSUES).map(issue).collect();
    EnvelopeError::new(EnvelopeCode::InvalidInput, message).with_details(json!({ "issues": issues }))
}

/// Takes `waitForMs` out of the arguments of a workflow's own tool.
pub(super) fn take_wait(arguments: &mut Map<String, Value>) -> Result<Duration, EnvelopeError> {
    let Some(wait) = arguments.remove("waitForMs") else { return Ok(Duration::ZERO) };
    let wait = wait.as_u64().filter(|wait| *wait <= MAX_WAIT_MS);
    wait.map(Duration::from_millis).ok_or_else(|| {
        let message = format!("`waitForMs` is an integer from 0 to {MAX_WAIT_MS}");
        EnvelopeError::new(EnvelopeCode::InvalidInput, message)
    })
}
