//! Tools of servers that are spoken to over HTTP, against one on loopback that is as bad as a test wants it.
#![cfg(feature = "mcp")]

mod support;

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::any,
};
use futures_util::{StreamExt as _, stream};
use orchestr8_agent_base::{
    AgentError, AgentRegistry, AgentService, CancellationToken,
    mcp::{Endpoint, McpClient},
    service::AgentRequest,
    tool::ToolNamespace as _,
};
use orchestr8_schema::{ErrorKind, config::McpServer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// The era that a server speaks.
#[derive(Clone, Copy, PartialEq)]
enum Era {
    Legacy,
    Modern,
}

struct Server {
    era: Era,
    /// What it was asked, with the headers that matter.
    asked: Mutex<Vec<(String, HeaderMap)>>,
    lists: AtomicUsize,
    /// Tells who listens that the list has changed.
    changed: tokio::sync::watch::Sender<u32>,
}

fn json_answer(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn result(id: &Value, result: &Value) -> Response {
    json_answer(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

fn refused(id: &Value, code: i32) -> Response {
    json_answer(&json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": "no" } }))
}

fn event(body: &Value) -> Result<Bytes, Infallible> {
    Ok(format!("data: {body}\n\n").into())
}

fn events(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

async fn answer(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    server.asked.lock().expect("nobody panics").push((method.clone(), headers));
    let id = &message["id"];
    let cached = |value: Value| {
        let mut value = value;
        value["resultType"] = "complete".into();
        (value["ttlMs"], value["cacheScope"]) = (0.into(), "private".into());
        value
    };
    match method.as_str() {
        "server/discover" if server.era == Era::Modern => {
            let capabilities = json!({ "tools": { "listChanged": true } });
            result(id, &cached(json!({ "supportedVersions": ["2026-07-28"], "capabilities": capabilities })))
        }
        "server/discover" => refused(id, -32601),
        "initialize" => {
            let info = json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": { "name": "bad", "version": "1" } });
            let mut response = result(id, &info);
            response.headers_mut().insert("mcp-session-id", "session-1".parse().expect("a header"));
            response
        }
        "subscriptions/listen" => {
            let accepted = json!({
                "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                "params": { "_meta": { "io.modelcontextprotocol/subscriptionId": id }, "notifications": { "toolsListChanged": true } },
            });
            let changed = json!({
                "jsonrpc": "2.0", "method": "notifications/tools/list_changed",
                "params": { "_meta": { "io.modelcontextprotocol/subscriptionId": id } },
            });
            let watch = server.changed.subscribe();
            let told = stream::unfold((watch, changed), |(mut watch, changed)| async {
                watch.changed().await.ok()?;
                Some((event(&changed), (watch, changed)))
            });
            events(Body::from_stream(stream::iter([event(&accepted)]).chain(told)))
        }
        "tools/list" => {
            server.lists.fetch_add(1, Ordering::SeqCst);
            let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
            let mut tools: Vec<_> =
                ["echo", "stream", "fail", "broken", "half", "html", "hang", "flood", "large"].map(tool).into();
            tools.push(json!({ "name": "liar", "inputSchema": { "type": "object" }, "outputSchema": { "type": "object", "required": ["n"] } }));
            result(id, &cached(json!({ "tools": tools })))
        }
        "tools/call" => call(id, message["params"]["name"].as_str().unwrap_or_default()),
        _ => StatusCode::ACCEPTED.into_response(),
    }
}

fn call(id: &Value, tool: &str) -> Response {
    let text = |text: &str| json!({ "resultType": "complete", "content": [{ "type": "text", "text": text }] });
    match tool {
        "echo" => result(id, &text("plain")),
        "stream" => {
            let note = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "working" } });
            let answer = json!({ "jsonrpc": "2.0", "id": id, "result": text("streamed") });
            events(Body::from_stream(stream::iter([event(&note), event(&answer)])))
        }
        "fail" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        // The connection breaks in the middle of the answer.
        "broken" => {
            let parts = [Ok(Bytes::from_static(b"{\"jsonrpc\":")), Err(std::io::Error::other("cut"))];
            ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(stream::iter(parts))).into_response()
        }
        "half" => ([(header::CONTENT_TYPE, "application/json")], "{\"jsonrpc\":").into_response(),
        "html" => ([(header::CONTENT_TYPE, "text/html")], "<p>Welcome</p>").into_response(),
        "hang" => events(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())),
        // An event without end.
        "flood" => {
            let piece = Bytes::from(vec![b'x'; 1 << 20]);
            events(Body::from_stream(stream::repeat(piece).take(64).map(Ok::<_, Infallible>)))
        }
        "large" => result(id, &text(&"x".repeat(2 << 20))),
        "liar" => result(id, &json!({ "resultType": "complete", "content": [], "structuredContent": { "m": 7 } })),
        _ => refused(id, -32602),
    }
}

/// A client of a server of this era.
async fn client(era: Era) -> (Arc<McpClient>, Arc<Server>) {
    let changed = tokio::sync::watch::Sender::new(0);
    let server = Arc::new(Server { era, asked: Mutex::default(), lists: AtomicUsize::new(0), changed });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
    let router = Router::new().route("/mcp", any(answer)).with_state(Arc::clone(&server));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let headers = [("x-team".to_owned(), "${TEAM}".to_owned())].into_iter().collect();
    let expand = |text: &str| Ok(text.replace("${TEAM}", "blue"));
    let endpoint = Endpoint::new(McpServer::Service { url, headers }, Arc::new(expand));
    (Arc::new(McpClient::new("bad", endpoint)), server)
}

async fn ask(client: &Arc<McpClient>, tool: &str, cancel: CancellationToken) -> Result<Value, AgentError> {
    let mut registry = AgentRegistry::new();
    registry.tools_mut().register_namespace("bad", client.clone()).expect("registered");
    let tool = registry.tools().get(&format!("bad:{tool}").parse().expect("a name")).expect("any name is there");
    let arguments = json!({});
    let cx = support::context(&arguments, Map::new());
    AgentService::new(Arc::clone(tool.callee())).oneshot(AgentRequest::new(Arc::new(arguments), cx, cancel)).await
}

impl Server {
    fn asked(&self, method: &str) -> Vec<HeaderMap> {
        let asked = self.asked.lock().expect("nobody panics");
        asked.iter().filter(|(known, _)| known == method).map(|(_, headers)| headers.clone()).collect()
    }
}

#[tokio::test]
async fn both_eras_are_spoken_and_only_the_one_with_a_handshake_has_a_session() {
    for era in [Era::Legacy, Era::Modern] {
        let (client, server) = client(era).await;
        assert_eq!(ask(&client, "echo", CancellationToken::new()).await.expect("it answers"), "plain");
        assert_eq!(ask(&client, "stream", CancellationToken::new()).await.expect("it answers"), "streamed");
        let calls = server.asked("tools/call");
        assert_eq!(calls.len(), 2);
        for headers in &calls {
            let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
            assert_eq!(text("x-team"), Some("blue"), "the headers of the settings, expanded");
            assert_eq!(text("mcp-session-id"), (era == Era::Legacy).then_some("session-1"));
            let version = if era == Era::Legacy { "2025-11-25" } else { "2026-07-28" };
            assert_eq!(text("mcp-protocol-version"), Some(version));
        }
        assert_eq!(server.asked("initialize").len(), usize::from(era == Era::Legacy));
    }
}

#[tokio::test]
async fn whatever_a_server_does_fails_the_call_and_not_the_next_one() {
    for era in [Era::Legacy, Era::Modern] {
        let (client, _server) = client(era).await;
        for tool in ["fail", "broken", "half", "html", "flood", "large", "liar"] {
            let asked = ask(&client, tool, CancellationToken::new());
            let error = tokio::time::timeout(Duration::from_secs(30), asked).await.expect("it ends").expect_err(tool);
            let known = [ErrorKind::Network, ErrorKind::Internal, ErrorKind::Validation, ErrorKind::Retryable];
            assert!(known.contains(&error.kind()), "{tool}: {error}");
            if ["large", "liar"].contains(&tool) {
                assert_eq!(error.kind(), ErrorKind::Validation, "{tool}: {error}");
            }
            let next = ask(&client, "echo", CancellationToken::new()).await;
            assert_eq!(next.unwrap_or_else(|error| panic!("after {tool}: {error}")), "plain");
        }
    }
}

#[tokio::test]
async fn a_call_that_hangs_ends_when_it_is_cancelled() {
    let (client, server) = client(Era::Modern).await;
    client.list().await.expect("it lists");
    let cancel = CancellationToken::new();
    let both = async {
        while server.asked("tools/call").is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (called, ()) = tokio::join!(ask(&client, "hang", cancel.clone()), both);
    assert_eq!(called.expect_err("it is cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(ask(&client, "echo", CancellationToken::new()).await.expect("it goes on"), "plain");
}

#[tokio::test]
async fn who_listens_is_told_of_changes_of_the_list_in_the_later_era() {
    let (client, server) = client(Era::Modern).await;
    client.list().await.expect("it lists");
    while server.changed.receiver_count() == 0 {
        tokio::task::yield_now().await;
    }
    client.list().await.expect("it lists");
    assert_eq!(server.lists.load(Ordering::SeqCst), 1, "the list is kept");
    server.changed.send_modify(|count| *count += 1);
    let told = async {
        while server.lists.load(Ordering::SeqCst) < 2 {
            client.list().await.expect("it lists");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("it is read again");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure_of_the_network() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
    drop(listener);
    let server = McpServer::Service { url, headers: Default::default() };
    let client = Arc::new(McpClient::new("bad", Endpoint::new(server, Arc::new(|text| Ok(text.to_owned())))));
    assert_eq!(ask(&client, "echo", CancellationToken::new()).await.expect_err("nobody").kind(), ErrorKind::Network);
}
