//! Tools of servers, against a server in `sh` that is as bad as a test wants it, and against those that the protocol's authors publish.
#![cfg(all(feature = "mcp", unix))]

mod support;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use orchestr8_agent_base::{
    AgentError, AgentRegistry, AgentService, CancellationToken, ToolSpec,
    mcp::{Endpoint, McpClient},
    service::AgentRequest,
    tool::ToolNamespace as _,
};
use orchestr8_schema::{ErrorKind, config::McpServer};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

/// A server that answers line by line. It notes what it is told, so that a test sees it.
const SERVER: &str = r#"
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
refuse() { printf '{"jsonrpc":"2.0","id":%s,"error":{"code":%s,"message":"no"}}\n' "$id" "$1"; }
echo start >> "$FOLDER/starts"
[ "$MODE" = dead ] && exit 3
[ "$MODE" = flood ] && { head -c 3000000 /dev/zero | tr '\0' 'e' >&2; yes flood | head -n 5000 >&2; }
object='{"type":"object"}'
while read -r line; do
    printf '%s\n' "$line" >> "$FOLDER/told"
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case "$line" in
        *'"server/discover"'*)
            case "$MODE" in
                modern) answer '{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}' ;;
                *) refuse -32601 ;;
            esac ;;
        *'"initialize"'*)
            answer '{"protocolVersion":"'"${VERSION:-2025-11-25}"'","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"fake","version":"1"}}' ;;
        *'"tools/list"'*)
            case "$line" in
                *'"cursor":"second"'*)
                    answer '{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[{"name":"crash","inputSchema":'"$object"'},{"name":"hang","inputSchema":'"$object"'},{"name":"bad name!","inputSchema":'"$object"'},{"name":"broken","inputSchema":{"type":7}},{"name":"liar","inputSchema":'"$object"',"outputSchema":{"type":"object","required":["n"]}}]}' ;;
                *)
                    [ "$MODE" = endless ] && { answer '{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[],"nextCursor":"again"}'; continue; }
                    answer '{"resultType":"complete","ttlMs":0,"cacheScope":"private","nextCursor":"second","tools":[{"name":"echo","description":"Says it","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","required":["text"],"properties":{"text":{"type":"string"}}}},{"name":"count","inputSchema":'"$object"',"outputSchema":{"type":"object","required":["n"]}},{"name":"fail","inputSchema":'"$object"'},{"name":"change","inputSchema":'"$object"'}]}' ;;
            esac ;;
        *'"tools/call"'*)
            case "$line" in
                *'"name":"echo"'*) answer '{"resultType":"complete","content":[{"type":"text","text":"one"},{"type":"text","text":"'"$VALUE"'"}]}' ;;
                *'"name":"count"'*) answer '{"resultType":"complete","content":[{"type":"text","text":"ignored"}],"structuredContent":{"n":7}}' ;;
                *'"name":"liar"'*) answer '{"resultType":"complete","content":[],"structuredContent":{"m":7}}' ;;
                *'"name":"fail"'*) answer '{"resultType":"complete","content":[{"type":"text","text":"disk full"}],"isError":true}' ;;
                *'"name":"broken"'*) answer '{"resultType":"complete","content":[{"type":"image","data":"AA==","mimeType":"image/png"}]}' ;;
                *'"name":"change"'*)
                    printf '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'
                    answer '{"resultType":"complete","content":[]}' ;;
                *'"name":"crash"'*) exit 3 ;;
            esac ;;
    esac
done
"#;

/// A client of that server, and the folder that it notes things in.
struct Fake {
    client: Arc<McpClient>,
    folder: tempfile::TempDir,
}

impl Fake {
    fn new(mode: &str) -> Self {
        Self::with(&[("MODE", mode), ("VALUE", "${WORD}")])
    }

    fn with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().to_str().expect("text").to_owned();
        let place = [("FOLDER", place.as_str())];
        let variables = variables.iter().chain(&place);
        let server = McpServer::Program {
            command: "sh".to_owned(),
            args: vec!["-c".to_owned(), SERVER.to_owned()],
            env: variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            cwd: None,
        };
        let expand = |text: &str| Ok(if text == "${WORD}" { "two".to_owned() } else { text.to_owned() });
        Self { client: Arc::new(McpClient::new("fake", Endpoint::new(server, Arc::new(expand)))), folder }
    }

    /// Calls a tool as an engine does.
    async fn call(&self, tool: &str, arguments: Value) -> Result<Value, AgentError> {
        self.call_cancellable(tool, arguments, CancellationToken::new()).await
    }

    async fn call_cancellable(
        &self,
        tool: &str,
        arguments: Value,
        cancel: CancellationToken,
    ) -> Result<Value, AgentError> {
        call(&self.client, "fake", tool, arguments, cancel).await
    }

    fn noted(&self, what: &str) -> String {
        fs::read_to_string(self.folder.path().join(what)).unwrap_or_default()
    }

    fn starts(&self) -> usize {
        self.noted("starts").lines().count()
    }

    fn told(&self, part: &str) -> usize {
        self.noted("told").lines().filter(|line| line.contains(part)).count()
    }
}

async fn call(
    client: &Arc<McpClient>,
    server: &str,
    tool: &str,
    arguments: Value,
    cancel: CancellationToken,
) -> Result<Value, AgentError> {
    let mut registry = AgentRegistry::new();
    registry.tools_mut().register_namespace(server, client.clone()).expect("registered");
    let tool = registry.tools().get(&format!("{server}:{tool}").parse().expect("a name")).expect("any name is there");
    let cx = support::context(&arguments, Map::new());
    let callee = Arc::clone(tool.callee());
    AgentService::new(callee).oneshot(AgentRequest::new(Arc::new(arguments), cx, cancel)).await
}

fn names(specs: &[ToolSpec]) -> Vec<&str> {
    specs.iter().map(|spec| spec.name.as_str()).collect()
}

#[tokio::test]
async fn both_eras_of_the_protocol_are_spoken() {
    for (mode, version) in [("modern", "unused"), ("legacy", "2025-11-25"), ("legacy", "2025-06-18")] {
        let fake = Fake::with(&[("MODE", mode), ("VALUE", "two"), ("VERSION", version)]);
        let specs = fake.client.list().await.expect("it lists");
        let known = ["broken", "change", "count", "crash", "echo", "fail", "hang", "liar"];
        assert_eq!(names(&specs), known.map(|name| format!("fake:{name}")), "both pages, without the bad name");
        let echo = specs.iter().find(|spec| spec.name.as_str() == "fake:echo").expect("it is there");
        assert!(echo.read_only && !echo.destructive && echo.input_schema.is_some());

        assert_eq!(
            fake.call("echo", json!({ "text": "x" })).await.expect("it answers"),
            "one\ntwo",
            "{mode} {version}"
        );
        assert_eq!(fake.call("count", json!({})).await.expect("it answers"), json!({ "n": 7 }));
        assert_eq!(fake.told("\"tools/list\""), 2, "the list is kept");
        assert_eq!(fake.told("\"initialize\""), usize::from(mode == "legacy"));
        assert_eq!(fake.starts(), 1);
        let calls = fake.noted("told");
        let calls: Vec<_> = calls.lines().filter(|line| line.contains("tools/call")).collect();
        assert_eq!(calls.iter().all(|call| call.contains("2026-07-28")), mode == "modern", "{calls:?}");
        for offered in ["sampling", "roots", "elicitation"] {
            assert_eq!(fake.told(offered), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_says_anything_is_given_up() {
    let silent = McpServer::Program {
        command: "sh".to_owned(),
        args: vec!["-c".to_owned(), "cat > /dev/null".to_owned()],
        env: Default::default(),
        cwd: None,
    };
    let silent = McpClient::new("silent", Endpoint::new(silent, Arc::new(|text| Ok(text.to_owned()))));
    let began = tokio::time::Instant::now();
    let error = silent.list().await.expect_err("it says nothing");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Network, McpClient::ANSWER_TIMEOUT), "{error}");
    assert!(error.to_string().contains("`silent` of tools did not answer in 10 s"), "{error}");
}

#[tokio::test]
async fn what_a_server_says_is_checked() {
    let fake = Fake::new("legacy");
    assert_eq!(
        fake.call("echo", json!({ "text": "x" })).await.expect("it answers"),
        "one\ntwo",
        "variables are expanded"
    );
    let calls = fake.told("tools/call");
    for (tool, arguments, kind) in [
        ("echo", json!({ "text": 7 }), ErrorKind::Validation),
        ("echo", json!([]), ErrorKind::Validation),
        ("nothing", json!({}), ErrorKind::NotFound),
    ] {
        let error = fake.call(tool, arguments).await.expect_err(tool);
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(fake.told("tools/call"), calls, "nothing of this reached the server");
    let liar = fake.call("liar", json!({})).await.expect_err("it lies");
    assert_eq!(liar.kind(), ErrorKind::Validation, "{liar}");
    let failed = fake.call("fail", json!({})).await.expect_err("it fails");
    assert_eq!(
        (failed.kind(), failed.to_string().as_str()),
        (ErrorKind::Internal, "tool `fake:fail` failed: disk full")
    );
    // A schema that is none checks nothing, and what is no text is given as it is.
    let picture = fake.call("broken", json!({ "any": 1 })).await.expect("it answers");
    assert_eq!(picture["content"][0]["mimeType"], "image/png");

    let lists = fake.told("\"tools/list\"");
    fake.call("change", json!({})).await.expect("it answers");
    fake.call("count", json!({})).await.expect("it answers");
    fake.call("count", json!({})).await.expect("it answers");
    assert_eq!(fake.told("\"tools/list\""), lists + 2, "read again, once");
    let endless = Fake::new("endless").client.list().await.expect_err("it never ends");
    assert_eq!(endless.kind(), ErrorKind::Validation, "{endless}");
}

#[tokio::test]
async fn a_server_that_ends_is_started_again_but_not_for_ever() {
    let fake = Fake::new("legacy");
    for attempt in 1..=McpClient::MAX_RESTARTS + 1 {
        assert_eq!(fake.call("crash", json!({})).await.expect_err("it crashes").kind(), ErrorKind::Network);
        assert_eq!(fake.starts(), attempt);
    }
    let given_up = fake.call("echo", json!({ "text": "x" })).await.expect_err("too often");
    assert_eq!((given_up.kind(), fake.starts()), (ErrorKind::Network, McpClient::MAX_RESTARTS + 1));
    assert!(given_up.retry_after().is_some_and(|wait| wait <= McpClient::RESTART_WINDOW));

    let dead = Fake::new("dead").call("echo", json!({ "text": "x" })).await.expect_err("it is not there");
    assert_eq!(dead.kind(), ErrorKind::Network, "{dead}");
    let none =
        McpServer::Program { command: "/nowhere".to_owned(), args: Vec::new(), env: Default::default(), cwd: None };
    let none = McpClient::new("none", Endpoint::new(none, Arc::new(|text| Ok(text.to_owned()))));
    assert_eq!(none.list().await.expect_err("no program").kind(), ErrorKind::Network);
}

#[tokio::test]
async fn a_cancelled_call_is_told_to_the_server() {
    let fake = Fake::new("legacy");
    fake.client.list().await.expect("it lists");
    let cancel = CancellationToken::new();
    let calling = fake.call_cancellable("hang", json!({}), cancel.clone());
    let both = async {
        while fake.told("\"name\":\"hang\"") == 0 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (called, ()) = tokio::join!(calling, both);
    assert_eq!(called.expect_err("it is cancelled").kind(), ErrorKind::Cancelled);
    let told = async {
        while fake.told("notifications/cancelled") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("it is told");
    assert_eq!(fake.call("count", json!({})).await.expect("it goes on"), json!({ "n": 7 }));
}

#[tokio::test]
async fn a_flood_on_standard_error_holds_nobody_up() {
    let fake = Fake::new("flood");
    assert_eq!(fake.call("count", json!({})).await.expect("it answers"), json!({ "n": 7 }));
}

/// The folder of `npm install` with the published servers.
fn published(name: &str) -> (String, Vec<String>) {
    let folder = std::env::var("MCP_SERVERS").expect("MCP_SERVERS names the folder of `npm install`");
    let script = PathBuf::from(folder).join("node_modules").join(name).join("dist/index.js");
    ("node".to_owned(), vec![script.to_str().expect("text").to_owned()])
}

fn client(server: McpServer) -> Arc<McpClient> {
    Arc::new(McpClient::new("it", Endpoint::new(server, Arc::new(|text| Ok(text.to_owned())))))
}

#[tokio::test]
#[ignore = "needs node and the published servers; `.ci/run` installs them"]
async fn the_published_servers_are_spoken_to() {
    let (command, args) = published("@modelcontextprotocol/server-everything");
    let everything = client(McpServer::Program { command, args, env: Default::default(), cwd: None });
    let specs = everything.list().await.expect("it lists");
    assert!(names(&specs).contains(&"it:echo"), "{:?}", names(&specs));
    let said = call(&everything, "it", "echo", json!({ "message": "Grüße" }), CancellationToken::new()).await;
    assert_eq!(said.expect("it answers"), "Echo: Grüße");
    let wrong = call(&everything, "it", "echo", json!({}), CancellationToken::new()).await.expect_err("no message");
    assert_eq!(wrong.kind(), ErrorKind::Validation);

    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().canonicalize().expect("it is there");
    fs::write(place.join("note.txt"), "remember").expect("written");
    let (command, mut args) = published("@modelcontextprotocol/server-filesystem");
    args.push(place.to_str().expect("text").to_owned());
    let files = client(McpServer::Program { command, args, env: Default::default(), cwd: None });
    let read =
        call(&files, "it", "read_text_file", json!({ "path": place.join("note.txt") }), CancellationToken::new());
    let read = read.await.expect("it answers");
    assert!(read.to_string().contains("remember"), "{read}");
    let outside = json!({ "path": "/etc/hostname" });
    let outside = call(&files, "it", "read_text_file", outside, CancellationToken::new()).await.expect_err("outside");
    assert_eq!(outside.kind(), ErrorKind::Internal, "{outside}");
}
