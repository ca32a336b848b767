//! The commands that look at executions of a server and tell them something.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Said, assert_steady, example, orchestr8, running_server::RunningServer, say};

fn start(server: &RunningServer, file: &str, input: &Value) -> String {
    let text = fs::read(example(file)).expect("the example is there");
    let options = orchestr8_schema::source::Options::new().file_name(file);
    let workflow = orchestr8_schema::source::parse(text, &options).expect("well formed");
    let request = server.post("/v1/workflows/execute").json(&json!({ "workflow": workflow, "input": input }));
    let answer: Value = request.send().expect("the server answers").json().expect("JSON");
    answer["executionId"].as_str().expect("an id").to_owned()
}

fn tell(server: &RunningServer, args: &[&str]) -> Said {
    say(orchestr8().args(args).args(["--port", server.port()]).env("USER", "ada"))
}

fn short(id: &str) -> &str {
    &id[id.len() - 8..]
}

/// Waits until a step of an execution waits.
fn waiting(server: &RunningServer, id: &str) {
    let mut tag = String::new();
    loop {
        let request = server.get(&format!("/v1/executions/{id}?wait=20")).header("if-none-match", &tag);
        let answer = request.send().expect("the server answers");
        tag = answer.headers()["etag"].to_str().expect("ASCII").to_owned();
        if answer.json::<Value>().expect("it changes")["waitingFor"].is_array() {
            return;
        }
    }
}

#[test]
fn an_approval_is_listed_answered_and_shown() {
    let server = RunningServer::start(&mut orchestr8());
    let id = start(&server, "release-approval.yaml", &json!({ "tag": "v1.2" }));
    waiting(&server, &id);
    let mut text = String::new();
    let mut note = |args: &[&str]| {
        let said = tell(&server, args);
        let shown = format!("{}{}", said.stdout, said.stderr).replace(&id, "[id]").replace(short(&id), "[short]");
        text.push_str(&format!(
            "$ orchestr8 {} ({})\n{shown}",
            args.join(" ").replace(short(&id), "[short]"),
            said.code.unwrap_or(-1)
        ));
        said
    };
    note(&["approve"]);
    note(&["status", short(&id)]);
    note(&["approve", "@last", "--answer", r#"{"note": 1}"#]);
    note(&["approve", "@last", "build"]);
    note(&["approve", "@last", "--answer", r#"{"note": "#]);
    note(&["approve", "@last", "sign-off", "--answer", r#"{"note": "ok"}"#]);
    note(&["logs", "@last", "--follow", "--level", "error"]);
    note(&["status", "@last"]);
    note(&["approve", "@last"]);
    note(&["approve"]);
    note(&["pause", "@last"]);
    note(&["cancel", "@last"]);
    note(&["list", "--ids"]);
    note(&["status", "123456"]);
    note(&["status", "123"]);
    assert_steady("remote_approval", &text);
}

#[test]
fn a_signal_is_delivered_and_a_pause_is_kept() {
    let server = RunningServer::start(&mut orchestr8());
    let steps = json!([
        { "id": "gate", "wait": { "signal": "go" } },
        { "id": "slow", "agent": { "id": "@orchestr8/delay" }, "input": { "duration": "30s" }, "dependencies": ["gate"] }
    ]);
    let workflow = json!({ "version": "1.0.0", "metadata": { "id": "gated", "name": "Gated" }, "steps": steps });
    let answer = server.post("/v1/workflows/execute").json(&workflow).send().expect("the server answers");
    let id = answer.json::<Value>().expect("JSON")["executionId"].as_str().expect("an id").to_owned();
    waiting(&server, &id);
    let of = |args: &[&str]| tell(&server, args).stdout.replace(short(&id), "[id]");
    assert_eq!(of(&["signal", &id, "other", "--payload", "1"]), "Kept other until a step of [id] waits for it\n");
    assert_eq!(of(&["signal", short(&id), "go"]), "Delivered to gate\n");
    let paused = of(&["pause", &id[..8]]);
    assert!(paused.starts_with("Paused [id] · "), "{paused}");
    let status: Value = serde_json::from_str(&of(&["status", &id, "--json"])).expect("JSON");
    assert_eq!(status["status"], "paused");
    let ended: Value = serde_json::from_str(&of(&["cancel", "@last", "--force", "--wait", "--json"])).expect("JSON");
    assert_eq!(ended["status"], "cancelled");
    let listed = of(&["list"]);
    let lines: Vec<_> = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["ID", "WORKFLOW", "STATUS", "STEPS", "STARTED", "DURATION"]);
    assert_eq!(lines[1][..4], ["[id]", "gated", "cancelled", "1/2"]);
}

#[test]
fn the_server_itself_is_shown_and_its_absence_is_exit_3() {
    let server = RunningServer::start(&mut orchestr8());
    let said = tell(&server, &["status"]);
    assert_eq!(said.code, Some(0));
    assert!(said.stdout.starts_with("Server: running, healthy · http://127.0.0.1:"), "{}", said.stdout);
    assert!(said.stdout.ends_with(" · 0 active\n"), "{}", said.stdout);
    for command in ["status", "list", "approve"] {
        let absent = say(orchestr8().args([command, "--server=http://127.0.0.1:1"]));
        assert_eq!(absent.code, Some(3), "{command}");
        assert!(absent.stderr.ends_with("hint: orchestr8 start\n"), "{}", absent.stderr);
    }
}

#[test]
fn agents_are_listed_and_described() {
    let list = say(orchestr8().args(["agents", "list"]));
    assert_eq!(list.code, Some(0));
    assert!(
        list.stdout.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")
            == "@orchestr8/hello-world 1.0.0 Greets a person")
    );
    let echo = say(orchestr8().args(["agents", "inspect", "@orchestr8/echo"]));
    assert_eq!(echo.stdout, "@orchestr8/echo 1.0.0 · input: any · output: any · idempotent\nAnswers its input\n");
    let flaky = say(orchestr8().args(["agents", "inspect", "@orchestr8/flaky"])).stdout;
    assert!(flaky.starts_with("@orchestr8/flaky 1.0.0 · input: {failTimes, code?, value?} · output: any"), "{flaky}");
    let manifest = say(orchestr8().args(["agents", "inspect", "@orchestr8/noop", "--json"])).stdout;
    assert_eq!(serde_json::from_str::<Value>(&manifest).expect("JSON")["outputSchema"]["required"], json!(["result"]));
    let unknown = say(orchestr8().args(["agents", "inspect", "@acme/none"]));
    assert_eq!(
        (unknown.code, unknown.stderr.as_str()),
        (Some(2), "error: there is no agent @acme/none\nhint: orchestr8 agents list\n")
    );
}

#[test]
fn completions_have_shells_ask_and_each_command_has_a_manual_page() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = say(orchestr8().args(["completions", shell]));
        assert_eq!(script.code, Some(0), "{shell}");
        assert!(script.stdout.contains("ORCHESTR8_COMPLETE"), "{shell}: {}", script.stdout);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("man");
    let said = say(orchestr8().arg("man").arg("--out").arg(&out));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let page = |name: &str| fs::read_to_string(out.join(name)).expect("a page");
    assert!(page("orchestr8.1").contains("Runs workflows of agents"));
    assert!(page("orchestr8-agents-inspect.1").contains(r"\-\-version"));
    assert!(!out.join("orchestr8-help.1").exists() && !out.join("orchestr8-agents-help.1").exists());
    let written = fs::read_dir(&out).expect("readable").count();
    assert_eq!(said.stdout, format!("wrote {written} pages to {}\n", out.display()));
}
