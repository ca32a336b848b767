//! `orchestr8 mcp serve`, by rmcp's client.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rmcp::{
    ClientHandler, RoleClient, ServiceError,
    model::{
        CallToolRequestParams, ClientCapabilities, GetPromptRequestParams, Implementation, InitializeRequestParams,
        ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams, ResourceContents,
        ResourceUpdatedNotificationParam,
    },
    service::{ClientLifecycleMode, ClientServiceExt as _, NotificationContext, RunningService},
};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};

use super::{catalogue, envelope, path};
use crate::support::{orchestr8, running_server::RunningServer, say};

/// A client that counts what it is told.
#[derive(Clone, Default)]
struct Told {
    /// The revision that it wants, if it shakes hands.
    version: ProtocolVersion,
    progress: Arc<AtomicUsize>,
    updates: Arc<AtomicUsize>,
}

impl ClientHandler for Told {
    fn get_info(&self) -> InitializeRequestParams {
        let this = Implementation::new("test", "1.0.0");
        InitializeRequestParams::new(ClientCapabilities::default(), this).with_protocol_version(self.version.clone())
    }

    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.fetch_add(1, Ordering::SeqCst);
    }

    async fn on_resource_updated(&self, told: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        assert!(told.uri.starts_with("execution://"), "{}", told.uri);
        self.updates.fetch_add(1, Ordering::SeqCst);
    }
}

struct Session {
    child: Child,
    client: RunningService<RoleClient, Told>,
    told: Told,
}

fn modern() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

fn serve(folder: &tempfile::TempDir) -> std::process::Command {
    let mut command = orchestr8();
    command.args(["mcp", "serve", "--workflows"]).arg(path(folder));
    command
}

impl Session {
    async fn start(command: std::process::Command, lifecycle: ClientLifecycleMode) -> Self {
        Self::of(command, lifecycle, ProtocolVersion::V_2025_11_25).await
    }

    async fn of(command: std::process::Command, lifecycle: ClientLifecycleMode, version: ProtocolVersion) -> Self {
        let mut child = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the built program starts");
        let pipes = (child.stdout.take().expect("piped"), child.stdin.take().expect("piped"));
        let told = Told { version, ..Told::default() };
        let client = told.clone().serve_with_lifecycle(pipes, lifecycle).await.expect("it speaks the protocol");
        Self { child, client, told }
    }

    async fn call(&self, tool: &'static str, arguments: Value) -> Value {
        let result = self.try_call(tool, arguments).await.expect("the protocol is kept");
        envelope(&result)
    }

    async fn try_call(
        &self,
        tool: &'static str,
        arguments: Value,
    ) -> Result<rmcp::model::CallToolResult, ServiceError> {
        let mut params = CallToolRequestParams::new(tool);
        params.arguments = arguments.as_object().cloned();
        self.client.call_tool(params).await
    }

    /// Waits until an execution waits for a person.
    async fn waiting(&self, id: &str) -> Value {
        loop {
            let asked = json!({ "executionId": id, "waitForMs": 50, "correlationId": "asked" });
            let told = self.call("get_status", asked).await;
            if told["data"]["waitingFor"].is_array() {
                return told;
            }
            assert_eq!(told["status"], "running", "{told}");
        }
    }

    async fn read(&self, uri: &str) -> Value {
        let read = self.client.read_resource(ReadResourceRequestParams::new(uri)).await.expect("it is there");
        let ResourceContents::TextResourceContents { text, .. } = &read.contents[0] else {
            unreachable!("resources of ours are text")
        };
        serde_json::from_str(text).expect("JSON")
    }

    /// Closes the input, and returns how the program ended.
    async fn end(mut self) -> Option<i32> {
        self.client.close().await.expect("it closes");
        self.child.wait().await.expect("it ends").code()
    }
}

#[tokio::test]
async fn both_eras_run_look_at_and_cancel_executions() {
    let eras = [
        (modern(), ProtocolVersion::V_2026_07_28),
        (ClientLifecycleMode::Initialize, ProtocolVersion::V_2025_11_25),
        (ClientLifecycleMode::Initialize, ProtocolVersion::V_2025_06_18),
    ];
    for (lifecycle, version) in eras {
        let folder = catalogue();
        let session = Session::of(serve(&folder), lifecycle, version.clone()).await;
        assert_eq!(session.client.peer_info().expect("it has said so").protocol_version, version);
        let tools = session.client.list_all_tools().await.expect("it lists");
        let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        let known =
            ["run_workflow", "get_status", "cancel_workflow", "workflow_fail", "workflow_gate", "workflow_greet"];
        assert_eq!(names, known, "and nothing to approve with");
        assert!(tools.iter().all(|tool| tool.output_schema.is_some()));
        assert!(
            tools[5].input_schema["properties"]["name"].is_object()
                && tools[5].input_schema["properties"]["waitForMs"].is_object()
        );

        let greeted = session.call("workflow_greet", json!({ "name": "Ada", "waitForMs": 10_000 })).await;
        assert_eq!(greeted["status"], "ok", "{greeted}");
        assert_eq!(greeted["data"]["outputs"]["text"], "Hello, Ada! Welcome to @orchestr8.");
        assert_eq!((&greeted["workflowId"], &greeted["data"]["progress"]["percent"]), (&json!("greet"), &json!(100)));
        assert!(greeted["correlationId"].as_str().is_some_and(|id| id.starts_with("o8-")), "{greeted}");
        assert!(session.told.progress.load(Ordering::SeqCst) > 0, "the client gives a token with each call");

        let failed = session
            .call("run_workflow", json!({ "workflowId": "fail", "waitForMs": 10_000, "correlationId": "mine" }))
            .await;
        assert_eq!(
            (&failed["error"]["code"], &failed["error"]["retryable"]),
            (&json!("RATE_LIMIT"), &json!(true)),
            "{failed}"
        );
        assert_eq!(
            (&failed["correlationId"], &failed["error"]["details"]["stepPath"]),
            (&json!("mine"), &json!("fail"))
        );

        let run = json!({ "workflowId": "gate", "options": { "concurrency": 2, "timeoutMs": 200_000 }, "idempotencyKey": "once" });
        let gate = session.call("run_workflow", run.clone()).await;
        assert_eq!(gate["status"], "running", "{gate}");
        assert_eq!(
            session.call("run_workflow", run).await["executionId"],
            gate["executionId"],
            "the same key, the same execution"
        );
        let id = gate["executionId"].as_str().expect("an id").to_owned();
        let uri = format!("execution://{id}");
        let waiting = session.waiting(&id).await;
        let kind = &waiting["data"]["waitingFor"][0]["kind"];
        assert_eq!((kind, &waiting["correlationId"]), (&json!("approval"), &json!("asked")));
        let cancelled = session.call("cancel_workflow", json!({ "executionId": id, "reason": "enough" })).await;
        assert_eq!(cancelled["executionId"], json!(id));
        let ended = session.call("get_status", json!({ "executionId": id, "waitForMs": 10_000 })).await;
        assert_eq!((&ended["error"]["code"], &ended["data"]["status"]), (&json!("CANCELLED"), &json!("cancelled")));

        assert_eq!(session.read(&uri).await["status"], "cancelled");
        assert_eq!(session.read("workflow://greet").await["metadata"]["id"], "greet");
        let resources = session.client.list_all_resources().await.expect("it lists");
        assert_eq!(resources.len(), 3 + 3, "workflows and executions");
        assert_eq!(session.client.list_all_resource_templates().await.expect("it lists").len(), 2);
        assert_eq!(session.end().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_drives_is_cancelled_there() {
    let (folder, home) = (catalogue(), tempfile::tempdir().expect("a folder"));
    let at_home = |mut command: std::process::Command| {
        command.env("ORCHESTR8_HOME", home.path());
        command
    };
    let mut command = at_home(orchestr8());
    command.args(["server", "--port", "0", "--workflows"]).arg(path(&folder));
    let (server, session) = tokio::join!(
        tokio::task::spawn_blocking(move || RunningServer::of(&mut command)),
        Session::start(at_home(serve(&folder)), modern()),
    );
    let server = server.expect("it starts");
    let id = tokio::task::block_in_place(|| {
        let started = server.post("/v1/workflows/execute").json(&json!({ "workflowId": "gate" })).send();
        let started: Value = started.expect("it answers").json().expect("JSON");
        started["executionId"].as_str().expect("an id").to_owned()
    });
    session.waiting(&id).await;
    let told = session.call("cancel_workflow", json!({ "executionId": id, "reason": "enough" })).await;
    let status = told["data"]["status"].as_str().expect("a status");
    assert!(told["executionId"] == json!(id) && ["cancelling", "cancelled"].contains(&status), "{told}");
    let journal = tokio::task::block_in_place(|| {
        let mut ended = Value::Null;
        while ended["status"] != "cancelled" {
            let path = format!("/v1/executions/{id}?wait=5000");
            ended = server.get(&path).send().expect("it answers").json().expect("JSON");
        }
        server.get(&format!("/v1/executions/{id}/journal")).send().expect("it answers").text().expect("text")
    });
    assert!(journal.contains("enough"), "{journal}");
    assert_eq!(session.end().await, Some(0));
    // Its client blocks, also when it is dropped.
    tokio::task::block_in_place(|| drop(server));
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_the_envelope_and_faults_of_the_protocol_are_errors_of_it() {
    let folder = catalogue();
    let session = Session::start(serve(&folder), modern()).await;
    let nobody = "01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10";
    for (tool, arguments, code) in [
        ("run_workflow", json!({}), "INVALID_INPUT"),
        ("run_workflow", json!({ "workflowId": "greet", "inputs": { "name": 7 } }), "INVALID_INPUT"),
        ("run_workflow", json!({ "workflowId": "greet", "waitForMs": 10_001 }), "INVALID_INPUT"),
        ("run_workflow", json!({ "workflowId": "greet", "options": { "concurrency": 0 } }), "INVALID_INPUT"),
        ("run_workflow", json!({ "workflowId": "greet", "unknown": 1 }), "INVALID_INPUT"),
        ("run_workflow", json!({ "workflowId": "nothing" }), "WORKFLOW_NOT_FOUND"),
        ("run_workflow", json!({ "workflowId": "broken" }), "INVALID_WORKFLOW"),
        ("workflow_greet", json!({ "name": "Ada", "waitForMs": "long" }), "INVALID_INPUT"),
        ("workflow_greet", json!({ "nam": "Ada" }), "INVALID_INPUT"),
        ("get_status", json!({ "executionId": nobody }), "EXECUTION_NOT_FOUND"),
        ("get_status", json!({ "executionId": "@last" }), "INVALID_INPUT"),
        ("cancel_workflow", json!({ "executionId": nobody }), "EXECUTION_NOT_FOUND"),
        ("cancel_workflow", json!({ "executionId": nobody, "reason": "x".repeat(1025) }), "INVALID_INPUT"),
    ] {
        let refused = session.call(tool, arguments.clone()).await;
        assert_eq!(refused["error"]["code"], code, "{tool} {arguments}: {refused}");
    }
    let unknown = session.try_call("workflow_nothing", json!({})).await.expect_err("there is no such tool");
    assert!(matches!(&unknown, ServiceError::McpError(error) if error.code.0 == -32602), "{unknown:?}");
    for uri in ["execution://nothing", "workflow://broken", "file:///etc/passwd"] {
        let unknown = session.client.read_resource(ReadResourceRequestParams::new(uri)).await.expect_err(uri);
        assert!(matches!(&unknown, ServiceError::McpError(error) if error.code.0 == -32602), "{unknown:?}");
    }
    assert_eq!(session.end().await, Some(0));
}

#[tokio::test]
async fn changes_of_an_execution_are_told_to_who_subscribed() {
    let folder = catalogue();
    let session = Session::start(serve(&folder), ClientLifecycleMode::Initialize).await;
    let gate = session.call("workflow_gate", json!({})).await;
    let id = gate["executionId"].as_str().expect("an id");
    let uri = format!("execution://{id}");
    #[expect(deprecated, reason = "it is how clients of the earlier revisions subscribe")]
    session.client.subscribe(rmcp::model::SubscribeRequestParams::new(&uri)).await.expect("subscribed");
    session.call("cancel_workflow", json!({ "executionId": id })).await;
    let told = async {
        while session.told.updates.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("it is told");
}

#[tokio::test]
async fn prompts_tell_what_there_is() {
    let folder = catalogue();
    let session = Session::start(serve(&folder), modern()).await;
    let prompts = session.client.list_all_prompts().await.expect("it lists");
    let names: Vec<_> = prompts.iter().map(|prompt| prompt.name.as_str()).collect();
    assert_eq!(names, ["create_workflow", "analyze_workflow", "list_workflows"]);
    let ask = async |name: &str, arguments: Map<String, Value>| {
        let mut params = GetPromptRequestParams::new(name);
        params.arguments = Some(arguments);
        let prompt = session.client.get_prompt(params).await;
        prompt.map(|prompt| serde_json::to_string(&prompt).expect("JSON"))
    };
    let arguments = |name: &str, value: &str| Map::from_iter([(name.to_owned(), value.into())]);
    let listed = ask("list_workflows", Map::new()).await.expect("it is there");
    assert!(listed.contains("greet (Greet): Greets somebody twice") && !listed.contains("broken"), "{listed}");
    let create = ask("create_workflow", arguments("goal", "water the plants")).await.expect("it is there");
    assert!(create.contains("water the plants") && create.contains("@orchestr8/hello-world"), "{create}");
    let analyze = ask("analyze_workflow", arguments("workflowId", "gate")).await.expect("it is there");
    assert!(analyze.contains("Publish?"), "{analyze}");
    ask("create_workflow", Map::new()).await.expect_err("a goal is missing");
    ask("analyze_workflow", arguments("workflowId", "nothing")).await.expect_err("there is no such workflow");
}

#[tokio::test]
async fn the_end_of_the_input_leaves_executions_to_be_resumed() {
    let folder = catalogue();
    let mut command = serve(&folder);
    command.env("ORCHESTR8_SERVER_SHUTDOWN_TIMEOUT", "0");
    let home = command.get_envs().find(|(name, _)| *name == "ORCHESTR8_HOME").and_then(|(_, home)| home);
    let home = home.expect("each command has one").to_owned();
    let session = Session::start(command, modern()).await;
    let gate = session.call("workflow_gate", json!({})).await;
    let id = gate["executionId"].as_str().expect("an id").to_owned();
    session.waiting(&id).await;
    assert_eq!(session.end().await, Some(0));
    let look = |args: &[&str]| say(orchestr8().env("ORCHESTR8_HOME", &home).args(args));
    let status = look(&["status", &id, "--json"]);
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!((&status["status"], &status["waitingFor"][0]["kind"]), (&json!("running"), &json!("approval")));
    let approved = look(&["approve", &id]);
    assert_eq!(approved.code, Some(0), "{}", approved.stderr);
}

#[test]
fn the_self_check_tells_what_there_is() {
    let folder = catalogue();
    let checked = say(serve(&folder).arg("--test"));
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), "ok · 3 tools, 3 workflows\n"), "{}", checked.stderr);
    let hidden = say(serve(&folder).args(["--test", "--json"]).env("ORCHESTR8_MCP_EXPOSE_WORKFLOWS", "false"));
    let hidden: Value = serde_json::from_str(&hidden.stdout).expect("JSON");
    assert_eq!(hidden, json!({ "ok": true, "tools": 3, "workflows": 3 }));
}
