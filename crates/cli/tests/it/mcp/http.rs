//! `POST /mcp` of the server.

use std::collections::HashMap;

use orchestr8_schema::ExecutionId;
use reqwest::blocking::Response;
use rmcp::{
    model::{CallToolRequestParams, ProtocolVersion},
    service::{ClientLifecycleMode, ClientServiceExt as _},
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::{Value, json};

use super::{catalogue, envelope, path};
use crate::support::{orchestr8, running_server::RunningServer};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn server(folder: &tempfile::TempDir) -> RunningServer {
    let mut command = orchestr8();
    command.env("ORCHESTR8_MCP_ENABLED", "true").env("ORCHESTR8_TOKEN", TOKEN);
    command.args(["server", "--port", "0", "--workflows"]).arg(path(folder));
    RunningServer::of(&mut command)
}

#[test]
fn both_eras_are_spoken_over_http() {
    let folder = catalogue();
    let server = server(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let modern = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
        for lifecycle in [modern, ClientLifecycleMode::Initialize] {
            let mut config = StreamableHttpClientTransportConfig::with_uri(format!("{}/mcp", server.url));
            let bearer = format!("Bearer {TOKEN}").parse().expect("a header");
            config.custom_headers = HashMap::from([(reqwest::header::AUTHORIZATION, bearer)]);
            let http = reqwest::Client::builder().no_proxy().build().expect("a client");
            let transport = StreamableHttpClientTransport::with_client(http, config);
            let mut client = ().serve_with_lifecycle(transport, lifecycle).await.expect("it speaks the protocol");
            assert_eq!(client.list_all_tools().await.expect("it lists").len(), 6);
            let mut params = CallToolRequestParams::new("workflow_greet");
            params.arguments = json!({ "name": "Ada", "waitForMs": 10_000 }).as_object().cloned();
            let greeted = envelope(&client.call_tool(params).await.expect("it answers"));
            assert_eq!(greeted["data"]["outputs"]["text"], "Hello, Ada! Welcome to @orchestr8.", "{greeted}");
            let id: ExecutionId = greeted["executionId"].as_str().expect("an id").parse().expect("an id");
            let known = server.get(&format!("/v1/executions/{id}")).bearer_auth(TOKEN);
            let known = tokio::task::spawn_blocking(move || known.send().expect("it answers").status());
            assert_eq!(known.await.expect("it ends"), 200, "it is an execution of the server");
            client.close().await.expect("it closes");
        }
    });
}

fn code(answer: &Response) -> String {
    let code = answer.headers().get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
    format!("{} {code}", answer.status().as_u16())
}

#[test]
fn the_rules_of_the_server_hold_there_too() {
    let folder = catalogue();
    let server = server(&folder);
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let ask = || server.post("/mcp").bearer_auth(TOKEN);
    let json = |text: &str| ask().header("content-type", "application/json").body(text.to_owned());
    for (what, request, expected) in [
        ("no token", server.post("/mcp").json(&list), "401 UNAUTHORIZED"),
        ("another origin", ask().header("origin", "https://example.org").json(&list), "403 FORBIDDEN"),
        ("another name", ask().header("host", "example.org").json(&list), "403 FORBIDDEN"),
        ("another method", server.get("/mcp").bearer_auth(TOKEN), "405 METHOD_NOT_ALLOWED"),
        ("no type", ask().body(list.to_string()), "415 UNSUPPORTED_MEDIA_TYPE"),
        ("YAML", ask().header("content-type", "application/yaml").body("a: 1"), "415 UNSUPPORTED_MEDIA_TYPE"),
        ("garbage", json("{"), "400 BAD_REQUEST"),
        ("too deep", json(&"[".repeat(200)), "400 BAD_REQUEST"),
        ("too much", json(&" ".repeat(10_000_001)), "413 PAYLOAD_TOO_LARGE"),
    ] {
        let answer = request.send().expect(what);
        assert_eq!(code(&answer), expected, "{what}");
        assert!(answer.headers().contains_key("x-correlation-id"), "{what}");
    }
    let answer: Value = ask().json(&list).send().expect("it answers").json().expect("JSON");
    assert_eq!(answer["result"]["tools"].as_array().map(Vec::len), Some(6), "without a handshake and an `Accept`, too");
    let unknown = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/burn" });
    let unknown: Value = ask().json(&unknown).send().expect("it answers").json().expect("JSON");
    assert_eq!((&unknown["id"], &unknown["error"]["code"]), (&json!(2), &json!(-32601)));
    let version = ask().header("mcp-protocol-version", "1999-01-01").json(&list).send().expect("it answers");
    assert_eq!(version.status(), 400);
}

#[test]
fn nothing_is_offered_unless_the_settings_say_so() {
    let server = RunningServer::start(&mut orchestr8());
    let answer = server.post("/mcp").json(&json!({})).send().expect("it answers");
    assert_eq!(code(&answer), "404 NOT_FOUND");
}
