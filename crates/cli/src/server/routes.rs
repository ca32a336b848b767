//! All operations of the server.

use axum::http::StatusCode;
use orchestr8_core::agent_base::AgentManifest;
use orchestr8_schema::api;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{
    approvals, cancel, control, dashboard, events, execute, executions, fork, graph, health, journal, known, list, mcp,
    metrics, openapi,
    operation::{JSON, Operation, text},
    problem::ProblemCode::{
        BadRequest, Conflict, IdempotencyKeyConflict, InvalidIdempotencyKey, NotFound, PreconditionFailed, RateLimited,
        ResourceExhausted, ShuttingDown, Validation, WaitTimeout,
    },
    stats, steps, validate, workflow, workflows,
};
use crate::graph::GraphBody;

const YAML: &str = "application/yaml";
const NDJSON: &str = "application/x-ndjson";
const STREAM: &str = "text/event-stream";

/// A workflow document. Its own schema is `GET /v1/schemas/workflow.json`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct WorkflowDocument {
    /// The version of the document.
    version: String,
    /// Its id and name.
    metadata: serde_json::Map<String, Value>,
    /// Its steps.
    steps: Vec<Value>,
}

/// The manifests of all agents.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct AgentList {
    /// By id, then version.
    agents: Vec<AgentManifest>,
}

/// That executions are taken.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Ready {
    /// True.
    ready: bool,
}

fn workflow_body(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<WorkflowDocument>()
}

fn execute_body(generator: &mut SchemaGenerator) -> Schema {
    let (wrapper, bare) = (generator.subschema_for::<api::ExecuteRequest>(), workflow_body(generator));
    json_schema!({ "anyOf": [wrapper, bare] })
}

/// A workflow that every server can execute.
fn greeting() -> Value {
    json!({
        "version": "1.0.0",
        "metadata": { "id": "greet", "name": "Greet" },
        "steps": [{
            "id": "greet",
            "agent": { "id": "@orchestr8/hello-world" },
            "input": { "name": "${inputs.name ?? 'Ada'}" },
        }],
    })
}

/// A message of a protocol that describes itself.
fn message(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "A message of JSON-RPC.",
        "properties": { "jsonrpc": { "const": "2.0" } },
        "required": ["jsonrpc"],
    })
}

fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

fn entry_lines(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "description": "An `Entry` per line." })
}

fn messages(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "description": "Server-sent events. The `data` of one with an `id` is an `Entry`; without, it tells how far a step has come \
                        (`step.progress`) or what a model has written (`model.delta`), or what was counted (`metrics.update`).",
    })
}

/// Lists them.
pub(super) fn operations() -> Vec<Operation> {
    [workflows(), executions(), of_an_execution(), control(), catalogues(), services()].into_iter().flatten().collect()
}

fn workflows() -> Vec<Operation> {
    let about = "workflows";
    vec![
        starting(Operation::post("/v1/workflows/execute", "executeWorkflow", execute::execute).alias("/execute"))
            .about(about, "Starts an execution")
            .query(
                "mode",
                json!({ "enum": ["sync", "async"] }),
                "Whether the answer waits for the end; default `async`.",
            )
            .header("Prefer", json!({ "type": "string" }), "`respond-async=false`, or `wait=<s>`, 1 to 30.")
            .takes_as(JSON, execute_body)
            .takes_as(YAML, workflow_body)
            .example(json!({ "workflow": greeting(), "input": { "name": "Ada" } }))
            .answers::<api::Accepted>(StatusCode::ACCEPTED, "It has started.")
            .with(&["Location", "Retry-After"])
            .answers::<api::SyncResult>(StatusCode::OK, "It has ended, well or not.")
            .problems(&[NotFound, WaitTimeout]),
        Operation::post("/v1/workflows/validate", "validateWorkflow", validate::validate)
            .about(about, "Checks a workflow without starting it")
            .query("strict", json!({ "type": "boolean" }), "Whether unknown keys are errors; default `false`.")
            .takes_as(JSON, execute_body)
            .takes_as(YAML, workflow_body)
            .example(greeting())
            .answers::<api::Validation>(StatusCode::OK, "What was found, also if it is not valid.")
            .problem(NotFound),
        paged(Operation::get("/v1/workflows", "listWorkflows", workflows::list), 1000)
            .about(about, "Lists the catalogue")
            .answers::<api::WorkflowList>(StatusCode::OK, "A page."),
        Operation::get("/v1/workflows/{workflowId}", "readWorkflow", workflows::read)
            .about(about, "Shows a workflow of the catalogue")
            .answers::<api::WorkflowDetail>(StatusCode::OK, "The workflow.")
            .problem(NotFound),
    ]
}

fn executions() -> Vec<Operation> {
    let about = "executions";
    vec![
        paged(Operation::get("/v1/executions", "listExecutions", list::read), 100)
            .about(about, "Lists executions, newest first")
            .query("status", json!({ "type": "string" }), "Only these statuses, separated by commas.")
            .query("workflowId", json!({ "type": "string" }), "Only executions of this workflow.")
            .answers::<api::ExecutionList>(StatusCode::OK, "A page."),
        Operation::get("/v1/executions/{id}", "readExecution", executions::read)
            .alias("/status/{id}")
            .about(about, "Shows status, progress and outputs")
            .query("wait", natural(), "Seconds, at most 30, that the answer is held until the tag has changed.")
            .header("If-None-Match", json!({ "type": "string" }), "The tag of what is known already.")
            .answers::<api::Execution>(StatusCode::OK, "The execution.")
            .with(&["ETag"])
            .answers_as(StatusCode::NOT_MODIFIED, "It has not changed.", Vec::new())
            .problem(NotFound),
        Operation::get("/v1/events", "followExecutions", events::stream_all)
            .head(events::no_head)
            .about(about, "Tells what happens in all executions")
            .query("after", natural(), "The position behind which it begins; default now.")
            .query("types", json!({ "type": "string" }), "Only events of these types, separated by commas.")
            .query("workflowId", json!({ "type": "string" }), "Only executions of this workflow.")
            .header("Last-Event-ID", natural(), "As `after`, which it goes before.")
            .answers_as(StatusCode::OK, "A stream that ends with the server.", vec![(STREAM, messages)])
            .problems(&[BadRequest, ResourceExhausted]),
    ]
}

fn of_an_execution() -> Vec<Operation> {
    let about = "executions";
    vec![
        paged(Operation::get("/v1/executions/{id}/steps", "listSteps", steps::list), 1000)
            .about(about, "Lists steps in step-path order")
            .query("status", json!({ "type": "string" }), "Only these statuses, separated by commas.")
            .query("parent", json!({ "type": "string" }), "Only steps that stand in this composite.")
            .answers::<api::StepList>(StatusCode::OK, "A page."),
        Operation::get("/v1/executions/{id}/steps/{stepPath}", "readStep", steps::read)
            .about(about, "Shows a step in full")
            .answers::<api::StepDetail>(StatusCode::OK, "The step."),
        Operation::get("/v1/executions/{id}/steps/{stepPath}/why", "explainStep", steps::why)
            .about(about, "Explains why a step is as it is")
            .answers::<api::Why>(StatusCode::OK, "What led there."),
        Operation::get("/v1/executions/{id}/workflow", "readDefinition", workflow::read)
            .about(about, "Shows the definition as it is executed")
            .answers_as(StatusCode::OK, "The document.", vec![(JSON, workflow_body)]),
        Operation::get("/v1/executions/{id}/graph", "drawGraph", graph::read)
            .about(about, "Shows the graph with the statuses of its steps")
            .query("format", json!({ "enum": ["json", "svg", "mermaid", "dot"] }), "Default `json`.")
            .query(
                "expand",
                json!({ "type": "string" }),
                "The step path of a composite that is opened; it may be given again.",
            )
            .query(
                "collapse",
                json!({ "type": "boolean" }),
                "Whether all other composites are closed; default `false`.",
            )
            .query(
                "style",
                json!({ "enum": ["embedded", "page"] }),
                "Where an SVG has its style from; default `embedded`.",
            )
            .answers_as(
                StatusCode::OK,
                "The graph.",
                vec![
                    (JSON, |generator| generator.subschema_for::<GraphBody<'_>>()),
                    ("image/svg+xml", text),
                    ("text/vnd.mermaid", text),
                    ("text/vnd.graphviz", text),
                ],
            ),
        Operation::get("/v1/executions/{id}/journal", "readJournal", journal::read)
            .about(about, "Shows the journal")
            .query("cursor", json!({ "type": "string" }), "`nextCursor` of the page before.")
            .query("limit", natural(), "The most entries; default 100, at most 1000.")
            .query("since", json!({ "type": "string" }), "A sequence, or a time.")
            .query("level", json!({ "enum": ["debug", "info", "warn", "error"] }), "Only this level and higher ones.")
            .query("types", json!({ "type": "string" }), "Only entries of these types, separated by commas.")
            .query("stepPath", json!({ "type": "string" }), "Only entries of this step.")
            .query("format", json!({ "enum": ["json", "ndjson"] }), "Default as `Accept` says, else `json`.")
            .header("If-None-Match", json!({ "type": "string" }), "The tag of what is known already.")
            .answers_as(
                StatusCode::OK,
                "A page.",
                vec![(JSON, |generator| generator.subschema_for::<api::JournalPage>()), (NDJSON, entry_lines)],
            )
            .with(&["ETag"])
            .answers_as(StatusCode::NOT_MODIFIED, "It has not grown.", Vec::new()),
        Operation::get("/v1/executions/{id}/events", "followExecution", events::stream_one)
            .head(events::no_head)
            .about(about, "Tells of the journal as it grows")
            .query("after", natural(), "The sequence behind which it begins; default 0.")
            .header("Last-Event-ID", natural(), "As `after`, which it goes before.")
            .answers_as(StatusCode::OK, "A stream that ends with the execution.", vec![(STREAM, messages)])
            .answers_as(StatusCode::NO_CONTENT, "The client has everything.", Vec::new())
            .problem(ResourceExhausted),
    ]
    .into_iter()
    .map(|operation| operation.problem(NotFound))
    .collect()
}

fn control() -> Vec<Operation> {
    let about = "control";
    vec![
        Operation::post("/v1/executions/{id}/cancel", "cancelExecution", cancel::cancel)
            .about(about, "Asks for the end")
            .takes::<api::CancelRequest>()
            .example(json!({ "reason": "wrong branch" }))
            .answers::<api::CancelAnswer>(StatusCode::ACCEPTED, "It is ending.")
            .answers::<api::CancelAnswer>(StatusCode::OK, "It has ended, or is failing already."),
        Operation::post("/v1/executions/{id}/pause", "pauseExecution", control::pause)
            .about(about, "Has nothing start until it is resumed")
            .takes::<api::PauseRequest>()
            .answers::<api::PauseAnswer>(StatusCode::ACCEPTED, "It is paused."),
        Operation::post("/v1/executions/{id}/resume", "resumeExecution", control::resume)
            .about(about, "Lets it go on that is paused, that nobody drives, or that has failed")
            .takes::<api::ResumeRequest>()
            .answers::<api::ResumeAnswer>(StatusCode::ACCEPTED, "It goes on.")
            .problem(Validation),
        starting(Operation::post("/v1/executions/{id}/fork", "forkExecution", fork::fork))
            .about(about, "Starts a new execution from a checkpoint of this one")
            .takes::<api::ForkBody>()
            .answers::<api::ForkAnswer>(StatusCode::ACCEPTED, "The new one has started.")
            .with(&["Location", "Retry-After"]),
        Operation::post("/v1/executions/{id}/signals/{signal}", "signalExecution", control::signal)
            .about(about, "Tells it something")
            .takes::<api::SignalRequest>()
            .example(json!({ "payload": { "amount": 12 } }))
            .answers::<api::SignalAnswer>(StatusCode::ACCEPTED, "It was told.")
            .problems(&[Validation, RateLimited]),
        Operation::post("/v1/executions/{id}/approvals/{stepPath}", "answerApproval", approvals::answer)
            .about(about, "Answers an approval")
            .takes::<api::ApprovalRequest>()
            .example(json!({ "decision": "approve", "comment": "looks right" }))
            .answers::<api::ApprovalResult>(StatusCode::OK, "The answer is journaled.")
            .problem(Validation),
    ]
    .into_iter()
    .map(|operation| {
        operation
            .header("If-Match", json!({ "type": "string" }), "The tag of the only state in which it may be done.")
            .problems(&[NotFound, Conflict, PreconditionFailed, ShuttingDown])
    })
    .collect()
}

fn catalogues() -> Vec<Operation> {
    let about = "catalogues";
    vec![
        paged(Operation::get("/v1/approvals", "listApprovals", approvals::list), 100)
            .about("control", "Lists what waits for people, oldest first")
            .query("executionId", json!({ "type": "string", "format": "uuid" }), "Only those of this execution.")
            .answers::<api::ApprovalList>(StatusCode::OK, "A page.")
            .problem(NotFound),
        Operation::get("/v1/agents", "listAgents", known::agents)
            .about(about, "Lists the manifests of agents")
            .answers::<AgentList>(StatusCode::OK, "All of them."),
        Operation::get("/v1/agents/{scope}/{name}", "readAgent", known::agent)
            .about(about, "Shows the manifest of an agent")
            .query("version", json!({ "type": "string" }), "A version or a range; default the latest.")
            .answers::<AgentManifest>(StatusCode::OK, "The manifest.")
            .problem(NotFound),
        Operation::get("/v1/schemas/{file}", "readSchema", known::schema)
            .about(about, "Shows a published JSON Schema")
            .answers_as(StatusCode::OK, "The schema.", vec![(JSON, object)])
            .problem(NotFound),
        Operation::get("/v1/openapi.json", "readOpenApi", openapi::read)
            .about(about, "Shows this document")
            .answers_as(StatusCode::OK, "The document.", vec![(JSON, object)]),
        Operation::get("/v1/stats", "readStats", stats::read)
            .about("service", "Shows what was counted, for people")
            .answers::<api::Stats>(StatusCode::OK, "The numbers."),
    ]
}

fn services() -> Vec<Operation> {
    let about = "service";
    vec![
        Operation::get("/health", "readHealth", health::health)
            .open()
            .about(about, "Says that the process lives, and how well")
            .answers::<api::Health>(StatusCode::OK, "It lives."),
        Operation::get("/ready", "readReadiness", health::ready)
            .open()
            .about(about, "Says whether executions are taken")
            .answers::<Ready>(StatusCode::OK, "They are.")
            .problems(&[ShuttingDown, ResourceExhausted]),
        Operation::get("/metrics", "readMetrics", metrics::read)
            .about(about, "Shows what was counted, for Prometheus")
            .answers_as(StatusCode::OK, "The numbers.", vec![("text/plain", text)]),
        Operation::post("/mcp", "speakMcp", mcp::answer)
            .about(about, "Speaks the Model Context Protocol, if workflows are offered to other programs")
            .header(
                "MCP-Protocol-Version",
                json!({ "type": "string" }),
                "The revision of the protocol that the message is of.",
            )
            .takes_as(JSON, message)
            .example(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }))
            .answers_as(StatusCode::OK, "The answer.", vec![(JSON, message), (STREAM, text)])
            .answers_as(StatusCode::ACCEPTED, "The message needs no answer.", Vec::new())
            .answers_as(StatusCode::BAD_REQUEST, "A message that is no request of its revision.", vec![(JSON, message)])
            .answers_as(StatusCode::NOT_FOUND, "A method that nobody knows.", vec![(JSON, message)])
            .problems(&[NotFound, ShuttingDown]),
        Operation::get("/", "readDashboard", dashboard::page)
            .open()
            .about(about, "Shows the dashboard")
            .answers_as(StatusCode::OK, "The page.", vec![("text/html", text)])
            .answers_as(StatusCode::NOT_MODIFIED, "It has not changed.", Vec::new()),
        Operation::get("/assets/{version}/{asset}", "readAsset", dashboard::asset)
            .open()
            .about(about, "Shows a part of the dashboard")
            .answers_as(
                StatusCode::OK,
                "The part.",
                vec![("text/javascript", text), ("text/css", text), ("image/svg+xml", text)],
            )
            .problem(NotFound),
    ]
}

/// What starts executions can be repeated under a key.
fn starting(operation: Operation) -> Operation {
    operation
        .header(
            "Idempotency-Key",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,255}$" }),
            "Under which the request may be repeated without starting another execution.",
        )
        .problems(&[Validation, InvalidIdempotencyKey, IdempotencyKeyConflict, ShuttingDown, ResourceExhausted])
}

fn paged(operation: Operation, most: u32) -> Operation {
    let limit = match most {
        1000 => "The most of a page; default 100, at most 1000.",
        _ => "The most of a page; default 50, at most 100.",
    };
    operation.query("limit", natural(), limit).query(
        "cursor",
        json!({ "type": "string" }),
        "`nextCursor` of the page before.",
    )
}

fn natural() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
}
