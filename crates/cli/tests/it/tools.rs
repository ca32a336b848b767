//! Tools and agents that reach beyond the program, from workflow files and under the policies of the settings.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    thread,
};

use serde_json::{Value, json};

#[cfg(feature = "server")]
use crate::support::running_server::RunningServer;
use crate::support::{Said, orchestr8, say};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/tools").join(name)
}

/// Runs a workflow file under settings.
fn run(config: &Value, file: &Path, arguments: &[&str]) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("settings.json");
    fs::write(&settings, config.to_string()).expect("written");
    let mut command = orchestr8();
    command.current_dir(folder.path()).arg("--config").arg(settings);
    say(command.arg("run").arg(file).args(arguments).arg("--json"))
}

fn outcome(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).expect("the outcome is JSON")
}

#[cfg(unix)]
#[test]
fn a_workflow_runs_programs_and_tools_of_the_settings_as_far_as_the_policies_go() {
    let file = example("count-words.yaml");
    let config: Value =
        serde_json::from_str(&fs::read_to_string(example("config.json")).expect("readable")).expect("JSON");
    let said = run(&config, &file, &["-i", "text=pear $(id) apple"]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    let outputs = &outcome(&said)["outputs"];
    assert_eq!(outputs["words"].as_str().map(str::trim), Some("3"), "{outputs}");
    assert_eq!(outputs["sorted"], "$(id) apple pear ");

    // Without the settings the tool is unknown, and without the policy the program is denied.
    let unknown = run(&json!({}), &file, &["-i", "text=a"]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.stdout);
    assert!(format!("{}{}", unknown.stdout, unknown.stderr).contains("text.sort"));
    let mut narrow = config;
    narrow["policy"]["process"] = json!({ "shell": true });
    let denied = run(&narrow, &file, &["-i", "text=a"]);
    assert_eq!(denied.code, Some(1), "{}", denied.stdout);
    assert!(denied.stdout.contains("policy.process.allow"), "{}", denied.stdout);
    assert!(denied.stdout.contains("DENIED"), "{}", denied.stdout);
}

/// A workflow of one step that calls an agent with a text.
fn calling(folder: &Path, agent: &str) -> PathBuf {
    let workflow = json!({
        "version": "1.0.0",
        "metadata": { "id": "calling", "name": "Calling" },
        "steps": [{ "id": "call", "agent": { "id": agent }, "input": { "text": "Grüße" } }],
        "outputs": { "said": "${steps.call.output}" }
    });
    let path = folder.join("calling.json");
    fs::write(&path, workflow.to_string()).expect("written");
    path
}

#[cfg(unix)]
#[test]
fn agents_of_the_settings_are_called_and_listed_with_where_they_come_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = json!({
        "command": "sh",
        "args": ["-c", "printf '{\"input\": %s, \"key\": \"%s\"}' \"$(cat)\" \"$MODE\""],
        "env": { "MODE": "fast" },
        "manifest": {
            "id": "@acme/script", "version": "1.2.3", "description": "Tells what it is given", "name": "Script",
            "author": "Ada", "license": "MIT", "tags": ["text", "trial"],
            "capabilities": [{ "name": "shell", "description": "Runs sh", "required": true }, { "name": "text", "description": "Reads texts" }]
        }
    });
    let config = json!({
        "policy": { "process": { "allow": ["sh"] } },
        "agents": { "@acme/script": program, "@acme/away": { "url": "http://127.0.0.1:9" } }
    });
    let file = calling(folder.path(), "@acme/script");
    let said = run(&config, &file, &[]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert_eq!(outcome(&said)["outputs"]["said"], json!({ "input": { "text": "Grüße" }, "key": "fast" }));
    assert!(said.stderr.contains("@acme/away"), "a service that is away is told of: {}", said.stderr);
    // Who needs it hears of it, too.
    let away = run(&config, &calling(folder.path(), "@acme/away"), &[]);
    assert_eq!(away.code, Some(2), "{}", away.stdout);

    let settings = folder.path().join("settings.json");
    let list = |config: &Value, arguments: &[&str]| {
        fs::write(&settings, config.to_string()).expect("written");
        say(orchestr8().arg("--config").arg(&settings).args(["agents", "list"]).args(arguments))
    };
    let listed = list(&config, &[]);
    assert!(listed.stdout.contains("@acme/script"), "{}", listed.stdout);
    assert!(listed.stdout.contains("1.2.3  Tells what it is given (program sh)"), "{}", listed.stdout);
    let listed: Value = serde_json::from_str(&list(&config, &["--json"]).stdout).expect("JSON");
    let source = |id: &str| {
        let agents = listed["agents"].as_array().expect("a list");
        agents.iter().find(|agent| agent["id"] == id).map(|agent| agent["source"].clone())
    };
    assert_eq!(source("@acme/script"), Some(json!("program sh")));
    assert_eq!(source("@orchestr8/http"), Some(json!("built in")));
    assert_eq!(source("@acme/away"), None);
    let script = listed["agents"].as_array().expect("a list").iter().find(|agent| agent["id"] == "@acme/script");
    let script = script.expect("it is listed");
    assert_eq!(
        (&script["author"], &script["license"], &script["tags"]),
        (&json!("Ada"), &json!("MIT"), &json!(["text", "trial"]))
    );
    assert_eq!(script["capabilities"][0], json!({ "name": "shell", "description": "Runs sh", "required": true }));
    assert_eq!(script["capabilities"][1]["required"], false);
    let inspected = say(orchestr8().arg("--config").arg(&settings).args(["agents", "inspect", "@acme/script"])).stdout;
    let expected = "Tells what it is given\nname: Script\nauthor: Ada\nlicense: MIT\ntags: text, trial\n\ncapabilities\nshell (required): Runs sh\ntext: Reads texts\n";
    assert!(inspected.ends_with(expected), "{inspected}");
    #[cfg(feature = "server")]
    {
        let server = RunningServer::start(orchestr8().arg("--config").arg(&settings));
        let shown: Value = server.get("/v1/agents/acme/script").send().expect("it answers").json().expect("JSON");
        assert_eq!((&shown["author"], &shown["capabilities"]), (&script["author"], &script["capabilities"]));
    }

    // An id stands for one agent.
    let mut twice = program.clone();
    twice["manifest"]["id"] = json!("@orchestr8/echo");
    let refused = list(&json!({ "agents": { "@orchestr8/echo": twice } }), &[]);
    assert_eq!(refused.code, Some(2), "{}", refused.stdout);
    assert!(refused.stderr.contains("there are two agents @orchestr8/echo"), "{}", refused.stderr);
    let mut other = program;
    other["manifest"]["id"] = json!("@acme/other");
    let refused = list(&json!({ "agents": { "@acme/script": other } }), &[]);
    assert!(refused.stderr.contains("has the id @acme/other"), "{}", refused.stderr);
}

#[cfg(unix)]
#[test]
fn tools_stand_in_a_file_of_their_own_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let tools = "text.shout:\n  command: printf %s {text} | tr a-z A-Z\n  description: Shouts\n  parameters:\n    type: object\n    required: [text]\n    properties: { text: { type: string } }\n";
    let workflow = json!({
        "version": "1.0.0",
        "metadata": { "id": "shout", "name": "Shout" },
        "steps": [{ "id": "call", "tool": { "name": "text.shout", "arguments": { "text": "it's $(id)" } } }],
        "outputs": { "said": "${steps.call.output.stdout}" }
    });
    let file = folder.path().join("shout.json");
    fs::write(&file, workflow.to_string()).expect("written");
    let write = |place: &str, text: &str| {
        let path = folder.path().join(place);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    let shout = |home: &str, arguments: &[&str]| {
        let mut command = orchestr8();
        command.current_dir(folder.path()).env("ORCHESTR8_HOME", folder.path().join(home));
        say(command.args(arguments).arg("run").arg(&file))
    };
    write("home/config.json", r#"{ "policy": { "process": { "shell": true } } }"#);
    write("home/tools.yaml", tools);
    let said = shout("home", &[]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert!(said.stdout.contains("IT'S $(ID)"), "{}", said.stdout);

    // One of the same name in the settings counts, whole.
    write(
        "home/config.json",
        r#"{ "policy": { "process": { "shell": true } }, "tools": { "text.shout": { "command": "printf no", "description": "Whispers" } } }"#,
    );
    let said = shout("home", &[]);
    assert!(said.stderr.contains("the tool `text.shout` stands in the settings, too"), "{}", said.stderr);
    assert_eq!(said.code, Some(2), "it takes no parameters: {}", said.stdout);

    // Without a policy it is denied, and a mistake is told of with its place.
    write("bare/tools.yaml", tools);
    let denied = shout("bare", &[]);
    assert!(denied.stderr.contains("policy.process.shell"), "{} {}", denied.stdout, denied.stderr);
    write("wrong/tools.yaml", "text.shout:\n  command: [a]\n  description: Shouts\n");
    let wrong = shout("wrong", &[]);
    assert!(wrong.stderr.contains("tools.yaml counts as absent: /tools/text.shout/command"), "{}", wrong.stderr);
    write("wrong/tools.yaml", "text.shout: {\n");
    assert!(shout("wrong", &[]).stderr.contains("tools.yaml counts as absent"));

    // That of a project runs code, so the project has to be trusted.
    write(".orchestr8/tools.yaml", tools);
    write("plain/config.json", r#"{ "policy": { "process": { "shell": true } } }"#);
    let ignored = shout("plain", &[]);
    assert!(ignored.stderr.contains(".orchestr8/tools.yaml is ignored"), "{}", ignored.stderr);
    assert_eq!(ignored.code, Some(2), "{}", ignored.stdout);
    assert_eq!(shout("plain", &["--trust-project"]).code, Some(0));
}

#[test]
fn a_project_that_is_not_trusted_adds_nothing_that_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join(".orchestr8")).expect("a folder");
    let config = json!({
        "policy": { "process": { "allow": ["touch"], "shell": true } },
        "tools": { "evil": { "command": "touch ran", "description": "Leaves a trace" } },
        "agents": { "@evil/agent": {
            "command": "touch", "args": ["ran"],
            "manifest": { "id": "@evil/agent", "version": "1.0.0", "description": "Leaves a trace" }
        } }
    });
    fs::write(folder.path().join(".orchestr8/config.json"), config.to_string()).expect("written");
    let file = calling(folder.path(), "@evil/agent");
    let said = say(orchestr8().current_dir(folder.path()).arg("run").arg(&file));
    assert_eq!(said.code, Some(2), "{}", said.stdout);
    assert!(said.stderr.contains("is not trusted"), "{}", said.stderr);
    assert!(!folder.path().join("ran").exists());
    say(orchestr8().current_dir(folder.path()).arg("--trust-project").arg("run").arg(&file));
    assert_eq!(folder.path().join("ran").exists(), cfg!(unix));
}

#[cfg(unix)]
#[test]
fn headers_for_a_service_may_name_variables_and_secrets_of_the_data_directory() {
    use std::os::unix::fs::PermissionsExt as _;

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let service = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        let asked = BufReader::new(stream.try_clone().expect("a second handle")).lines().map_while(Result::ok);
        let asked: Vec<String> = asked.take_while(|line| !line.is_empty()).collect();
        let body = r#"{"status":"healthy","agent":"@acme/remote","version":"1.0.0"}"#;
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).expect("it listens");
        asked
    });
    let folder = tempfile::tempdir().expect("a folder");
    let (settings, secrets) = (folder.path().join("settings.json"), folder.path().join("secrets.json"));
    let headers = json!({ "x-team": "team ${TEAM}", "authorization": "secret://acme/key" });
    let config = json!({ "agents": { "@acme/remote": { "url": url, "headers": headers } } });
    fs::write(&settings, config.to_string()).expect("written");
    fs::write(&secrets, json!({ "acme/key": "s3cr3t-key" }).to_string()).expect("written");
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let mut command = orchestr8();
    command.env("TEAM", "blue").arg("--config").arg(&settings).arg("--data-dir").arg(folder.path());
    let listed = say(command.args(["agents", "list"]));
    assert!(listed.stdout.contains("@acme/remote"), "{} {}", listed.stdout, listed.stderr);
    let asked = service.join().expect("it was asked");
    for header in ["x-team: team blue", "authorization: s3cr3t-key"] {
        assert!(asked.iter().any(|line| line == header), "{header} in {asked:?}");
    }

    let unset = say(orchestr8().arg("--config").arg(&settings).args(["agents", "list"]));
    assert!(unset.stderr.contains("`TEAM`") && !unset.stdout.contains("@acme/remote"), "{}", unset.stderr);
}

/// A server of files that knows one note.
#[cfg(unix)]
const NOTES: &str = r#"
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
while read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case "$line" in
        *'"server/discover"'*) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}\n' "$id" ;;
        *'"initialize"'*) answer '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"notes","version":"1"}}' ;;
        *'"tools/list"'*) answer '{"tools":[{"name":"list_directory","inputSchema":{"type":"object"}},{"name":"read_text_file","inputSchema":{"type":"object"}},{"name":"write_file","inputSchema":{"type":"object"}}]}' ;;
        *'"tools/call"'*) printf '%s\n' "$line" >> calls; answer '{"content":[{"type":"text","text":"water the plants"}]}' ;;
    esac
done
"#;

#[cfg(unix)]
#[test]
fn an_agent_answers_by_the_tools_of_a_server_that_it_may_call_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script.json");
    let write = json!({ "name": "files:write_file", "arguments": { "path": "todo.txt" } });
    let read = json!({ "name": "files:read_text_file", "arguments": { "path": "todo.txt" } });
    let answers = json!([{ "tools": [write, read] }, { "text": "Water the plants (todo.txt)." }]);
    fs::write(&script, answers.to_string()).expect("written");
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(example("ask-notes.config.json")).expect("readable")).expect("JSON");
    config["providers"] = json!({ "default": "scripted", "scripted": { "kind": "fake", "script": script } });
    config["models"] = json!({ "default": "scripted/any" });
    config["mcp"]["servers"]["files"] = json!({ "command": "sh", "args": ["-c", NOTES], "cwd": folder.path() });
    let said = run(&config, &example("ask-notes.yaml"), &["-i", "folder=notes", "-i", "question=What is due?"]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert_eq!(outcome(&said)["outputs"]["answer"], "Water the plants (todo.txt).");
    let calls = fs::read_to_string(folder.path().join("calls")).expect("it was called");
    assert_eq!(calls.lines().count(), 1, "what the step does not name is not called: {calls}");
    assert!(calls.contains("read_text_file"), "{calls}");
}

#[test]
fn a_workflow_reads_the_variables_that_the_policy_lists() {
    let folder = tempfile::tempdir().expect("a folder");
    let workflow = json!({
        "version": "1.0.0",
        "metadata": { "id": "reads", "name": "Reads" },
        "allowedEnvVars": ["READ_ME"],
        "steps": [{ "id": "read", "agent": { "id": "@orchestr8/echo" }, "input": { "told": "${env.READ_ME ?? 'nothing'}" } }]
    });
    let file = folder.path().join("reads.json");
    fs::write(&file, workflow.to_string()).expect("written");
    let settings = folder.path().join("settings.json");
    let run = |allow: Value, value: Option<&str>| {
        fs::write(&settings, json!({ "policy": { "env": allow } }).to_string()).expect("written");
        let mut command = orchestr8();
        command.envs(value.map(|value| ("READ_ME", value))).arg("--config").arg(&settings);
        say(command.args(["run", "--local", "--json"]).arg(&file))
    };
    for allow in [json!({}), json!({ "allow": ["READ_*"] })] {
        let said = run(allow, Some("blue"));
        assert_eq!(
            (said.code, &outcome(&said)["outputs"]["read"]["told"]),
            (Some(0), &json!("blue")),
            "{}",
            said.stderr
        );
    }
    let denied = run(json!({ "allow": ["OTHER"] }), Some("blue"));
    assert_eq!(denied.code, Some(2), "{}", denied.stdout);
    assert!(format!("{}{}", denied.stdout, denied.stderr).contains("policy.env.allow"), "{}", denied.stderr);
    assert_eq!(run(json!({ "allow": [] }), None).code, Some(0), "what is not set is not read");
}
